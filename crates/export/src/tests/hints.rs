//! What is said of a collector that can't be reached or speaks another protocol, over real sockets.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::tls::{Collector, Files, Pki};
use super::{bound, reserved, serve, settings};
use crate::answer::Answer;
use crate::error::Cause;
use crate::settings::{Protocol, Tls};
use crate::transport::Transport;
use livekit_otel_model::Signal;

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
// Long enough that no test runs into it.
const PATIENT: Duration = Duration::from_mins(1);

// Why a request to `url` is not answered.
async fn cause(protocol: Protocol, url: &str, tls: Tls, timeout: Duration) -> Cause {
    let mut target = settings(url, protocol).logs;
    (target.tls, target.timeout) = (tls, timeout);
    match Transport::new(Signal::Logs, &target).unwrap().send(Bytes::new()).await {
        Answer::Retry { cause, .. } => cause,
        other => panic!("{url}: {other:?}"),
    }
}

/// The hints of all cases, as text.
#[derive(Default)]
struct Hints(String);

impl Hints {
    async fn plain(&mut self, case: &str, protocol: Protocol, at: SocketAddr) {
        let cause = cause(protocol, &format!("http://{at}"), Tls::default(), PATIENT).await;
        self.add(case, protocol, &cause, at);
    }

    async fn tls(&mut self, case: &str, protocol: Protocol, at: SocketAddr, files: &Files) {
        let cause = cause(protocol, &format!("https://{at}"), files.tls(), PATIENT).await;
        self.add(case, protocol, &cause, at);
    }

    fn add(&mut self, case: &str, protocol: Protocol, cause: &Cause, at: SocketAddr) {
        let hint =
            cause.hint.as_deref().unwrap_or(&cause.text).replace(&at.to_string(), "HOST:PORT");
        writeln!(self.0, "{protocol:?}, {case}\n  {hint}").unwrap();
    }
}

// Answers each connection with these bytes after it has read something, and closes it.
async fn answers(bytes: &'static [u8]) -> SocketAddr {
    let (listener, at) = bound().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    at
}

// A server with TLS that asks for no certificate, and speaks this protocol alone.
async fn tls_server(certificate: &str, key: &str, protocol: &[u8]) -> SocketAddr {
    let (tcp, at) = bound().await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = tcp.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                stream.read(&mut [0; 4096]).await.ok()
            });
        }
    });
    at
}

async fn collector(protocol: Protocol, pki: &Pki) -> (Collector, SocketAddr) {
    let (tcp, at) = bound().await;
    (Collector::start(protocol, tcp, pki), at)
}

async fn grpc_server() -> SocketAddr {
    let (listener, at) = bound().await;
    serve(listener, Vec::new());
    at
}

// Like that of Go, answers the client's preface and closes the connection, with the rest unread.
async fn go_web_server() -> SocketAddr {
    let (listener, at) = bound().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read_exact(&mut [0; 24]).await;
            let _ = stream.write_all(BAD_REQUEST).await;
        }
    });
    at
}

