//! Reads PEM files. No error quotes a file.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

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

// In the label of an encrypted key (RFC 7468, 11), or in the header of an older one.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = certificates.map_err(|_| unusable(path, "it is not PEM"))?;
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate in PEM"));
    }
    Ok(certificates)
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let text = read(path)?;
    let why = if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        "its key is encrypted: write it without a passphrase"
    } else {
        "it holds no key in PEM"
    };
    // The parser's error may quote the file.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable(path, why))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|error| PemError { path: path.to_owned(), error })
}

pub(super) fn unusable(path: &Path, why: &str) -> PemError {
    let error = io::Error::new(io::ErrorKind::InvalidData, why);
    PemError { path: path.to_owned(), error }
}
