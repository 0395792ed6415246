//! TLS with a CA of the test's own, and a server that wants to know its client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::routing::post;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::{bound, exporting, settings};
use crate::export::settings::{Protocol, Tls};

/// A CA and what it signed, as PEM.
struct Pki {
    ca: String,
    server: (String, String),
    client: (String, String),
}

impl Pki {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        Self { ca, server: signed("127.0.0.1"), client: signed("client") }
    }

    /// The files of a client that is known.
    fn files(&self) -> Files {
        Files::write(&[&self.ca, &self.client.0, &self.client.1])
    }
}

/// Files that go away with the test.
struct Files(Vec<PathBuf>);

impl Files {
    fn write(contents: &[&str]) -> Self {
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

    fn tls(&self) -> Tls {
        let at = |index: usize| self.0.get(index).cloned();
        Tls { ca: at(0), client_certificate: at(1), client_key: at(2) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn grpc_collector(pki: &Pki) -> SocketAddr {
    let (listener, at) = bound().await;
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&pki.server.0, &pki.server.1))
        .client_ca_root(Certificate::from_pem(&pki.ca));
    let (service, _) = super::scripted(Vec::new());
    let server = tonic::transport::Server::builder().tls_config(tls).unwrap().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    at
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

async fn http_collector(pki: &Pki) -> SocketAddr {
    let (tcp, at) = bound().await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca.as_bytes()).unwrap()).unwrap();
    let known = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let certificate = CertificateDer::from_pem_slice(pki.server.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pki.server.1.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(known.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let app = axum::Router::new().route("/v1/logs", post(async || ""));
    tokio::spawn(async move { axum::serve(listener, app).await });
    at
}

/// What a client with these files has delivered of one record.
async fn delivered(protocol: Protocol, at: SocketAddr, tls: Tls, within: Duration) -> u64 {
    let path = if protocol == Protocol::Grpc { "" } else { "/v1/logs" };
    let mut settings = settings(&format!("https://{at}{path}"), protocol);
    settings.logs.tls = tls;
    let fixture = exporting(&settings);
    fixture.log(&["a"]);
    fixture.exporter.shutdown(tokio::time::Instant::now() + within).await;
    fixture.logs().delivered
}

#[tokio::test]
async fn a_trusted_collector_that_knows_its_client_is_delivered_to() {
    let pki = Pki::new();
    let files = pki.files();
    let patient = Duration::from_secs(20);
    let at = grpc_collector(&pki).await;
    assert_eq!(delivered(Protocol::Grpc, at, files.tls(), patient).await, 1);
    let at = http_collector(&pki).await;
    assert_eq!(delivered(Protocol::HttpProtobuf, at, files.tls(), patient).await, 1);
}

#[tokio::test]
async fn a_collector_that_is_not_trusted_gets_nothing() {
    let (pki, other) = (Pki::new(), Pki::new());
    let files = Files::write(&[&other.ca, &pki.client.0, &pki.client.1]);
    let short = Duration::from_millis(300);
    let at = grpc_collector(&pki).await;
    assert_eq!(delivered(Protocol::Grpc, at, files.tls(), short).await, 0);
    let at = http_collector(&pki).await;
    assert_eq!(delivered(Protocol::HttpProtobuf, at, files.tls(), short).await, 0);
}

#[tokio::test]
async fn a_client_without_its_certificate_is_not_let_in() {
    let pki = Pki::new();
    let files = Files::write(&[&pki.ca]);
    let short = Duration::from_millis(300);
    let at = grpc_collector(&pki).await;
    assert_eq!(delivered(Protocol::Grpc, at, files.tls(), short).await, 0);
    let at = http_collector(&pki).await;
    assert_eq!(delivered(Protocol::HttpProtobuf, at, files.tls(), short).await, 0);
}
