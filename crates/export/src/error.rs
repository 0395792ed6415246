//! Errors of a start, and of a single request.

use std::error::Error;

use thiserror::Error;

#[cfg(feature = "tls")]
use livekit_otel_model::Signal;

/// Why the exporter can't start. No retry would help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The endpoint has no host, or a scheme other than http and https.
    #[error("{0}: the endpoint must be an http or https URL with a host")]
    Endpoint(&'static str),
    /// An outbox in the journal's directory can't be opened.
    #[error("the outbox can't be opened")]
    Outbox(#[from] std::io::Error),
    /// An https endpoint, in a build without the feature `tls`.
    #[error("{0}: this build has no TLS (feature `tls`); the endpoint must be http")]
    NoTls(&'static str),
    /// Certificates or keys can't be used.
    #[error("TLS for {signal} can't be set up")]
    Tls {
        /// Which signal's target.
        signal: &'static str,
        /// Which file, and why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StartError {
    #[cfg(feature = "tls")]
    pub(crate) fn tls(signal: Signal, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Tls { signal: signal.as_str(), source: error.into() }
    }
}

/// Why a single request was not delivered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The target can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The collector rejected some of the records (partial success).
    #[error("{0} of its records were rejected")]
    Rejected(u64),
    /// The request is too large.
    #[error("too large for the collector")]
    TooLarge,
    /// The collector did not accept the request.
    #[error("{0}")]
    NotAccepted(String),
}
