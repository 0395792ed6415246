//! Reading the PEM files of [`Tls`] for either client. No error quotes a file.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::tls::Tls;

/// A PEM file can't be used. The text never quotes the file.
#[derive(Debug, Error)]
#[error("{path} can't be used")]
pub struct PemError {
    path: PathBuf,
    #[source]
    error: io::Error,
}

impl PemError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of the error; `InvalidData` where the file was read.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// The file, and why it can't be used.
    pub fn into_parts(self) -> (PathBuf, io::Error) {
        (self.path, self.error)
    }
}

/// TLS can't be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM file can't be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The files or the system's certificates were read, and can't be used.
    #[error("{what} can't be used")]
    Unusable {
        /// What can't be used.
        what: &'static str,
        /// Why.
        #[source]
        error: Box<dyn Error + Send + Sync>,
    },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::unusable("TLS", error)
    }
}

impl TlsError {
    fn unusable(what: &'static str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unusable { what, error: error.into() }
    }
}

impl Tls {
    /// The files as tonic reads them.
    ///
    /// # Errors
    /// If a file can't be used.
    pub fn for_grpc(&self) -> Result<ClientTlsConfig, PemError> {
        let mut config = match self.ca() {
            Some(ca) => {
                // tonic accepts a file without certificates, and then trusts no server.
                certificates(ca)?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = self.client() {
            certificates(certificate)?;
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(config)
    }

    /// The configuration of a rustls client with these files.
    ///
    /// # Errors
    /// If a file can't be used, or, without a CA, the system's certificates.
    pub fn for_http(&self) -> Result<ClientConfig, TlsError> {
        let config = self.with_roots()?;
        let Some((certificate, key_file)) = self.client() else {
            return Ok(config.with_no_client_auth());
        };
        let (certificates, key) = (certificates(certificate)?, key(key_file)?);
        config
            .with_client_auth_cert(certificates, key)
            .map_err(|error| TlsError::unusable("the client's certificate", error))
    }

    fn with_roots(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
        let config = builder()?;
        let Some(ca) = self.ca() else {
            return config
                .with_native_roots()
                .map_err(|error| TlsError::unusable("the system's certificates", error));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| TlsError::unusable("the certificate", error))?;
        }
        Ok(config.with_root_certificates(roots))
    }
}

/// Trusts the system's certificates.
///
/// # Errors
/// Where there are none.
pub fn system() -> io::Result<ClientConfig> {
    Ok(builder().map_err(io::Error::other)?.with_native_roots()?.with_no_client_auth())
}

/// Trusts no server, for endpoints without TLS: some machines have no certificates.
///
/// # Errors
/// Those of rustls.
pub fn none() -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = certificates.map_err(|_| unusable(path, "it is not PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    // The parser's error may quote the file.
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| unusable(path, "it holds no key"))
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|error| PemError { path: path.to_owned(), error })
}

fn unusable(path: &Path, why: &str) -> PemError {
    let error = io::Error::new(io::ErrorKind::InvalidData, why);
    PemError { path: path.to_owned(), error }
}
