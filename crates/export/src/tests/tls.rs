//! Mutual TLS with a test CA.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::routing::post;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::log::logging;
use super::{Fixture, bound, exporting, proxy, reserved, settings};
use crate::answer::Answer;
use crate::settings::{Protocol, Settings, Tls};
use crate::transport::Transport;
use livekit_otel_model::Signal;

/// A CA and what it signed, as PEM.
pub(super) struct Pki {
    pub(super) ca: String,
    pub(super) server: (String, String),
    client: (String, String),
}

impl Pki {
    pub(super) fn new() -> Self {
        Self::with("127.0.0.1", |_| {})
    }

    /// The server's certificate is for `name`, and changed by `change`.
    pub(super) fn with(name: &str, change: impl Fn(&mut CertificateParams)) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = format!("authority {}", NEXT.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, authority);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let signed = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            change(&mut params);
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        Self { ca, server: signed(name, &change), client: signed("client", &|_| {}) }
    }

    /// The files of a client that the server trusts.
    pub(super) fn files(&self) -> Files {
        Files::write(&[&self.ca, &self.client.0, &self.client.1])
    }
}

/// Files that are removed with the test.
pub(super) struct Files(Vec<PathBuf>);

impl Files {
    pub(super) fn write(contents: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let write = |content: &&str| {
            let n = NEXT.fetch_add(1, Relaxed);
            let name = format!("livekit-otel-test-{}-{n}.pem", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        Self(contents.iter().map(write).collect())
    }

    fn overwrite(&self, contents: &[&str]) {
        for (path, content) in self.0.iter().zip(contents) {
            std::fs::write(path, content).unwrap();
        }
    }

    pub(super) fn tls(&self) -> Tls {
        let tls = Tls::default().with_ca(&self.0[0]);
        match &self.0[1..] {
            [certificate, key] => tls.with_client(certificate, key),
            _ => tls,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A collector that can be stopped.
pub(super) struct Collector {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Collector {
    pub(super) fn start(protocol: Protocol, tcp: TcpListener, pki: &Pki) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = match protocol {
            Protocol::Grpc => grpc_collector(tcp, pki, stopped),
            Protocol::HttpProtobuf => http_collector(tcp, pki, stopped),
        };
        Self { stop, task }
    }

    /// Stops it and closes its connections.
    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

fn grpc_collector(tcp: TcpListener, pki: &Pki, stopped: oneshot::Receiver<()>) -> JoinHandle<()> {
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&pki.server.0, &pki.server.1))
        .client_ca_root(Certificate::from_pem(&pki.ca));
    let (service, requests) = super::scripted(Vec::new());
    let server = tonic::transport::Server::builder().tls_config(tls).unwrap().add_service(service);
    let stopped = async { drop(stopped.await) };
    tokio::spawn(async {
        server.serve_with_incoming_shutdown(TcpListenerStream::new(tcp), stopped).await.unwrap();
        drop(requests);
    })
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, at) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, at);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn http_collector(tcp: TcpListener, pki: &Pki, stopped: oneshot::Receiver<()>) -> JoinHandle<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let certificate = CertificateDer::from_pem_slice(pki.server.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pki.server.1.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let app = axum::Router::new().route("/v1/logs", post(async || ""));
    let stopped = async { drop(stopped.await) };
    let serving = axum::serve(listener, app).with_graceful_shutdown(stopped);
    tokio::spawn(async { serving.await.unwrap() })
}

const PATIENT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

fn https(protocol: Protocol, at: SocketAddr, tls: Tls) -> Settings {
    let path = if protocol == Protocol::Grpc { "" } else { "/v1/logs" };
    let mut settings = settings(&format!("https://{at}{path}"), protocol);
    settings.logs.tls = tls;
    settings
}

/// Sends one record with these files to a collector with the certificates of `pki`; returns 1 if it was delivered.
async fn delivered(protocol: Protocol, pki: &Pki, tls: Tls, within: Duration) -> u64 {
    let (tcp, at) = bound().await;
    let _collector = Collector::start(protocol, tcp, pki);
    let fixture = exporting(&https(protocol, at, tls));
    fixture.log(&["a"]);
    fixture.exporter.shutdown(tokio::time::Instant::now() + within).await;
    fixture.logs().delivered
}

#[tokio::test]
async fn records_reach_a_collector_where_both_sides_trust_each_other() {
    let pki = Pki::new();
    let files = pki.files();
    for protocol in PROTOCOLS {
        assert_eq!(delivered(protocol, &pki, files.tls(), PATIENT).await, 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_untrusted_collector_receives_nothing() {
    let (pki, other) = (Pki::new(), Pki::new());
    let files = Files::write(&[&other.ca, &pki.client.0, &pki.client.1]);
    for protocol in PROTOCOLS {
        assert_eq!(delivered(protocol, &pki, files.tls(), SHORT).await, 0, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let pki = Pki::new();
    let files = Files::write(&[&pki.ca]);
    for protocol in PROTOCOLS {
        assert_eq!(delivered(protocol, &pki, files.tls(), SHORT).await, 0, "{protocol:?}");
    }
}

#[tokio::test]
async fn tls_reaches_through_a_proxy_to_the_collector() {
    let pki = Pki::with(proxy::COLLECTOR, |_| {});
    let files = pki.files();
    for protocol in PROTOCOLS {
        let (tcp, at) = bound().await;
        let _collector = Collector::start(protocol, tcp, &pki);
        let mut proxy = proxy::Proxy::start(&[], at).await;
        let mut settings = proxy.settings(protocol, "https", "user:s3cret@");
        settings.logs.tls = files.tls();
        let fixture = exporting(&settings);
        fixture.log(&["a"]);
        fixture.exporter.shutdown(tokio::time::Instant::now() + PATIENT).await;
        assert_eq!(fixture.logs().delivered, 1, "{protocol:?}");
        let head = proxy.head().await;
        assert!(head.starts_with("CONNECT collector.test:4317 HTTP/1.1\r\n"), "{head}");
    }
}

async fn delivers(fixture: &Fixture, count: u64) {
    let all = async {
        while fixture.logs().delivered < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT, all).await.unwrap();
}

#[tokio::test]
async fn replaced_certificates_are_used_without_a_restart() {
    for protocol in PROTOCOLS {
        let (before, after) = (Pki::new(), Pki::new());
        let files = before.files();
        let at = reserved();
        let tcp = TcpListener::bind(at).await.unwrap();
        let collector = Collector::start(protocol, tcp, &before);
        let fixture = exporting(&https(protocol, at, files.tls()));
        fixture.log(&["a"]);
        delivers(&fixture, 1).await;
        collector.stop().await;
        files.overwrite(&[&after.ca, &after.client.0, &after.client.1]);
        let tcp = TcpListener::bind(at).await.unwrap();
        let _collector = Collector::start(protocol, tcp, &after);
        fixture.log(&["b"]);
        delivers(&fixture, 2).await;
    }
}

#[tokio::test]
async fn unusable_certificates_leave_the_old_ones_and_are_logged_once() {
    let (logged, _logging) = logging();
    for protocol in PROTOCOLS {
        let pki = Pki::new();
        let files = pki.files();
        let at = reserved();
        let tcp = TcpListener::bind(at).await.unwrap();
        let collector = Collector::start(protocol, tcp, &pki);
        let settings = https(protocol, at, files.tls());
        let transport = Transport::new(Signal::Logs, &settings.logs).unwrap();
        let delivered = Answer::Delivered { rejected: 0, words: String::new() };
        assert_eq!(transport.send(Bytes::new()).await, delivered);
        collector.stop().await;
        files.overwrite(&["no certificate"]);
        for _ in 0..3 {
            let answer = transport.send(Bytes::new()).await;
            assert!(matches!(answer, Answer::Retry { .. }), "{answer:?}");
        }
        let tcp = TcpListener::bind(at).await.unwrap();
        let _collector = Collector::start(protocol, tcp, &pki);
        let again = async { while transport.send(Bytes::new()).await != delivered {} };
        tokio::time::timeout(PATIENT, again).await.unwrap();
    }
    let logged = logged.text();
    let times = logged.matches("the new certificates can't be used").count();
    assert_eq!(times, PROTOCOLS.len(), "{logged}");
}
