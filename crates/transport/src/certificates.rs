//! Reading the PEM files of [`Tls`] for either client. No error quotes a file.

mod inspect;
mod pem;

use std::error::Error;
use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

pub use inspect::{Dates, IdentityError, Outdated, authorities, identity};
pub use pem::PemError;

use crate::tls::Tls;
use pem::{certificates, key, read};

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
        // As tonic does: one certificate of many that can't be used is no reason to trust none.
        let (usable, _) = roots.add_parsable_certificates(certificates(ca)?);
        if usable == 0 {
            return Err(TlsError::unusable("the certificate", "TLS can use none of the file"));
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
