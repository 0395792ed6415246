//! OTLP's two transports, for requests that are bytes already.

mod files;
mod grpc;
mod http;
#[cfg(feature = "tls")]
mod tls;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;

use files::Files;

use super::answer::Answer;
use super::settings::{Protocol, Target};
use livekit_otel_model::Signal;

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
    signal: Signal,
    target: Target,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Arc<Connection>,
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
        let connection = Arc::new(Connection::new(signal, target)?);
        let state = Mutex::new(State { connection, files, failed: false });
        Ok(Self { signal, target: target.clone(), state })
    }

    /// Sends a request once, within the target's timeout.
    pub(super) async fn send(&self, request: Bytes) -> Answer {
        let connection = self.connection();
        let answer = match &*connection {
            Connection::Grpc(grpc) => grpc.send(request).await,
            Connection::Http(http) => http.send(request).await,
        };
        self.state().failed = matches!(answer, Answer::Retry { .. });
        answer
    }

    // Certificates that were replaced want a new connection. While they can't be used, the one with
    // the old ones stays.
    fn connection(&self) -> Arc<Connection> {
        let mut state = self.state();
        let State { connection, files, failed } = &mut *state;
        if files.replaced(*failed) {
            let signal = self.signal.as_str();
            match Connection::new(self.signal, &self.target) {
                Ok(new) => {
                    *connection = Arc::new(new);
                    files.read(true);
                    tracing::info!(signal, "the certificates were replaced");
                }
                Err(error) => {
                    if files.read(false) {
                        tracing::warn!(signal, %error, "the new certificates can't be used, the old ones stay");
                    }
                }
            }
        }
        Arc::clone(connection)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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
