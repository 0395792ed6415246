//! Connections to this machine's listeners. With TLS, exactly the configured certificate is expected: a
//! listener may be at an address that its certificate does not name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::http::Uri;
use tokio::net::TcpStream;

use super::http::{self, Got};
use crate::source::tls::Files;
use livekit_otel_transport::chain;
use livekit_otel_transport::client::{self, Client, Routed};
use livekit_otel_transport::proxy::Route;

/// Where this machine reaches a listener: one at all addresses also at loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A URL of a listener.
pub(super) fn url(address: SocketAddr, tls: Option<&Files>, path: &str) -> Uri {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let authority = reachable(address).to_string();
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .unwrap_or_default()
}

/// A client for a listener.
#[cfg(feature = "tls")]
pub(super) fn client(tls: Option<&Files>) -> Result<Client, String> {
    use hyper_util::client::legacy::Client as Legacy;
    use hyper_util::rt::TokioExecutor;
    use livekit_otel_transport::certificates;
    use livekit_otel_transport::dial::Dialer;

    let config = match tls {
        Some(files) => pinned::config(&files.certificate, b"http/1.1")?,
        None => certificates::none().map_err(|error| chain(&error))?,
    };
    let connector = client::with_tls(Dialer::direct(client::tcp()), config);
    Ok(Legacy::builder(TokioExecutor::new()).build(connector))
}

/// A client for a listener.
#[cfg(not(feature = "tls"))]
pub(super) fn client(_: Option<&Files>) -> Result<Client, String> {
    client::new(false).map_err(|error| chain(&error))
}

/// Sends a GET request to a listener.
pub(super) async fn get(
    address: SocketAddr,
    tls: Option<&Files>,
    path: &str,
) -> Result<Got, String> {
    let client = Routed::new(client(tls)?, &Route::Direct);
    let got = http::get(&client, &url(address, tls, path)).await;
    got.map_err(|error| chain(&error))
}

/// Connects to a listener.
pub(super) async fn connects(address: SocketAddr) -> Result<(), String> {
    let connected = TcpStream::connect(reachable(address)).await;
    connected.map(|_| ()).map_err(|error| error.to_string())
}

/// Connects to the listener for streams, and opens HTTP/2: to its first frame, or to the end of the TLS
/// handshake.
pub(super) async fn open_http2(address: SocketAddr, tls: Option<&Files>) -> Result<(), String> {
    let connected = TcpStream::connect(reachable(address)).await;
    let stream = connected.map_err(|error| error.to_string())?;
    match tls {
        None => greet(&stream).await,
        Some(files) => shake_hands(stream, files).await,
    }
}

// The preface, and empty settings (RFC 9113, 3.4).
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const SETTINGS: u8 = 4;

async fn greet(stream: &TcpStream) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let mut rest = GREETING;
    while !rest.is_empty() {
        stream.writable().await.map_err(io)?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(io(error)),
        }
    }
    let (mut head, mut read) = ([0; 9], 0);
    while read < head.len() {
        stream.readable().await.map_err(io)?;
        match stream.try_read(&mut head[read..]) {
            Ok(0) => return Err("the connection was closed".to_owned()),
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(io(error)),
        }
    }
    if head[3] == SETTINGS { Ok(()) } else { Err("what answers there is not HTTP/2".to_owned()) }
}

#[cfg(feature = "tls")]
async fn shake_hands(stream: TcpStream, files: &Files) -> Result<(), String> {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    let config = pinned::config(&files.certificate, b"h2")?;
    let name = stream.peer_addr().map_err(|error| error.to_string())?.ip();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connected = connector.connect(ServerName::from(name), stream).await;
    let connected = connected.map_err(|error| chain(&error))?;
    match connected.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(()),
        _ => Err("what answers there is not HTTP/2".to_owned()),
    }
}

#[cfg(not(feature = "tls"))]
#[allow(clippy::unused_async)] // it waits with TLS only
async fn shake_hands(_: TcpStream, _: &Files) -> Result<(), String> {
    Err("this build has no TLS (feature `tls`)".to_owned())
}

#[cfg(feature = "tls")]
mod pinned {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
    use thiserror::Error;

    use livekit_otel_transport::chain;

    // The server reads its certificates when it starts and at SIGHUP.
    #[derive(Debug, Error)]
    #[error(
        "it has another certificate than {0}: was the file replaced? Send SIGHUP to the server"
    )]
    struct AnotherCertificate(String);

    #[derive(Debug)]
    struct Pinned {
        certificate: CertificateDer<'static>,
        file: String,
        provider: Arc<CryptoProvider>,
    }

    /// Expects exactly the first certificate of the file.
    pub(super) fn config(file: &Path, protocol: &[u8]) -> Result<ClientConfig, String> {
        let name = file.display().to_string();
        let unusable = |why: String| format!("{name} can't be used: {why}");
        let certificate =
            CertificateDer::from_pem_file(file).map_err(|error| unusable(chain(&error)))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(chain(&error)))?;
        let pinned = Pinned { certificate, file: name, provider };
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        if protocol == b"h2" {
            config.alpn_protocols = vec![protocol.to_vec()];
        }
        Ok(config)
    }

    impl ServerCertVerifier for Pinned {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            if *end_entity == self.certificate {
                return Ok(ServerCertVerified::assertion());
            }
            let another = AnotherCertificate(self.file.clone());
            Err(Error::Other(OtherError(Arc::new(another))))
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    }
}
