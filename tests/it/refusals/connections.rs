//! Clients that speak another protocol than the listener serves, and TLS handshakes that fail.

use std::net::SocketAddr;

use livekit_otel::serve::Server;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::logging;
use crate::intake::Pki;
use crate::logged::Log;
use crate::serve::stop;

const HTTP_1: &[u8] = b"POST /webhook HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
// The head of a ClientHello, and a part of it.
const TLS: &[u8] = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03";

// Sends the bytes, and waits for the end of the connection or of the answer.
async fn send(to: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

async fn says(log: &Log, cause: &str, text: &str, at: SocketAddr) {
    let line = log.line(&format!("cause=\"{cause}\"")).await;
    assert!(line.contains("WARN") && line.contains("a connection can't be served: "), "{line}");
    assert!(line.contains(text) && line.contains(&format!("address={at} ")), "{line}");
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn a_client_of_another_protocol_is_one_line_with_what_it_should_use() {
    let (server, log, _logging) = logging(|_| {}).await;
    let (http, grpc, admin) = (server.http(), server.grpc(), server.admin().unwrap());
    for _ in 0..2 {
        send(http, HTTP_2).await;
        send(grpc, HTTP_1).await;
        send(http, TLS).await;
    }
    says(
        &log,
        "http2",
        "the listener for webhooks, which serves HTTP/1.1. gRPC is for listen.grpc",
        http,
    )
    .await;
    says(&log, "http1", "Webhooks and uploads over HTTP are for listen.http", grpc).await;
    says(&log, "tls", "Use http:// in its URL, or set listen.tls.certificate", http).await;
    send(admin, TLS).await;
    assert_eq!(log.lines("cause=\"tls\"").len(), 2);
    assert!(!log.lines("listener=\"admin\"")[0].contains("listen.tls"));
    stop(server).await;
}

#[tokio::test]
async fn right_clients_are_not_reported() {
    let (server, log, _logging) = logging(|_| {}).await;
    send(server.http(), HTTP_1).await;
    send(server.grpc(), HTTP_2).await;
    // A load balancer's check, and noise.
    send(server.http(), b"").await;
    send(server.http(), b"\0\0\0\0\0\0").await;
    assert_eq!(log.lines("connection refused"), [""; 0]);
    stop(server).await;
}

#[tokio::test]
async fn a_post_over_http_2_that_is_not_grpc_does_not_get_a_status_of_success() {
    let (server, log, _logging) = logging(|_| {}).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    let url = format!("http://{}/webhook", server.grpc());
    let request = http::Request::post(&url).body(http_body_util::Full::default()).unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 415);
    let line = log.line("this listener serves gRPC, and the request is not gRPC").await;
    assert!(line.contains(r#"path="/webhook""#), "{line}");
    let request =
        http::Request::post(format!("http://{}/grpc.health.v1.Health/Check", server.grpc()))
            .header("content-type", "application/grpc")
            .body(http_body_util::Full::default());
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
    // The same cause is logged once.
    assert_eq!(log.lines("wrong_path").len(), 1);
    stop(server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_one_line() {
    let (server, log, _logging) = logging(|_| {}).await;
    let head = format!("POST /webhook HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    send(server.http(), head.as_bytes()).await;
    says(&log, "head_too_large", "more than 32 KiB or 64 headers", server.http()).await;
    stop(server).await;
}

async fn with_tls(client_ca: bool) -> (Server, Pki, Log, crate::logged::Logging) {
    let pki = Pki::new();
    let (server, log, logging) = logging(|config| {
        config.http_tls = Some(pki.files(client_ca));
        config.grpc_tls = Some(pki.files(client_ca));
    })
    .await;
    (server, pki, log, logging)
}

// Performs a handshake, and reads what comes after it.
async fn handshake(to: SocketAddr, mut config: ClientConfig, protocol: Option<&[u8]>, then: &[u8]) {
    config.alpn_protocols = protocol.into_iter().map(Into::into).collect();
    let stream = TcpStream::connect(to).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let Ok(mut stream) = connector.connect(name, stream).await else { return };
    let _ = stream.write_all(then).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_failed_handshake_names_its_cause() {
    let (server, pki, log, _logging) = with_tls(true).await;
    let (http, grpc) = (server.http(), server.grpc());
    send(http, HTTP_1).await;
    says(&log, "plain", "a listener that does. Use https:// in its URL", http).await;
    handshake(grpc, pki.trusting(None), Some(b"h2"), HTTP_2).await;
    says(&log, "no_client_certificate", "listen.tls.grpc_client_ca asks for one", grpc).await;
    let stranger = Pki::new();
    handshake(http, pki.trusting(Some(&stranger)), Some(b"http/1.1"), HTTP_1).await;
    let text = "not of the authority in listen.tls.http_client_ca";
    says(&log, "client_certificate", text, http).await;
    handshake(http, stranger.trusting(Some(&pki)), Some(b"http/1.1"), HTTP_1).await;
    says(
        &log,
        "unknown_authority",
        "the client does not trust the authority of listen.tls.certificate",
        http,
    )
    .await;
    handshake(grpc, pki.trusting(Some(&pki)), Some(b"http/1.1"), HTTP_1).await;
    says(&log, "protocol", "uploads over HTTP are for listen.http", grpc).await;
    send(grpc, TLS).await;
    says(&log, "handshake", "the client closed the connection during the TLS handshake", grpc)
        .await;
    // Not a second line for the client without TLS.
    assert_eq!(log.lines("a connection can't be served").len(), 6, "{}", log.text());
    stop(server).await;
}

#[tokio::test]
async fn another_protocol_within_tls_is_noticed() {
    let (server, pki, log, _logging) = with_tls(false).await;
    handshake(server.http(), pki.trusting(None), None, HTTP_2).await;
    says(&log, "http2", "gRPC is for listen.grpc", server.http()).await;
    handshake(server.grpc(), pki.trusting(None), None, HTTP_1).await;
    says(&log, "http1", "are for listen.http", server.grpc()).await;
    stop(server).await;
}
