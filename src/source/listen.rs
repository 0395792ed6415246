//! The listeners for webhooks, for analytics streams and for an operator. After a stop, all that they
//! accepted is in the journal, and none of them keeps the journal open.

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
use super::protocol::{Clients, Version};
use super::server::Server;
use super::tasks::Tasks;
use super::tls::{self, Acceptor, TlsError};
use super::uploads;
use super::uploads::grpc::Exports;
use super::uploads::intake::{Door, Intake};
use super::webhook::Webhooks;
use super::{OpenStreams, Shared};
use livekit_otel_durable::journal::Readiness;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Listener};

// Detects senders that are gone without a close, so that no webhook waits for a twin of theirs.
const KEEPALIVE: Duration = Duration::from_secs(20);
// For the admin listener and the live view.
const FEW_CONNECTIONS: usize = 64;
// The head of a webhook has a token of a few hundred bytes.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 32 << 10;
// A LiveKit server opens three.
const MAX_STREAMS: u32 = 64;
// Limits to the unread bytes that hyper buffers for a stream, and for all streams of a connection. The
// frame size is HTTP/2's minimum.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;
const MAX_FRAME: u32 = 16 << 10;
// An answer has a few bytes.
const MAX_SEND: usize = 16 << 10;
// A connection is closed at more streams that the peer resets before they are handled, or that are
// reset for the peer's errors.
const MAX_RESETS: usize = 64;

/// The default of [`Settings::max_connections`].
pub const MAX_CONNECTIONS: usize = 512;
/// The default of [`Settings::unfinished`].
pub const UNFINISHED: usize = 64 << 20;
/// The default of [`Settings::idle_timeout`]. LiveKit's sender keeps connections open, and opens another
/// if one is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How senders of analytics streams authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrpcAuth {
    /// Not at all, as with LiveKit's own service: all who reach the listener may send.
    #[default]
    None,
    /// With a server's access token, signed by one of LiveKit's keys.
    Token,
    /// With a certificate of the authority that is trusted for this.
    Certificate,
}

/// Where to listen, and how much to accept at once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address for webhooks.
    pub http: SocketAddr,
    /// Address for analytics streams.
    pub grpc: SocketAddr,
    /// Address for an operator, if there is one.
    pub admin: Option<SocketAddr>,
    /// Whether the webhook listener serves the ledger too.
    pub status_on_webhooks: bool,
    /// How many connections each of the first two accepts at once; at least one.
    pub max_connections: usize,
    /// How long a connection may be without a request, and how long a request's head may take.
    pub idle_timeout: Duration,
    /// Memory for messages that have not arrived completely or are not in the journal yet, in bytes:
    /// one half for webhooks, one for streams. One connection gets a quarter of its half.
    pub unfinished: usize,
    /// Largest webhook, in bytes.
    pub max_body: usize,
    /// Largest message of an analytics stream, in bytes.
    pub max_message: usize,
    /// How senders of analytics streams authenticate.
    pub grpc_auth: GrpcAuth,
    /// TLS for webhooks.
    pub http_tls: Option<tls::Files>,
    /// TLS for the analytics streams.
    pub grpc_tls: Option<tls::Files>,
    /// Uploads, over HTTP on the listener for webhooks and over gRPC on that for streams.
    pub uploads: uploads::Settings,
}

impl Settings {
    /// Defaults, without TLS, authentication and an admin listener.
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
            uploads: uploads::Settings::default(),
        }
    }
}

