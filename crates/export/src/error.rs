//! Errors of a start, and of a single request.

use thiserror::Error;

#[cfg(feature = "tls")]
use livekit_otel_transport::certificates::TlsError;

/// Why the exporter can't start. No retry would help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The endpoint has no host, or a scheme other than http and https.
    #[error("{0}: the endpoint must be an http or https URL with a host")]
    Endpoint(&'static str),
    /// An outbox in the journal's directory can't be opened.
    #[error("the outbox can't be opened: {0}")]
    Outbox(#[from] std::io::Error),
    /// An https endpoint, in a build without the feature `tls`.
    #[error("{0}: this build has no TLS (feature `tls`); the endpoint must be http")]
    NoTls(&'static str),
    /// A certificate or key can't be used.
    #[cfg(feature = "tls")]
    #[error("{signal}: {error}")]
    Tls {
        /// Which signal's target.
        signal: &'static str,
        /// Which file, and why.
        #[source]
        error: TlsError,
    },
    /// The client of gRPC can't use the certificates.
    #[error("{signal}: TLS can't be used: {error}")]
    Channel {
        /// Which signal's target.
        signal: &'static str,
        /// Why.
        #[source]
        error: tonic::transport::Error,
    },
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
