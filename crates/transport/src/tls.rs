//! TLS of clients: which PEM files they use.

use std::path::{Path, PathBuf};

/// PEM files of a client, as the `OTEL_EXPORTER_OTLP_CERTIFICATE` family names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    ca: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts the certificates in this file instead of the system's.
    #[must_use]
    pub fn with_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// Presents this certificate, for mutual TLS.
    #[must_use]
    pub fn with_client(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((certificate.into(), key.into()));
        self
    }

    /// The certificates to trust; `None` for the system's.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The client's certificate and its key.
    pub fn client(&self) -> Option<(&Path, &Path)> {
        self.client.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()))
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(client).cloned().collect()
    }
}
