//! TLS for the listeners, with certificates that can be replaced at run time.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use thiserror::Error;

/// The certificates of a listener, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authority of client certificates, if clients need one.
    pub client_ca: Option<PathBuf>,
}

/// A certificate or key can't be used.
#[derive(Debug, Error)]
#[error("{what} can't be used for TLS: {error}")]
pub struct TlsError {
    what: String,
    error: String,
}

/// Accepts TLS connections of one listener.
#[derive(Debug, Clone)]
pub struct Acceptor {
    files: Files,
    protocol: &'static [u8],
    current: Arc<RwLock<Config>>,
}

#[cfg(feature = "tls")]
type Config = Arc<rustls::ServerConfig>;
#[cfg(not(feature = "tls"))]
type Config = std::convert::Infallible;

impl Acceptor {
    /// Reads the files; `protocol` is the ALPN name of the protocol over TLS.
    ///
    /// # Errors
    /// If a file can't be used.
    pub fn new(files: Files, protocol: &'static [u8]) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(config(&files, protocol)?));
        Ok(Self { files, protocol, current })
    }

    /// Reads the files again, for new connections.
    ///
    /// # Errors
    /// If a file can't be used; then the previous certificates stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = config(&self.files, self.protocol)?;
        *self.current.write() = config;
        Ok(())
    }

    /// Performs the server's side of a handshake.
    ///
    /// # Errors
    /// If the client ends it, or lacks a certificate that it needs.
    #[cfg(feature = "tls")]
    pub(super) async fn accept(
        &self,
        stream: super::linger::Lingering,
    ) -> std::io::Result<tokio_rustls::server::TlsStream<super::linger::Lingering>> {
        let config = self.current.read().clone();
        tokio_rustls::TlsAcceptor::from(config).accept(stream).await
    }
}

#[cfg(feature = "tls")]
fn config(files: &Files, protocol: &'static [u8]) -> Result<Config, TlsError> {
    use livekit_otel_transport::chain;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let wrong = |what: &std::path::Path, error: &dyn std::error::Error| TlsError {
        what: what.display().to_string(),
        error: chain(error),
    };
    let certificates = |path: &PathBuf| -> Result<Vec<_>, TlsError> {
        let certificates = CertificateDer::pem_file_iter(path);
        let certificates = certificates.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        certificates.map_err(|error| wrong(path, &error))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.certificate, &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            // Without any, the verifier is an error.
            roots.add_parsable_certificates(certificates(ca)?);
            let roots = Arc::new(roots);
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(ca, &error))?)
        }
    };
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(|error| wrong(&files.certificate, &error))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

#[cfg(not(feature = "tls"))]
fn config(files: &Files, _: &'static [u8]) -> Result<Config, TlsError> {
    let what = files.certificate.display().to_string();
    Err(TlsError { what, error: "this build has no TLS (feature `tls`)".to_owned() })
}
