//! The status of an answer decides the outcome of a request, whatever else the answer holds.

use std::convert::Infallible;

use axum::body::Body;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

// The outcome of the only record: how often it was sent, delivered and stored as a dead letter.
type Outcome = (usize, u64, u64);
const DELIVERED: Outcome = (1, 1, 0);
const REFUSED: Outcome = (1, 0, 1);
const SENT_AGAIN: Outcome = (2, 1, 0);

// Sends a record; `requests` are those that the collector received.
async fn outcome(settings: &Settings, mut requests: mpsc::UnboundedReceiver<()>) -> Outcome {
    let fixture = exporting(settings);
    fixture.log(&["a"]);
    requests.recv().await.unwrap();
    let output = fixture.shutdown().await;
    assert_eq!(output.waiting(), 0);
    let again = std::iter::from_fn(|| requests.try_recv().ok()).count();
    (1 + again, output.delivered, output.dead_letters)
}

// A collector over HTTP that answers the first request with these bytes, and then accepts everything.
async fn http_answers(answer: Vec<u8>) -> Outcome {
    let (listener, address) = bound().await;
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answer = Some(answer);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            while read_request(&mut stream).await {
                let _ = sender.send(());
                let Some(answer) = answer.take() else {
                    let _ = stream.write_all(ACCEPTED).await;
                    continue;
                };
                let mut sent = stream.write_all(&answer).await;
                while sent.is_ok() && answer == ENDLESS {
                    sent = stream.write_all(b"4\r\nmore\r\n").await;
                }
                break;
            }
        }
    });
    let mut settings = settings(&format!("http://{address}/v1/logs"), Protocol::HttpProtobuf);
    settings.logs.compression = Compression::None;
    outcome(&settings, requests).await
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        if let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&read[..head]).to_lowercase();
            let (_, length) = text.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if read.len() >= head + 4 + length {
                return true;
            }
        }
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return false;
        }
    }
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn over_http_a_status_decides_whatever_the_body_is() {
    let large = vec![b'x'; 1 << 20];
    let html = "<p>no</p>".repeat(12_000).into_bytes();
    let mut cut_off = whole("200 OK", "", &large);
    cut_off.truncate(1000);
    for (what, answer, expected) in [
        ("1 MiB", whole("200 OK", "", &large), DELIVERED),
        ("no end", ENDLESS.to_vec(), DELIVERED),
        ("cut off", cut_off, DELIVERED),
        ("JSON", whole("200 OK", "Content-Type: application/json\r\n", b"{}"), DELIVERED),
        ("202", whole("202 Accepted", "Content-Type: text/plain\r\n", b"queued"), DELIVERED),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), DELIVERED),
        ("no OTLP body", whole("200 OK", "", &[0xff; 100]), DELIVERED),
        ("400, HTML", whole("400 Bad Request", HTML, &html), REFUSED),
        ("404, HTML", whole("404 Not Found", HTML, &html), REFUSED),
        ("503, HTML", whole("503 Busy", HTML, &html), SENT_AGAIN),
        ("200, HTML", whole("200 OK", HTML, b"<p>Welcome"), SENT_AGAIN),
        ("302", whole("302 Found", "Location: /login\r\n", b""), SENT_AGAIN),
        ("308", whole("308 Permanent Redirect", "Location: /v1/logs/\r\n", b""), SENT_AGAIN),
    ] {
        assert_eq!(http_answers(answer).await, expected, "{what}");
    }
}

#[tokio::test]
async fn an_incomplete_body_after_a_good_status_is_awaited_until_the_request_timeout() {
    let (listener, address) = bound().await;
    let (sender, requests) = mpsc::unbounded_channel();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(read_request(&mut stream).await);
            let _ = sender.send(());
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
            kept.push(stream);
        }
    });
    let mut settings = settings(&format!("http://{address}/v1/logs"), Protocol::HttpProtobuf);
    settings.logs.timeout = Duration::from_millis(300);
    assert_eq!(outcome(&settings, requests).await, DELIVERED);
    silent.abort();
}

