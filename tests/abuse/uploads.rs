//! Uploads that are larger than they look, or never end: they share the budget of uploads, and nobody else
//! waits for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{PATIENCE, Server};

// The default with this memory_limit.
const MAX_BODY: usize = (crate::MEMORY_LIMIT / 16) as usize;
const MANY: usize = 60;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn head(encoding: &str, length: usize) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: application/x-protobuf\r\nContent-Encoding: {encoding}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn status(mut stream: TcpStream) -> u16 {
    let mut answer = Vec::new();
    // The connection may be reset before all of the body is written.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

// Sends a body on many connections at once; the statuses of the answers.
fn send(to: &str, encoding: &str, body: &[u8]) -> Vec<JoinHandle<u16>> {
    let send = |_| {
        let (to, head, body) = (to.to_owned(), head(encoding, body.len()), body.to_vec());
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let _ = stream.write_all(&body);
            status(stream)
        })
    };
    (0..MANY).map(send).collect()
}

// A request whose spans are one attribute, of that size.
fn large(size: usize) -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| {
        let mut field = vec![tag << 3 | 2];
        prost::encode_length_delimiter(content.len(), &mut field).unwrap();
        field.extend_from_slice(content);
        field
    };
    let ids = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    let span = [ids, field(3, &vec![b'x'; size])].concat();
    field(1, &field(2, &field(2, &span)))
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_at_the_limit_and_take_no_memory() {
    let server = Server::start();
    let zeros = vec![0; 4 * MAX_BODY];
    let zstd = zstd::stream::encode_all(zeros.as_slice(), 3).unwrap();
    let mut lying = gzip(&zeros);
    let end = lying.len() - 4;
    lying[end..].copy_from_slice(&100_u32.to_le_bytes());
    for (encoding, bomb) in [("gzip", gzip(&zeros)), ("gzip", lying), ("zstd", zstd)] {
        let answers = send(&server.program.http, encoding, &bomb);
        server.is_well().await;
        for answer in answers {
            let status = answer.join().unwrap();
            assert!([413, 503].contains(&status), "{encoding}: {status}");
        }
    }
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_uploads_at_once_wait_for_the_budget() {
    let server = Server::start();
    let body = gzip(&large(MAX_BODY - 1000));
    let answers = send(&server.program.http, "gzip", &body);
    server.is_well().await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.join().unwrap()).collect();
    assert!(answers.iter().all(|status| [200, 503].contains(status)), "{answers:?}");
    assert!(answers.contains(&200), "{answers:?}");
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_never_end_keep_no_others_from_being_accepted() {
    let server = Server::start();
    let begin = |_| {
        let mut stream = TcpStream::connect(&server.program.http).unwrap();
        stream.write_all(head("identity", MAX_BODY).as_bytes()).unwrap();
        stream.set_write_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        // As much as is read of it.
        let _ = stream.write_all(&vec![b'\n'; MAX_BODY / 2]);
        stream
    };
    let unfinished: Vec<_> = (0..MANY).map(begin).collect();
    server.is_well().await;
    // An agent's next upload, which it sends again for 10 s.
    let small = large(100);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(&server.program.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head("identity", small.len()).as_bytes()).unwrap();
        stream.write_all(&small).unwrap();
        match status(stream) {
            200 => break,
            503 => assert!(std::time::Instant::now() < deadline, "nothing is accepted"),
            other => panic!("{other}"),
        }
    }
    drop(unfinished);
    server.is_well().await;
}