/// Why a listener can't start.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address can't be used.
    #[error("can't listen on {address} for {what}")]
    Address {
        /// What the listener is for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The directory of recordings can't be used.
    #[error("can't keep recordings in {path}")]
    Recordings {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The running listeners. A drop stops them without waiting.
#[derive(Debug)]
pub struct Listeners {
    /// The address for webhooks.
    pub http: SocketAddr,
    /// The address for analytics streams.
    pub grpc: SocketAddr,
    /// For an operator; served until it is dropped, even during a stop.
    pub(crate) admin: Option<Site>,
    acceptors: Vec<Acceptor>,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
    tasks: Tasks,
    pub(crate) faults: Faults,
}

/// A plain HTTP/1.1 listener for any router. A drop stops it.
#[derive(Debug)]
pub(crate) struct Site {
    /// The listener's address.
    pub(crate) address: SocketAddr,
    // Dropping it stops the listener.
    stop: watch::Sender<bool>,
    tasks: Tasks,
    serving: JoinHandle<()>,
}

impl Site {
    /// Stops, and returns once all tasks have ended.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // A task that panicked has ended too.
        let _ = self.serving.await;
        self.tasks.abort().await;
    }
}

/// Listens on an address; port 0 is a free one.
///
/// # Errors
/// If the address can't be used.
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
    let clients = Arc::new(Clients::new(of, address, Version::Http1, false));
    let server = Server { listener, router, builder, tls: None, connections, clients };
    let (faults, serving) = (faults.clone(), server.serve(tasks.clone(), stopping));
    // Not in `tasks`, which it holds itself.
    let serving = tokio::spawn(async move { faults.watch(of.place(), serving).await });
    Ok(Site { address, stop, tasks, serving })
}

/// Listens on all addresses; port 0 is a free one.
///
/// # Errors
/// If an address or a certificate can't be used; then nothing listens.
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
    let admin = Admin::new(&shared);
    let readiness = Arc::clone(shared.journal.readiness());
    let faults = Faults::default();
    let admin_at = match settings.admin {
        None => None,
        Some(address) => {
            let of = (Listener::Admin, Arc::clone(&shared.ledger));
            Some(site("an operator", address, admin.clone().all(), of, &faults).await?)
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
    let [of_http, of_grpc] = doors(settings, &shared, [http_at, grpc_at])?;
    let webhooks = webhooks.merge(uploads::http::router(of_http));
    let needs_token = settings.grpc_auth == GrpcAuth::Token;
    let recorder = AnalyticsRecorder::new(shared, open, stopping.clone(), of_messages, needs_token);
    let tasks = Tasks::default();
    let clients = |of, at, version, is_tls| Arc::new(Clients::new(of, at, version, is_tls));
    let webhooks = Server {
        listener: http,
        router: webhooks,
        builder: http1(&tasks, settings.idle_timeout),
        clients: clients(Listener::Webhooks, http_at, Version::Http1, http_tls.is_some()),
        tls: http_tls,
        connections: of_webhooks,
    };
    let streams = Server {
        listener: grpc,
        router: Exports::new(of_grpc).routes(Router::new().fallback_service(recorder)),
        builder: http2(&tasks),
        clients: clients(Listener::Streams, grpc_at, Version::Http2, grpc_tls.is_some()),
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
    let (http, grpc, admin) = (http_at, grpc_at, admin_at);
    Ok(Listeners { http, grpc, admin, acceptors, readiness, stop, tasks, faults })
}

// For uploads over HTTP, and over gRPC.
fn doors(
    settings: &Settings,
    shared: &Shared,
    at: [SocketAddr; 2],
) -> Result<[Door; 2], BindError> {
    let uploads = &settings.uploads;
    let intake = Intake::new(shared.clone(), uploads).map_err(|source| {
        let path = uploads.recordings.as_ref().map(|of| of.path.display().to_string());
        BindError::Recordings { path: path.unwrap_or_default(), source }
    })?;
    let needs_certificate =
        |files: &Option<tls::Files>| files.as_ref().is_some_and(|files| files.client_ca.is_some());
    let [http, grpc] = at;
    Ok([(http, &settings.http_tls), (grpc, &settings.grpc_tls)]
        .map(|(at, tls)| intake.door(uploads.enabled, at, needs_certificate(tls))))
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
    let failed = |source| BindError::Address { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

impl Listeners {
    /// Reads the certificates again, for new connections.
    ///
    /// # Errors
    /// If one can't be used; then the listeners that were not reloaded keep theirs.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.acceptors.iter().try_for_each(Acceptor::reload)
    }

    /// Stops accepting. What senders have begun is finished and acknowledged until `deadline`, then
    /// aborted without an acknowledgement. After that, no listener keeps the journal open.
    pub async fn stop(self, deadline: Instant) {
        self.readiness.drain();
        // An error means that no task is left.
        let _ = self.stop.send(true);
        if tokio::time::timeout_at(deadline, self.tasks.ended()).await.is_err() {
            tracing::warn!("connections that did not end in time are closed");
            self.tasks.abort().await;
        }
    }

    #[cfg(test)]
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}