type Answers = http::Response<Body>;

// A collector over gRPC that gives this answer to the first request, and then accepts everything.
async fn grpc_answers(answer: Answers) -> Outcome {
    let (listener, address) = bound().await;
    let (sender, requests) = mpsc::unbounded_channel();
    let answer = Arc::new(Mutex::new(Some(answer)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, sender) = (Arc::clone(&answer), sender.clone());
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                async move {
                    let _ = request.into_body().collect().await;
                    let _ = sender.send(());
                    let answer = answer.lock().take();
                    Ok::<_, Infallible>(answer.unwrap_or_else(|| grpc(message(b""), &[OK])))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    outcome(&settings(&format!("http://{address}"), Protocol::Grpc), requests).await
}

const OK: (&str, &str) = ("grpc-status", "0");
const INVALID_ARGUMENT: (&str, &str) = ("grpc-status", "3");
const UNAVAILABLE: (&str, &str) = ("grpc-status", "14");

fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), body].concat()
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let parsed = |(name, value): &(&str, &str)| {
        (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
    };
    headers.iter().map(parsed).collect()
}

fn grpc(data: Vec<u8>, trailers: &[(&str, &str)]) -> Answers {
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(data)))];
    let trailers = (!trailers.is_empty()).then(|| Ok(Frame::trailers(header_map(trailers))));
    let frames = frames.into_iter().chain(trailers);
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn trailers_only(headers: &[(&str, &str)]) -> Answers {
    let mut answer = http::Response::new(Body::empty());
    *answer.headers_mut() = header_map(headers);
    answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    answer
}

fn web(status: u16, headers: &[(&str, &str)], body: &str) -> Answers {
    let mut answer = http::Response::new(Body::from(body.to_owned()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    *answer.headers_mut() = header_map(headers);
    answer
}

#[tokio::test]
async fn over_grpc_a_status_decides_whatever_the_message_is() {
    let large = vec![b'x'; 5 << 20];
    let long = "x".repeat(5 << 20);
    let details = ("grpc-status-details-bin", long.as_str());
    let text = ("grpc-message", long.as_str());
    let html = "<p>no</p>".repeat(12_000);
    let of_html = [("content-type", "text/html")];
    let mut cut_off = message(&large);
    cut_off.truncate(1000);
    for (what, answer, expected) in [
        ("5 MiB", grpc(message(&large), &[OK]), DELIVERED),
        ("cut off", grpc(cut_off, &[OK]), DELIVERED),
        ("no message", grpc(Vec::new(), &[OK]), DELIVERED),
        ("two messages", grpc([message(b""), message(b"")].concat(), &[OK]), DELIVERED),
        ("unknown compression", grpc(vec![1, 0, 0, 0, 1, 7], &[OK]), DELIVERED),
        ("trailers only", trailers_only(&[OK]), DELIVERED),
        ("5 MiB of details", grpc(Vec::new(), &[INVALID_ARGUMENT, details]), REFUSED),
        ("5 MiB of text", trailers_only(&[INVALID_ARGUMENT, text]), REFUSED),
        ("5 MiB beside it", grpc(message(&large), &[INVALID_ARGUMENT]), REFUSED),
        ("401", web(401, &of_html, &html), REFUSED),
        ("no details", trailers_only(&[UNAVAILABLE, ("grpc-status-details-bin", "?")]), SENT_AGAIN),
        ("no status", grpc(message(b""), &[]), SENT_AGAIN),
        ("502", web(502, &of_html, &html), SENT_AGAIN),
        ("HTML", web(200, &of_html, &html), SENT_AGAIN),
        ("302", web(302, &[("location", "/login")], ""), SENT_AGAIN),
    ] {
        assert_eq!(grpc_answers(answer).await, expected, "{what}");
    }
}
