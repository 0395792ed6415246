//! The two listeners, and how they stop: what was accepted is in the journal, and nothing holds
//! the journal any more.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::analytics::AnalyticsRecorder;
use super::tasks::{Tasks, stopped};
use super::tls::{self, Acceptor, TlsError};
use super::webhook::Webhooks;
use super::{OpenStreams, Shared};

// Finds out about senders that are gone without a word, so that nobody waits for their twins.
const KEEPALIVE: Duration = Duration::from_secs(20);
// For a request's head, and for the next request of an open connection: LiveKit's sender keeps
// connections open, and opens another where one was closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
// Each may hold one webhook in memory. The next ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 512;
// A webhook's head has a token of some hundred bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 << 10;
// A server opens three.
const MAX_STREAMS: u32 = 64;
// Between attempts to accept, where the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who may tell over the analytics streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrpcAuth {
    /// Whoever reaches the listener, as with LiveKit's own service.
    #[default]
    None,
    /// Who has a server's access token, signed by one of LiveKit's keys.
    Token,
    /// Who has a certificate of the authority that is trusted for it.
    Certificate,
}

/// Where to listen, and how much to take at once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For webhooks.
    pub http: SocketAddr,
    /// For the analytics streams.
    pub grpc: SocketAddr,
    /// Largest webhook, in bytes.
    pub max_body: usize,
    /// Largest message of an analytics stream, in bytes.
    pub max_message: usize,
    /// Who may tell over the analytics streams.
    pub grpc_auth: GrpcAuth,
    /// TLS for webhooks.
    pub http_tls: Option<tls::Files>,
    /// TLS for the analytics streams.
    pub grpc_tls: Option<tls::Files>,
}

impl Settings {
    /// Without TLS, for whoever reaches it.
    pub fn plain(http: SocketAddr, grpc: SocketAddr, max_body: usize, max_message: usize) -> Self {
        let grpc_auth = GrpcAuth::None;
        Self { http, grpc, max_body, max_message, grpc_auth, http_tls: None, grpc_tls: None }
    }
}

/// Why a listener can't start.
#[derive(Debug, Error)]
pub enum BindError {
    /// Its address can't be used.
    #[error("can't listen on {address} for {what}: {error}")]
    Address {
        /// For what.
        what: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Its certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The running listeners. Dropped, they stop without being waited for.
#[derive(Debug)]
pub struct Listeners {
    /// Where webhooks are taken.
    pub http: SocketAddr,
    /// Where the analytics streams are taken.
    pub grpc: SocketAddr,
    acceptors: Vec<Acceptor>,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

/// A listener for a router of another's, plain HTTP/1.1. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where it is.
    pub(crate) address: SocketAddr,
    // Its end is the stop.
    _stop: watch::Sender<bool>,
}

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// Where it can't be used.
pub(crate) async fn site(
    what: &'static str,
    address: SocketAddr,
    router: Router,
) -> Result<Site, BindError> {
    let (listener, address) = listener(what, address).await?;
    let (stop, stopping) = watch::channel(false);
    let tasks = Tasks::default();
    let server = Server { listener, router, builder: http1(&tasks), tls: None };
    // Not one of `tasks`: it would hold itself.
    tokio::spawn(server.serve(tasks, stopping));
    Ok(Site { address, _stop: stop })
}

/// Listens on both addresses; port 0 takes a free one.
///
/// # Errors
/// Where an address can't be used; then neither listens.
pub async fn bind(settings: &Settings, shared: Shared) -> Result<Listeners, BindError> {
    let acceptor = |files: &Option<tls::Files>, protocol| {
        files.clone().map(|files| Acceptor::new(files, protocol)).transpose()
    };
    let http_tls = acceptor(&settings.http_tls, b"http/1.1")?;
    let grpc_tls = acceptor(&settings.grpc_tls, b"h2")?;
    let acceptors = [&http_tls, &grpc_tls].into_iter().flatten().cloned().collect();
    let (http, http_at) = listener("webhooks", settings.http).await?;
    let (grpc, grpc_at) = listener("analytics streams", settings.grpc).await?;
    let (stop, stopping) = watch::channel(false);
    let open = OpenStreams::default();
    let webhooks = Webhooks::new(shared.clone(), open.clone(), stopping.clone(), settings.max_body);
    let needs_token = settings.grpc_auth == GrpcAuth::Token;
    let recorder =
        AnalyticsRecorder::new(shared, open, stopping.clone(), settings.max_message, needs_token);
    let tasks = Tasks::default();
    let webhooks =
        Server { listener: http, router: webhooks.router(), builder: http1(&tasks), tls: http_tls };
    let streams = Router::new().fallback_service(recorder);
    let streams = Server { listener: grpc, router: streams, builder: http2(&tasks), tls: grpc_tls };
    tasks.spawn(webhooks.serve(tasks.clone(), stopping.clone()));
    tasks.spawn(streams.serve(tasks.clone(), stopping));
    Ok(Listeners { http: http_at, grpc: grpc_at, acceptors, stop, tasks })
}

fn http1(tasks: &Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks.clone()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http1().max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
    builder
}

fn http2(tasks: &Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks.clone()).http2_only();
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE);
    builder.http2().max_header_list_size(16 << 10).max_concurrent_streams(MAX_STREAMS);
    builder
}

async fn listener(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |error| BindError::Address { what, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

// One listener. Its connections are tasks of ours: those that axum and tonic spawn can't be ended.
struct Server {
    listener: TcpListener,
    router: Router,
    builder: Builder<Tasks>,
    tls: Option<Acceptor>,
}

impl Server {
    async fn serve(self, tasks: Tasks, stop: watch::Receiver<bool>) {
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&free).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = stopped(stop.clone()) => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (builder, router) = (self.builder.clone(), self.router.clone());
                    let serving =
                        connection(stream, self.tls.clone(), builder, router, stop.clone());
                    tasks.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Acceptor>,
    builder: Builder<Tasks>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    // An answer is small and waited for. Where it can't be set, the answer is late, not lost.
    let _ = stream.set_nodelay(true);
    // HTTP/2 has no time limit for its first bytes, and no end before them.
    let mut byte = [0];
    let first = tokio::select! {
        first = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut byte)) => first,
        () = stopped(stop.clone()) => return,
    };
    if !matches!(first, Ok(Ok(1))) {
        return;
    }
    let Some(tls) = tls else { return speak(stream, builder, router, stop).await };
    // A handshake is no slower than a head may be.
    #[cfg(feature = "tls")]
    match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, builder, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    #[cfg(not(feature = "tls"))]
    drop(tls);
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    builder: Builder<Tasks>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

impl Listeners {
    /// Reads the certificates again, for connections from now on.
    ///
    /// # Errors
    /// Where one can't be used: those of before stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.acceptors.iter().try_for_each(Acceptor::reload)
    }

    /// Stops accepting; what is being sent is finished and acknowledged until `deadline`, and cut
    /// off then, without an acknowledgement. No source holds the journal any more afterwards.
    pub async fn stop(self, deadline: Instant) {
        // Nobody left to hear it is as good.
        let _ = self.stop.send(true);
        if tokio::time::timeout_at(deadline, self.tasks.ended()).await.is_err() {
            tracing::warn!("connections that did not end in time are cut off");
            self.tasks.abort().await;
        }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}
