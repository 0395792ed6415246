//! OTLP's two transports, for requests that are bytes already.

mod files;
mod grpc;
mod http;
#[cfg(feature = "tls")]
mod tls;

use bytes::Bytes;
use thiserror::Error;

use files::Files;

use super::answer::Answer;
use super::settings::{Protocol, Target};
use crate::ledger::Signal;

/// Why the exporter can't start: what no retry can mend.
#[derive(Debug, Error)]
pub enum StartError {
    /// The endpoint has no host, or a scheme other than http and https.
    #[error("{0}: the endpoint must be an http or https URL with a host")]
    Endpoint(&'static str),
    /// What waits can't be kept in the journal's directory.
    #[error("what waits for delivery can't be kept: {0}")]
    Outbox(#[from] std::io::Error),
    /// An https endpoint, in a build without the feature `tls`.
    #[error("{0}: this build has no TLS (feature `tls`); the endpoint must be http")]
    NoTls(&'static str),
    /// A certificate or key file can't be read or used.
    #[error("{signal}: {what} can't be used: {error}")]
    Tls {
        /// Which signal's target.
        signal: &'static str,
        /// Which file.
        what: String,
        /// Why.
        error: String,
    },
}

/// A signal's way to its collector.
#[derive(Debug)]
pub(super) struct Transport {
    connection: Connection,
    signal: Signal,
    target: Target,
    files: Files,
    failed: bool,
}

#[derive(Debug)]
enum Connection {
    Grpc(grpc::Grpc),
    Http(Box<http::Http>),
}

impl Transport {
    pub(super) fn new(signal: Signal, target: &Target) -> Result<Self, StartError> {
        let scheme = target.endpoint.scheme_str();
        if target.endpoint.host().is_none() || !matches!(scheme, Some("http" | "https")) {
            return Err(StartError::Endpoint(signal.as_str()));
        }
        if scheme == Some("https") && cfg!(not(feature = "tls")) {
            return Err(StartError::NoTls(signal.as_str()));
        }
        let files = Files::of(target);
        let connection = Connection::new(signal, target)?;
        Ok(Self { connection, signal, target: target.clone(), files, failed: false })
    }

    /// Sends a request once, within the target's timeout.
    pub(super) async fn send(&mut self, request: Bytes) -> Answer {
        self.reload();
        let answer = match &self.connection {
            Connection::Grpc(grpc) => grpc.send(request).await,
            Connection::Http(http) => http.send(request).await,
        };
        self.failed = matches!(answer, Answer::Retry { .. });
        answer
    }

    // Certificates that were replaced want a new connection. While they can't be used, the one with
    // the old ones stays.
    fn reload(&mut self) {
        if !self.files.replaced(self.failed) {
            return;
        }
        let signal = self.signal.as_str();
        match Connection::new(self.signal, &self.target) {
            Ok(connection) => {
                self.connection = connection;
                self.files.read(true);
                tracing::info!(signal, "the certificates were replaced");
            }
            Err(error) => {
                if self.files.read(false) {
                    tracing::warn!(signal, %error, "the new certificates can't be used, the old ones stay");
                }
            }
        }
    }
}

impl Connection {
    fn new(signal: Signal, target: &Target) -> Result<Self, StartError> {
        Ok(match target.protocol {
            Protocol::Grpc => Self::Grpc(grpc::Grpc::new(signal, target)?),
            Protocol::HttpProtobuf => Self::Http(Box::new(http::Http::new(signal, target)?)),
        })
    }
}

#[cfg(feature = "tls")]
fn pem_error(signal: Signal, error: &tls::PemError) -> StartError {
    tls_error(signal, &error.path.display(), &error.error)
}

#[cfg(feature = "tls")]
fn tls_error(
    signal: Signal,
    what: &dyn std::fmt::Display,
    error: &dyn std::fmt::Display,
) -> StartError {
    StartError::Tls { signal: signal.as_str(), what: what.to_string(), error: error.to_string() }
}
