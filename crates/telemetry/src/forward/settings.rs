//! The settings of a forwarder.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use thiserror::Error as ThisError;

use super::token::Tokens;
use crate::endpoint::{self, EndpointError};
use livekit_otel_transport::tls::Tls;

/// Where to forward to, and how.
#[derive(Clone)]
#[must_use]
pub struct ForwardSettings {
    pub(super) endpoint: Uri,
    pub(super) tls: Tls,
    pub(super) tokens: Option<Tokens>,
    pub(super) node_id: String,
    pub(super) analytics_key: String,
    pub(super) interval: Duration,
    pub(super) max_messages: usize,
    pub(super) ack_timeout: Duration,
    pub(super) max_bytes: usize,
    pub(super) gzip: bool,
}

impl ForwardSettings {
    /// To `http://host:9291`, or `https`, with the defaults.
    ///
    /// # Errors
    /// If it is not an http or https URL with a host.
    pub fn to(endpoint: &str) -> Result<Self, ForwardError> {
        Ok(Self {
            endpoint: endpoint::parse(endpoint)?,
            tls: Tls::default(),
            tokens: None,
            node_id: String::new(),
            analytics_key: String::new(),
            interval: Duration::from_secs(1),
            max_messages: 512,
            ack_timeout: Duration::from_secs(10),
            max_bytes: 16 << 20,
            gzip: false,
        })
    }

    /// The PEM file of the trusted certificates, in place of the system's.
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls = self.tls.with_ca(path);
        self
    }

    /// The PEM files of the client's certificate and its key, for mTLS.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.tls = self.tls.with_client(certificate, key);
        self
    }

    /// The source of each stream's access token, if the receiver requires one.
    pub fn tokens(mut self, tokens: impl Into<Option<Tokens>>) -> Self {
        self.tokens = tokens.into();
        self
    }

    /// This node's id, `ND_…`.
    pub fn node_id(mut self, id: impl Into<String>) -> Self {
        self.node_id = id.into();
        self
    }

    /// LiveKit Cloud's key of the project; empty elsewhere.
    pub fn analytics_key(mut self, key: impl Into<String>) -> Self {
        self.analytics_key = key.into();
        self
    }

    /// How long a stream lasts; 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The most messages of a stream; 512.
    pub fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// How long to wait for the acknowledgement of a stream that has ended; 10 s.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// The most encoded bytes of each kind that wait; 16 MiB. Further messages are dropped.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether messages are compressed; not by default.
    pub fn gzip(mut self, is_compressed: bool) -> Self {
        self.gzip = is_compressed;
        self
    }
}

impl fmt::Debug for ForwardSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardSettings")
            .field("endpoint", &self.endpoint)
            .field("node_id", &self.node_id)
            .field("interval", &self.interval)
            .field("max_messages", &self.max_messages)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a forwarder can't start, whatever the receiver does.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum ForwardError {
    /// The endpoint can't be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A PEM file can't be read.
    #[error("{path} can't be read")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The contents of the PEM files can't be used.
    #[error("the certificates can't be used")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// This build has no TLS (feature `tls`).
    #[error("this build has no TLS")]
    NoTls,
}
