//! Bodies that are refused before they are read: their senders learn why, however they send.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::honest::signed;
use crate::{PATIENCE, Server};

/// Writes all of a request before it reads anything, as simple clients do.
fn write_then_read(to: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_writes_all_of_a_large_body_reads_why_it_is_refused() {
    let server = Server::start();
    let body = vec![b' '; 3 << 20];
    let length = format!("Content-Length: {}", body.len());
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let token = signed(&body);
    for (token, length, body, expected) in [
        (token.as_str(), length.as_str(), &body, "HTTP/1.1 413"),
        (&token, "Transfer-Encoding: chunked", &chunked, "HTTP/1.1 413"),
        ("forged", &length, &body, "HTTP/1.1 401"),
        ("forged", "Transfer-Encoding: chunked", &chunked, "HTTP/1.1 401"),
    ] {
        // A reset comes in some runs only.
        for _ in 0..5 {
            let head = format!(
                "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n{length}\r\n\r\n"
            );
            let answer = write_then_read(&server.program.http, &head, body);
            assert!(answer.starts_with(expected), "{answer}");
        }
    }
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_answers_arrive_too_where_nobody_reads_the_body() {
    let server = Server::start();
    let body = vec![b' '; 3 << 20];
    let http = &server.program.http;
    for (to, path, expected) in [
        (http, "/nowhere", "HTTP/1.1 404"),
        (http, "/healthz", "HTTP/1.1 405"),
        (&server.program.admin, "/metrics", "HTTP/1.1 405"),
    ] {
        for _ in 0..5 {
            let length = body.len();
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
            let answer = write_then_read(to, &head, &body);
            assert!(answer.starts_with(expected), "{answer}");
        }
    }
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_not_read_for_ever() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.program.http).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /webhook HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    let cut_off = (0..1000).any(|_| stream.write_all(&zeros).is_err());
    assert!(cut_off, "a gigabyte is read");
    server.is_well().await;
}