#[tokio::test]
async fn a_plain_request_to_a_tls_server_of_go_is_kept() {
    // It closes the connection with the request unread, so that the client may read no end of the answer.
    const ANSWER: &[u8] =
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let (listener, at) = bound().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 5]).await;
            let _ = stream.write_all(ANSWER).await;
        }
    });
    let target = settings(&format!("http://{at}/v1/logs"), Protocol::HttpProtobuf).logs;
    let request = Bytes::from(vec![0; 1 << 16]);
    let answer = Transport::new(Signal::Logs, &target).unwrap().send(request).await;
    // The reset may overtake the answer.
    let (Answer::Misconfigured { cause } | Answer::Retry { cause, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert!(cause.hint.unwrap().contains("expects TLS"));
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_server_of_another_protocol_is_named() {
    let pki = Pki::new();
    let files = pki.files();
    let mut hints = Hints::default();
    hints.plain("to a port of HTTP/1", Protocol::Grpc, answers(BAD_REQUEST).await).await;
    hints.plain("to a port of HTTP/1 of Go", Protocol::Grpc, go_web_server().await).await;
    hints.plain("to a port of gRPC", Protocol::HttpProtobuf, grpc_server().await).await;
    for protocol in PROTOCOLS {
        let (_collector, at) = collector(protocol, &pki).await;
        let tls = cause(protocol, &format!("http://{at}"), Tls::default(), PATIENT).await;
        // The server's alert may be lost when it closes the connection.
        let hint = tls.hint.unwrap();
        assert!(hint.contains("expects TLS") && hint.contains("https://"), "{hint}");
        hints.plain("to a port of SSH", protocol, answers(b"SSH-2.0-OpenSSH\r\n").await).await;
        hints.plain("to a server that closes", protocol, answers(b"").await).await;
        hints
            .tls("with TLS to a port of HTTP/1", protocol, answers(BAD_REQUEST).await, &files)
            .await;
        hints.tls("with TLS to a port of gRPC", protocol, grpc_server().await, &files).await;
    }
    let web = tls_server(&pki.server.0, &pki.server.1, b"http/1.1").await;
    hints.tls("to a port of HTTP/1 with TLS", Protocol::Grpc, web, &files).await;
    let (_collector, at) = collector(Protocol::Grpc, &pki).await;
    hints.tls("to a port of gRPC with TLS", Protocol::HttpProtobuf, at, &files).await;
    assert_eq!(hints.0, include_str!("hints/protocols.txt"));
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_named() {
    let year = |year| date_time_ymd(year, 1, 1);
    let other = Pki::new();
    let cases = [
        ("of an unknown authority", Pki::new(), Some(&other)),
        ("for another name", Pki::with("collector.example", |_| {}), None),
        ("that has expired", Pki::with("127.0.0.1", |params| params.not_after = year(2001)), None),
        ("not valid yet", Pki::with("127.0.0.1", |params| params.not_before = year(3000)), None),
    ];
    let mut hints = Hints::default();
    for protocol in PROTOCOLS {
        for (case, pki, trusted) in &cases {
            let (_collector, at) = collector(protocol, pki).await;
            let files = trusted.unwrap_or(pki).files();
            hints.tls(&format!("a certificate {case}"), protocol, at, &files).await;
        }
        let pki = Pki::new();
        let (_collector, at) = collector(protocol, &pki).await;
        hints.tls("without a client's certificate", protocol, at, &Files::write(&[&pki.ca])).await;
        let untrusted = Files::write(&[&pki.ca, &other.server.0, &other.server.1]);
        hints.tls("with another's certificate", protocol, at, &untrusted).await;
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap().pem();
        let at = tls_server(&own, &key.serialize_pem(), b"h2").await;
        hints.tls("an authority's certificate", protocol, at, &Files::write(&[&own])).await;
    }
    // The age of a certificate depends on the day.
    let digits =
        hints.0.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word });
    assert_eq!(digits.collect::<Vec<_>>().join(" "), include_str!("hints/certificates.txt"));
}

#[tokio::test]
async fn a_server_that_can_t_be_reached_is_named() {
    let mut hints = Hints::default();
    for protocol in PROTOCOLS {
        hints.plain("nothing listens", protocol, reserved()).await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = silent.local_addr().unwrap();
        let soon = Duration::from_millis(50);
        let late = cause(protocol, &format!("http://{at}"), Tls::default(), soon).await;
        assert_eq!(late.text, "no answer within 50ms");
        hints.add("no answer", protocol, &late, at);
        let unknown = "http://collector.invalid:4317";
        let unknown = cause(protocol, unknown, Tls::default(), PATIENT).await.hint.unwrap();
        // Whether a DNS server answers depends on the machine.
        assert!(unknown.contains("collector.invalid") && unknown.contains("DNS"), "{unknown}");
    }
    assert_eq!(hints.0, include_str!("hints/unreachable.txt"));
}
