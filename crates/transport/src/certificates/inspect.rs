//! What is wrong with PEM files, found before a connection needs them. No error quotes a file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use thiserror::Error as ThisError;

use super::pem::{PemError, certificates, key, unusable};

/// A certificate that is not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    /// It was valid until then.
    Expired(SystemTime),
    /// It is valid from then.
    NotYet(SystemTime),
}

/// The certificates of a file that are not valid now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dates {
    /// The first, which is the file's own.
    pub own: Option<Outdated>,
    /// One of its chain: a client may know another way to an authority.
    pub chain: Option<Outdated>,
}

/// A certificate and its key can't be used.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file of the certificate, of the key, or both can't be used.
    #[error("the files can't be used")]
    Files {
        /// The certificate's.
        certificate: Option<PemError>,
        /// The key's.
        key: Option<PemError>,
    },
    /// The key is that of another certificate.
    #[error("it is the key of another certificate")]
    Mismatch,
    /// TLS does not support the certificate or its key.
    #[error("TLS can't use it: {0}")]
    Unsupported(Error),
}

/// Checks a certificate, followed by its chain, with its key. Returns what is not valid at `now`.
///
/// # Errors
/// If TLS can't use them at any time.
pub fn identity(
    certificate: &Path,
    key_file: &Path,
    now: SystemTime,
) -> Result<Dates, IdentityError> {
    let (chain, key) = match (certificates(certificate), key(key_file)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (certificate, key) => {
            return Err(IdentityError::Files { certificate: certificate.err(), key: key.err() });
        }
    };
    let mut dates = Dates::default();
    for (nth, certificate) in chain.iter().enumerate() {
        match outdated(certificate, now) {
            Ok(found) if nth == 0 => dates.own = found,
            Err(error) if nth == 0 => return Err(IdentityError::Unsupported(error)),
            // TLS sends the others as they are.
            found => dates.chain = dates.chain.or(found.ok().flatten()),
        }
    }
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(_) => Ok(dates),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(IdentityError::Mismatch),
        Err(error) => Err(IdentityError::Unsupported(error)),
    }
}

/// Checks the certificates of authorities. Returns one that is not valid at `now` if none is.
///
/// # Errors
/// If the file can't be used.
pub fn authorities(path: &Path, now: SystemTime) -> Result<Option<Outdated>, PemError> {
    let all = certificates(path)?;
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(all.iter().cloned());
    if usable == 0 {
        return Err(unusable(path, "it holds no certificate that TLS can use"));
    }
    let mut found = None;
    for certificate in &all {
        // Authorities of X.509 version 1 are trusted, but their dates can't be read here.
        let Ok(Some(date)) = outdated(certificate, now) else { return Ok(None) };
        found = Some(date);
    }
    Ok(found)
}

// The verifier of connections judges: it looks at the dates before it looks for an issuer, of which it gets
// none here.
fn outdated(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<Option<Outdated>, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = default_provider().signature_verification_algorithms.all;
    let nobody = RootCertStore::empty();
    let judged = verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms);
    let time = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
    Ok(match judged {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Outdated::Expired(time(not_after)))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => Some(Outdated::NotYet(time(not_before))),
        _ => None,
    })
}
