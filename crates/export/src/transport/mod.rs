//! OTLP's two transports, for encoded requests.

mod files;
mod grpc;
mod http;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tonic::transport::Channel;

use files::Files;

use crate::answer::Answer;
use crate::error::StartError;
use crate::settings::{Protocol, Target};
use livekit_otel_model::Signal;
use livekit_otel_transport::chain;
use livekit_otel_transport::client::Routed;

/// A gRPC channel to a signal's target, with its certificates and by its route: for another exporter of that signal.
///
/// # Errors
/// If the certificates can't be used.
pub fn channel(signal: Signal, target: &Target) -> Result<Channel, StartError> {
    Ok(grpc::channel(signal, target)?.into_inner())
}

/// An HTTP client for a signal's target, like [`channel`].
///
/// # Errors
/// If the certificates can't be used.
pub fn client(signal: Signal, target: &Target) -> Result<Routed, StartError> {
    http::client(signal, target)
}

/// Sends the requests of one signal to its collector.
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
    // The last request failed.
    has_failed: bool,
}

#[derive(Debug)]
enum Connection {
    Grpc(Box<grpc::Grpc>),
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
        let files = Files::new(target);
        let connection = Arc::new(Connection::new(signal, target)?);
        let state = Mutex::new(State { connection, files, has_failed: false });
        Ok(Self { signal, target: target.clone(), state })
    }

    /// Sends a request once, within the target's timeout.
    pub(super) async fn send(&self, request: Bytes) -> Answer {
        let connection = self.connection();
        let answer = match &*connection {
            Connection::Grpc(grpc) => grpc.send(request).await,
            Connection::Http(http) => http.send(request).await,
        };
        self.state().has_failed = matches!(answer, Answer::Retry { .. });
        answer
    }

    // Replaced certificates need a new connection. While they can't be used, the connection with the old ones
    // stays.
    fn connection(&self) -> Arc<Connection> {
        let mut state = self.state();
        let State { connection, files, has_failed } = &mut *state;
        if files.are_replaced(*has_failed) {
            let signal = self.signal.as_str();
            match Connection::new(self.signal, &self.target) {
                Ok(new) => {
                    *connection = Arc::new(new);
                    files.set_usable(true);
                    tracing::info!(signal, "the certificates were replaced");
                }
                Err(error) => {
                    if files.set_usable(false) {
                        let error = chain(&error);
                        tracing::warn!(
                            signal,
                            error,
                            "the new certificates can't be used, the old ones stay"
                        );
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
            Protocol::Grpc => Self::Grpc(Box::new(grpc::Grpc::new(signal, target)?)),
            Protocol::HttpProtobuf => Self::Http(Box::new(http::Http::new(signal, target)?)),
        })
    }
}
