//! A target's PEM files, read for either transport.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::settings::Tls;

/// A PEM file that can't be used. Says why, never what is in it.
#[derive(Debug, Error)]
#[error("{path} can't be used: {error}")]
pub struct PemError {
    pub path: PathBuf,
    pub error: io::Error,
}

impl Tls {
    /// The files as tonic takes them; the system's certificates where there is no CA.
    pub fn for_grpc(&self) -> Result<ClientTlsConfig, PemError> {
        let mut config = match &self.ca {
            Some(ca) => {
                // tonic takes a file without certificates, and then trusts nobody.
                certificates(ca)?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) {
            certificates(certificate)?;
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(config)
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = certificates.map_err(|_| unusable(path, "it is no PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(certificates)
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    // The reader's own words may quote the file.
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| unusable(path, "it holds no key"))
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|error| PemError { path: path.to_owned(), error })
}

fn unusable(path: &Path, why: &str) -> PemError {
    let error = io::Error::new(io::ErrorKind::InvalidData, why);
    PemError { path: path.to_owned(), error }
}
