//! TLS on the listeners, with certificates that can be replaced while it runs.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

/// Certificates of the listeners: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, with those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority of the clients' certificates, where they must have one.
    pub client_ca: Option<PathBuf>,
}

/// A certificate or key can't be used.
#[derive(Debug, Error)]
#[error("{what} can't be used for TLS: {error}")]
pub struct TlsError {
    what: String,
    error: String,
}

/// Accepts TLS on one listener.
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
    /// Reads the files; `protocol` is what is spoken over it, as ALPN names it.
    ///
    /// # Errors
    /// Where one can't be used.
    pub fn new(files: Files, protocol: &'static [u8]) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(config(&files, protocol)?));
        Ok(Self { files, protocol, current })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// Where one can't be used: those of before stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = config(&self.files, self.protocol)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// Where the client broke it off, or has no certificate that it needs.
    #[cfg(feature = "tls")]
    pub(super) async fn accept(
        &self,
        stream: super::linger::Lingering,
    ) -> std::io::Result<tokio_rustls::server::TlsStream<super::linger::Lingering>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio_rustls::TlsAcceptor::from(config).accept(stream).await
    }
}

#[cfg(feature = "tls")]
fn config(files: &Files, protocol: &'static [u8]) -> Result<Config, TlsError> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let wrong = |what: &std::path::Path, error: &dyn std::fmt::Display| TlsError {
        what: what.display().to_string(),
        error: error.to_string(),
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
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| wrong(ca, &error))?;
            }
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
