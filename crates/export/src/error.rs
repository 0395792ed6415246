//! Errors of a start, and of a single request.

use std::error::Error;
use std::fmt;

use thiserror::Error;

use livekit_otel_transport::hint::Attempt;

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
    pub(crate) fn tls(signal: Signal, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Tls { signal: signal.as_str(), source: error.into() }
    }
}

/// Why a request was not accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The status and the collector's own words, or the transport's error: one line without control characters,
    /// and at most 200 characters of the collector.
    pub text: String,
    /// The likely reason and what to do, in one or two sentences.
    pub hint: Option<String>,
}

impl Cause {
    pub(crate) fn new(text: impl Into<String>, hint: Option<String>) -> Self {
        Self { text: text.into(), hint }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.hint.iter().try_for_each(|hint| write!(f, ". {hint}"))
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
    #[error("{attempted}: {records} of its records were rejected{}", said(words))]
    Rejected {
        /// Where the request went.
        attempted: Attempt,
        /// How many.
        records: u64,
        /// The collector's own words; may be empty.
        words: String,
    },
    /// The request is too large.
    #[error("{attempted}: too large for the collector: {cause}")]
    TooLarge {
        /// Where the request went.
        attempted: Attempt,
        /// The collector's answer.
        cause: Cause,
    },
    /// The collector did not accept the request.
    #[error("{attempted}: {cause}")]
    NotAccepted {
        /// Where the request went.
        attempted: Attempt,
        /// The collector's answer, or why there is none.
        cause: Cause,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}
