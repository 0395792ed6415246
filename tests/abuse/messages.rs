//! Messages that never end, or that unpack to more than they are.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Server;
use crate::h2::{Connection, head};
use crate::honest::{exchange, signed};

const MESSAGE: usize = (4 << 20) - 1;
// As many as a connection may have.
const STREAMS: u32 = 64;

/// A connection whose streams have each sent all of a message but its last byte, or what they may of it.
fn half_messages(to: &str, more: &[(&str, &str)]) -> Connection {
    let mut connection = Connection::open(to);
    while connection.next(Duration::from_millis(100)).is_some() {}
    let mut left = std::collections::BTreeMap::new();
    for stream in (0..STREAMS).map(|nth| 2 * nth + 1) {
        connection.begin(stream, &head(more));
        let length = u32::try_from(MESSAGE).unwrap().to_be_bytes();
        let declared = [&[0], &length[..]].concat();
        if connection.room(stream) >= declared.len() {
            connection.data(stream, &declared);
            left.insert(stream, MESSAGE - 1);
        }
    }
    let zeros = [0; 16_384];
    // Messages that make place let others of it begin.
    let until = Instant::now() + Duration::from_secs(8);
    loop {
        let mut sent = false;
        for (stream, left) in &mut left {
            let size = connection.room(*stream).min(*left);
            if size > 0 {
                connection.data(*stream, &zeros[..size]);
                *left -= size;
                sent = true;
            }
        }
        let patience = if sent { Duration::ZERO } else { Duration::from_secs(2) };
        let came = connection.next(patience).is_some();
        while connection.next(Duration::ZERO).is_some() {}
        left.retain(|stream, left| *left > 0 && !connection.ended.contains(stream));
        let is_stuck = !sent && !came || Instant::now() > until;
        if left.is_empty() || connection.closed || is_stuck {
            return connection;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_lack_their_last_byte_take_no_more_than_their_budget() {
    let server = Server::start();
    let sending = [(); 4].map(|()| {
        let to = server.program.grpc.clone();
        std::thread::spawn(move || half_messages(&to, &[]))
    });
    while !sending.iter().all(std::thread::JoinHandle::is_finished) {
        server.is_well().await;
    }
    let held = sending.map(|sending| sending.join().unwrap());
    server.is_well().await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_message_is_buffered_before_its_sender_is_known() {
    let server = Server::start_with(", grpc_auth: token");
    let before = server.resident();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut connection = half_messages(&server.program.grpc, &[]);
        while connection.ended.len() < STREAMS as usize && !connection.closed {
            assert!(connection.next(crate::PATIENCE).is_some(), "streams are not refused");
        }
        held.push(connection);
    }
    let more = server.resident().saturating_sub(before) >> 20;
    assert!(more < 30, "it takes {more} MiB more");
    let refused = held.iter().map(|connection| connection.ended.len()).sum::<usize>();
    assert!(refused >= 4 * STREAMS as usize, "{refused} streams are refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_webhooks_that_never_end_take_no_more_than_their_budget() {
    let server = Server::start();
    let body = vec![b' '; 1 << 20];
    let token = signed(&body);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut held = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(&server.program.http).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        held.push((stream, &body[..body.len() - 1]));
    }
    // As much as is taken, until nothing is for a while.
    let mut quiet = 0;
    while quiet < 200 {
        let mut sent = false;
        for (stream, rest) in &mut held {
            if let Ok(n @ 1..) = stream.write(rest) {
                *rest = &rest[n..];
                sent = true;
            }
        }
        quiet = if sent { 0 } else { quiet + 1 };
        tokio::time::sleep(Duration::from_millis(1)).await;
        let resident = server.resident() >> 20;
        assert!(resident < crate::MEMORY_LIMIT >> 20, "it takes {resident} MiB");
    }
    server.is_well().await;
}

fn bomb(size: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![0; size]).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_unpacks_to_more_than_a_message_may_be_is_refused() {
    let server = Server::start();
    let mut held = Vec::new();
    // What says how much it is, and what says that it is little.
    let honest = bomb(256 << 20);
    let mut lying = honest.clone();
    let at = lying.len() - 4;
    lying[at..].copy_from_slice(&1000u32.to_le_bytes());
    for bomb in [honest, lying] {
        let length = u32::try_from(bomb.len()).unwrap().to_be_bytes();
        let message = [&[1], &length[..], &bomb].concat();
        let mut connection = Connection::open(&server.program.grpc);
        while connection.next(Duration::from_millis(100)).is_some() {}
        connection.begin(1, &head(&[("grpc-encoding", "gzip")]));
        let mut rest = &message[..];
        while !rest.is_empty() && !connection.closed && !connection.ended.contains(&1) {
            let size = connection.room(1).min(rest.len());
            if size > 0 {
                connection.data(1, &rest[..size]);
                rest = &rest[size..];
            }
            connection.next(Duration::from_millis(if size > 0 { 0 } else { 100 }));
        }
        while !connection.ended.contains(&1) && !connection.closed {
            connection.next(crate::PATIENCE);
        }
        assert!(connection.ended.contains(&1), "it is refused");
        held.push(connection);
        server.is_well().await;
    }
    let status = exchange(&server.program.admin, "GET /status HTTP/1.0\r\n\r\n", crate::PATIENCE);
    let (_, status) = status.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    let refused = &status["inputs"][1]["refused"];
    assert_eq!((&refused["too_large"], &refused["malformed"]), (&1.into(), &1.into()), "{refused}");
}
