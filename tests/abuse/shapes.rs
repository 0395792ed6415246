//! Bytes to the webhooks' port that are no HTTP, or almost.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::Server;
use crate::honest::{exchange, signed};

// What is answered comes at once; what is waited for is not waited for long.
const SOON: Duration = Duration::from_secs(2);

fn shapes() -> Vec<(&'static str, String)> {
    let post = |rest: &str| format!("POST /webhook HTTP/1.1\r\n{rest}");
    vec![
        ("no host", post("Content-Length: 2\r\n\r\n{}")),
        ("two hosts", post("Host: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}")),
        ("two lengths", post("Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x")),
        ("a list of lengths", post("Host: a\r\nContent-Length: 2, 3\r\n\r\n{}")),
        (
            "a length and chunks",
            post("Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("an odd coding", post("Host: a\r\nTransfer-Encoding: gzip, chunked, x\r\n\r\n0\r\n\r\n")),
        ("a negative length", post("Host: a\r\nContent-Length: -1\r\n\r\n")),
        ("a signed length", post("Host: a\r\nContent-Length: +2\r\n\r\n{}")),
        ("a huge length", post("Host: a\r\nContent-Length: 99999999999999999999999\r\n\r\n")),
        ("no number", post("Host: a\r\nContent-Length: two\r\n\r\n{}")),
        ("chunks of nonsense", post("Host: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")),
        (
            "a huge chunk",
            post("Host: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n\r\n"),
        ),
        (
            "an extension without end",
            post(&format!(
                "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\n",
                "x".repeat(100_000)
            )),
        ),
        ("a huge header", post(&format!("Host: a\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)))),
        ("many headers", post(&format!("Host: a\r\n{}\r\n", "X: y\r\n".repeat(10_000)))),
        ("a folded header", post("Host: a\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\n{}")),
        ("a space before a colon", post("Host: a\r\nContent-Length : 2\r\n\r\n{}")),
        ("a NUL in a header", post("Host: a\r\nX: \0\r\n\r\n")),
        ("a NUL in the path", "GET /health\0z HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a bare CR", "GET /healthz HTTP/1.1\rHost: a\r\r".to_owned()),
        ("bare LFs", "GET /nowhere HTTP/1.1\nHost: a\n\n".to_owned()),
        ("HTTP/0.9", "GET /healthz\r\n".to_owned()),
        ("HTTP/3.0", "GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
        ("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("a path that climbs", "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 17))),
        ("CONNECT", "CONNECT example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("an upgrade", "GET /nowhere HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned()),
        ("nothing but lines", "\r\n".repeat(50_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let server = Server::start();
    let refused = |what: &str, shape: &str, to: &str| {
        let answer = exchange(to, shape, SOON);
        let refused = answer.is_empty()
            || answer.starts_with("HTTP/1.1 4")
            || answer.starts_with("HTTP/1.0 4");
        assert!(refused, "{what}: {answer}");
    };
    // All at once: many are waited for until the time is over.
    std::thread::scope(|scope| {
        for (what, shape) in shapes() {
            for to in [&server.program.http, &server.program.admin] {
                let shape = shape.clone();
                scope.spawn(move || refused(what, &shape, to));
            }
        }
    });
    server.is_well().await;
    assert_eq!(accepted(&server), 2, "the honest ones and nothing else");
}

fn accepted(server: &Server) -> u64 {
    let status = crate::honest::get(&server.program.admin, "/status");
    let (_, status) = status.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    let inputs = status["inputs"].as_array().unwrap();
    inputs.iter().map(|input| input["accepted"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_that_hides_in_the_first_ones_body_is_none() {
    let server = Server::start();
    let hidden = "POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    // Refused before its body is read, which must not be taken for the next request.
    let length = hidden.len();
    let request =
        format!("POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{hidden}");
    // Closes the connection, if the refusal has not.
    let last = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(&server.program.http, &(request + last), crate::PATIENCE);
    assert_eq!(answer.matches("HTTP/1.1 4").count(), 1, "{answer}");
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_are_answered_in_turn() {
    let server = Server::start();
    let body = r#"{"event":"room_started","id":"EV_2","room":{"sid":"RM_2"}}"#;
    let (token, length) = (signed(body.as_bytes()), body.len());
    let one = format!(
        "POST /webhook HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let last = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let requests = one.repeat(1000) + last;
    let answers = exchange(&server.program.http, &requests, crate::PATIENCE);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1001, "{}", answers.len());
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_byte_by_byte_keep_nobody_out() {
    let server = Server::start();
    let open = || TcpStream::connect(&server.program.http).unwrap();
    let mut slow: Vec<_> = (0..300).map(|_| open()).collect();
    for byte in b"POST /webhook HTTP/1.1\r\nHost: te" {
        for stream in &mut slow {
            stream.write_all(&[*byte]).unwrap();
        }
    }
    server.is_well().await;
}
