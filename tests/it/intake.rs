//! Who may send: TLS, client certificates, access tokens, and keys that are replaced.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use livekit_otel::source::Shared;
use livekit_otel::source::listen::{self, GrpcAuth, Listeners, Settings};
use livekit_otel::source::tls::Files;
use livekit_otel_durable::journal::{self, DeadLetters, Reader};
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_transport::frames::RawCodec;
use livekit_token::{AccessToken, ObservabilityGrants};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

const KEY: &str = "devkey";
const SECRET: &str = "made-up-secret-of-thirty-two-characters";

/// A certificate authority and the certificates that it signed, as files.
pub(crate) struct Pki {
    directory: TempDir,
    authority: String,
    client: (String, String),
}

impl Pki {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        let (server, client) = (signed("localhost"), signed("client"));
        let write =
            |name: &str, pem: &str| std::fs::write(directory.path().join(name), pem).unwrap();
        write("ca.pem", &authority);
        write("server.pem", &server.0);
        write("server.key", &server.1);
        Self { directory, authority, client }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn files(&self, client_ca: bool) -> Files {
        Files {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: client_ca.then(|| self.path("ca.pem")),
        }
    }

    /// A client that trusts this authority, and has the certificate of another or of this one.
    pub(crate) fn trusting(&self, client: Option<&Self>) -> rustls::ClientConfig {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};

        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let Some(Self { client: (certificate, key), .. }) = client else {
            return builder.with_no_client_auth();
        };
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    }

    async fn channel(
        &self,
        grpc: SocketAddr,
        identity: bool,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .domain_name("localhost")
            .ca_certificate(Certificate::from_pem(&self.authority));
        if identity {
            tls = tls.identity(Identity::from_pem(&self.client.0, &self.client.1));
        }
        let endpoint = Endpoint::from_shared(format!("https://{grpc}")).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }
}

struct Fixture {
    listeners: Listeners,
    keys: KeyRing,
    ledger: Arc<Ledger>,
    _reader: Reader,
}

async fn listening(change: impl FnOnce(&mut Settings)) -> Fixture {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings::plain(any, any, 1000, 1000);
    change(&mut settings);
    let keys = KeyRing::from(one(KEY, SECRET));
    let ledger = Arc::new(Ledger::default());
    let (journal, reader) = journal::in_memory(10_000, &ledger);
    let dead_letters = Arc::new(DeadLetters::in_memory(1000));
    let shared = Shared {
        keys: keys.clone(),
        journal,
        ledger: Arc::clone(&ledger),
        dead_letters,
        reader: Arc::default(),
    };
    let listeners = listen::bind(&settings, shared).await.unwrap();
    Fixture { listeners, keys, ledger, _reader: reader }
}

fn one(key: &str, secret: &str) -> Keys {
    let mut keys = Keys::default();
    keys.insert(key, secret);
    keys
}

// Opens a stream of events and ends it.
async fn send(channel: Channel, token: Option<&str>) -> Result<(), Code> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|_| Code::Unavailable)?;
    let path = "/livekit.AnalyticsRecorderService/IngestEvents".parse().unwrap();
    let mut request = Request::new(tokio_stream::iter(Vec::<Bytes>::new()));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    grpc.client_streaming(request, path, RawCodec).await.map(drop).map_err(|status| status.code())
}

async fn plain(grpc: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap()
}

fn token(key: &str, secret: &str) -> String {
    let write = ObservabilityGrants::default().with_write();
    AccessToken::with_api_key(key, secret).with_observability_grants(write).to_jwt().unwrap()
}

#[tokio::test]
async fn streams_need_a_token_of_a_known_key_if_configured() {
    let fixture = listening(|settings| settings.grpc_auth = GrpcAuth::Token).await;
    let grpc = fixture.listeners.grpc;
    let wrong = token(KEY, "another-made-up-secret-of-some-length");
    for token in [None, Some(wrong.as_str()), Some("nonsense")] {
        assert_eq!(send(plain(grpc).await, token).await, Err(Code::Unauthenticated));
    }
    let refused = fixture.ledger.snapshot().inputs[1].refused;
    for why in [Refused::NoToken, Refused::Signature, Refused::Unauthorized] {
        assert!(refused.contains(&(why, 1)), "{refused:?}");
    }
    assert_eq!(send(plain(grpc).await, Some(&token(KEY, SECRET))).await, Ok(()));
}

#[tokio::test]
async fn replaced_keys_apply_from_the_next_token() {
    let fixture = listening(|settings| settings.grpc_auth = GrpcAuth::Token).await;
    let grpc = fixture.listeners.grpc;
    let next = "the-next-made-up-secret-of-some-length";
    fixture.keys.replace(one("next", next));
    let old = send(plain(grpc).await, Some(&token(KEY, SECRET))).await;
    assert_eq!(old, Err(Code::Unauthenticated));
    assert_eq!(send(plain(grpc).await, Some(&token("next", next))).await, Ok(()));
}

#[tokio::test]
async fn streams_over_tls_need_a_client_certificate_if_configured() {
    let pki = Pki::new();
    let fixture = listening(|settings| settings.grpc_tls = Some(pki.files(true))).await;
    let grpc = fixture.listeners.grpc;
    assert_eq!(send(pki.channel(grpc, true).await.unwrap(), None).await, Ok(()));
    // The server refuses at the handshake or at the first request.
    if let Ok(channel) = pki.channel(grpc, false).await {
        assert!(send(channel, None).await.is_err());
    }
}

#[tokio::test]
async fn replaced_certificates_apply_from_the_next_connection() {
    let pki = Pki::new();
    let fixture = listening(|settings| settings.grpc_tls = Some(pki.files(false))).await;
    let grpc = fixture.listeners.grpc;
    assert!(pki.channel(grpc, false).await.is_ok());
    let next = Pki::new();
    std::fs::write(pki.path("server.pem"), "nonsense").unwrap();
    assert!(fixture.listeners.reload().is_err());
    assert!(pki.channel(grpc, false).await.is_ok(), "the previous ones stay in use");
    for name in ["server.pem", "server.key"] {
        std::fs::copy(next.path(name), pki.path(name)).unwrap();
    }
    fixture.listeners.reload().unwrap();
    assert!(pki.channel(grpc, false).await.is_err());
    assert!(next.channel(grpc, false).await.is_ok());
}

#[tokio::test]
async fn an_unreadable_certificate_fails_the_start_with_its_path() {
    let pki = Pki::new();
    let mut settings =
        Settings::plain(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into(), 1, 1);
    settings.http_tls = Some(Files { key: pki.path("nowhere"), ..pki.files(false) });
    let (journal, _) = journal::in_memory(1, &Arc::default());
    let dead_letters = Arc::new(DeadLetters::in_memory(0));
    let shared = Shared {
        keys: KeyRing::default(),
        journal,
        ledger: Arc::default(),
        dead_letters,
        reader: Arc::default(),
    };
    let error = listen::bind(&settings, shared).await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let fixture = listening(|_| {}).await;
    for head in ["X: y\r\n".repeat(100), format!("X: {}\r\n", "y".repeat(100_000))] {
        let mut stream = TcpStream::connect(fixture.listeners.http).await.unwrap();
        // The server may close the connection before everything is written.
        let _ = stream.write_all(format!("POST /webhook HTTP/1.1\r\n{head}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
