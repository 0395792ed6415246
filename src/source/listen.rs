//! The two listeners, and how they stop: what was accepted is in the journal, and nothing holds
//! the journal any more.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;

use super::analytics::AnalyticsRecorder;
use super::webhook::Webhooks;
use super::{OpenStreams, Shared};

// Finds out about senders that are gone without a word, so that nobody waits for their twins.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Where to listen, and how much to take at once.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// For webhooks.
    pub http: SocketAddr,
    /// For the analytics streams.
    pub grpc: SocketAddr,
    /// Largest webhook, in bytes.
    pub max_body: usize,
    /// Largest message of an analytics stream, in bytes.
    pub max_message: usize,
}

/// A listener's address can't be used.
#[derive(Debug, Error)]
#[error("can't listen on {address} for {what}: {error}")]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    error: std::io::Error,
}

/// The running listeners.
#[derive(Debug)]
pub struct Listeners {
    /// Where webhooks are taken.
    pub http: SocketAddr,
    /// Where the analytics streams are taken.
    pub grpc: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

/// Listens on both addresses; port 0 takes a free one.
///
/// # Errors
/// Where an address can't be used; then neither listens.
pub async fn bind(settings: &Settings, shared: Shared) -> Result<Listeners, BindError> {
    let (http, http_at) = listener("webhooks", settings.http).await?;
    let (grpc, grpc_at) = listener("analytics streams", settings.grpc).await?;
    let (stop, stopping) = watch::channel(false);
    let open = OpenStreams::default();
    let webhooks = Webhooks::new(shared.clone(), open.clone(), stopping.clone(), settings.max_body);
    let recorder = AnalyticsRecorder::new(shared, open, stopping.clone(), settings.max_message);
    let tasks = [
        tokio::spawn(serve_http(http, webhooks, stopping.clone())),
        tokio::spawn(serve_grpc(grpc, recorder, stopping)),
    ];
    Ok(Listeners { http: http_at, grpc: grpc_at, stop, tasks })
}

async fn listener(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |error| BindError { what, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

async fn serve_http(listener: TcpListener, webhooks: Webhooks, stop: watch::Receiver<bool>) {
    let served =
        axum::serve(listener, webhooks.router()).with_graceful_shutdown(stopped(stop)).await;
    if let Err(error) = served {
        tracing::error!(%error, "the webhook listener ended");
    }
}

async fn serve_grpc(
    listener: TcpListener,
    recorder: AnalyticsRecorder,
    stop: watch::Receiver<bool>,
) {
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(recorder)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped(stop))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the analytics listener ended");
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error is the sender's end, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Listeners {
    /// Stops accepting; what is being sent is finished and acknowledged until `deadline`.
    pub async fn stop(self, deadline: Instant) {
        let _ = self.stop.send(true);
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                // Only once it is gone is its hold of the journal.
                let _ = task.await;
            }
        }
    }
}
