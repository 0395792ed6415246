//! The two listeners, and how they stop: what was accepted is in the journal, and nothing holds
//! the journal any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::admin::Admin;
use super::analytics::AnalyticsRecorder;
use super::budget::Budget;
use super::connections::Connections;
use super::server::Server;
use super::tasks::Tasks;
use super::tls::{self, Acceptor, TlsError};
use super::webhook::Webhooks;
use super::{OpenStreams, Shared};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Listener};

// Finds out about senders that are gone without a word, so that nobody waits for their twins.
const KEEPALIVE: Duration = Duration::from_secs(20);
// Of the admin listener and of the page of rooms.
const FEW_CONNECTIONS: usize = 64;
// A webhook's head has a token of some hundred bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 << 10;
// A server opens three.
const MAX_STREAMS: u32 = 64;
// What may come of a stream, and of all streams of a connection, before it is read: hyper holds it. A frame
// is no larger than HTTP/2 lets none be.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;
const MAX_FRAME: u32 = 16 << 10;
// An answer is some bytes.
const MAX_SEND: usize = 16 << 10;
// Streams that the peer resets before they are looked at, and that are reset here for its faults: more of
// them end the connection.
const MAX_RESETS: usize = 64;

/// [`Settings::max_connections`], unless it is set.
pub const MAX_CONNECTIONS: usize = 512;
/// [`Settings::unfinished`], unless it is set.
pub const UNFINISHED: usize = 64 << 20;
/// [`Settings::idle_timeout`], unless it is set: LiveKit's sender keeps connections open, and opens
/// another where one was closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// For what an operator asks, where that is served.
    pub admin: Option<SocketAddr>,
    /// Whether the webhooks' listener has the ledger too.
    pub status_on_webhooks: bool,
    /// How many connections each of the first two takes at once; more than none.
    pub max_connections: usize,
    /// How long a connection may have no request, and a request's head may take.
    pub idle_timeout: Duration,
    /// How much the messages that have not come to their end, or are not in the journal yet, may take
    /// in all, in bytes: one half for webhooks, one for streams, a quarter of that for a connection.
    pub unfinished: usize,
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
        Self {
            http,
            grpc,
            admin: None,
            status_on_webhooks: false,
            max_connections: MAX_CONNECTIONS,
            idle_timeout: IDLE_TIMEOUT,
            unfinished: UNFINISHED,
            max_body,
            max_message,
            grpc_auth: GrpcAuth::None,
            http_tls: None,
            grpc_tls: None,
        }
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
    /// Where an operator asks; it is served until this is dropped, through a stop.
    pub(crate) admin: Option<Site>,
    acceptors: Vec<Acceptor>,
    stop: watch::Sender<bool>,
    tasks: Tasks,
    pub(crate) faults: Faults,
}

/// A listener for a router of another's, plain HTTP/1.1. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where it is.
    pub(crate) address: SocketAddr,
    // Its end is the stop.
    stop: watch::Sender<bool>,
    tasks: Tasks,
    serving: JoinHandle<()>,
}

impl Site {
    /// Stops, and returns once nothing of it is left.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // One that broke off has ended too.
        let _ = self.serving.await;
        self.tasks.abort().await;
    }
}

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// Where it can't be used.
pub(crate) async fn site(
    what: &'static str,
    address: SocketAddr,
    router: Router,
    (of, ledger): (Listener, Arc<Ledger>),
    faults: &Faults,
) -> Result<Site, BindError> {
    let (listener, address) = listener(what, address).await?;
    let (stop, stopping) = watch::channel(false);
    let tasks = Tasks::default();
    let builder = http1(&tasks, IDLE_TIMEOUT);
    let connections = Connections::new(of, FEW_CONNECTIONS, IDLE_TIMEOUT, ledger);
    let server = Server { listener, router, builder, tls: None, connections };
    let (faults, serving) = (faults.clone(), server.serve(tasks.clone(), stopping));
    // Not one of `tasks`: it would hold itself.
    let serving = tokio::spawn(async move { faults.watch(of.place(), serving).await });
    Ok(Site { address, stop, tasks, serving })
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
    let admin = Admin::new(&shared, stopping.clone());
    let faults = Faults::default();
    let admin_at = match settings.admin {
        None => None,
        Some(address) => {
            let of = (Listener::Admin, Arc::clone(&shared.ledger));
            Some(site("the operator", address, admin.clone().all(), of, &faults).await?)
        }
    };
    let connections = |of| {
        let ledger = Arc::clone(&shared.ledger);
        Connections::new(of, settings.max_connections, settings.idle_timeout, ledger)
    };
    let [of_webhooks, of_streams] = [Listener::Webhooks, Listener::Streams].map(connections);
    let budget = |largest| (Budget::new(settings.unfinished / 2, largest), largest);
    let [of_bodies, of_messages] = [settings.max_body, settings.max_message].map(budget);
    let open = OpenStreams::default();
    let webhooks = Webhooks::new(shared.clone(), open.clone(), of_bodies).router();
    let webhooks = webhooks.merge(admin.clone().probes());
    let webhooks =
        if settings.status_on_webhooks { webhooks.merge(admin.status()) } else { webhooks };
    let needs_token = settings.grpc_auth == GrpcAuth::Token;
    let recorder = AnalyticsRecorder::new(shared, open, stopping.clone(), of_messages, needs_token);
    let tasks = Tasks::default();
    let builder = http1(&tasks, settings.idle_timeout);
    let webhooks = Server {
        listener: http,
        router: webhooks,
        builder,
        tls: http_tls,
        connections: of_webhooks,
    };
    let streams = Server {
        listener: grpc,
        router: Router::new().fallback_service(recorder),
        builder: http2(&tasks),
        tls: grpc_tls,
        connections: of_streams,
    };
    for (of, server) in [(Listener::Webhooks, webhooks), (Listener::Streams, streams)] {
        let watched = faults.watched(of.place());
        let serving = server.serve(tasks.clone(), stopping.clone());
        tasks.spawn(async move {
            let _watched = watched;
            serving.await;
        });
    }
    Ok(Listeners { http: http_at, grpc: grpc_at, admin: admin_at, acceptors, stop, tasks, faults })
}

fn http1(tasks: &Tasks, head_timeout: Duration) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks.clone()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder.http1().max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
    builder
}

fn http2(tasks: &Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks.clone()).http2_only();
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE);
    builder.http2().max_header_list_size(16 << 10).max_concurrent_streams(MAX_STREAMS);
    builder.http2().initial_stream_window_size(STREAM_WINDOW).max_frame_size(MAX_FRAME);
    builder.http2().initial_connection_window_size(CONNECTION_WINDOW).max_send_buf_size(MAX_SEND);
    builder.http2().max_pending_accept_reset_streams(MAX_RESETS);
    builder.http2().max_local_error_reset_streams(MAX_RESETS);
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
