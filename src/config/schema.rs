//! Every setting of the configuration file: its key, type, range, default and documentation.
//!
//! Serde derives from it which keys are known. The parsers in [`values`] say what a text may be.
//! `examples/livekit-otel.yaml` is its reference; a test compares them. The sections `export`, `resource`
//! and `privacy` are the exporter's (`livekit_otel_export::configure::schema`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::values::{self, LogFormat};
use crate::source::listen::{self, GrpcAuth};
use livekit_otel_engine::session::{self, AgentTraces, TraceScope};
use livekit_otel_engine::stats::{self, Histograms, Level};
use livekit_otel_export::configure::schema::{Export, Pairs, Personal, Verbatim};
use livekit_otel_export::deserialize_with;

/// The whole file.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Listen,
    pub(super) livekit: LiveKit,
    pub(super) limits: Limits,
    pub(super) session: Session,
    pub(super) traces: Traces,
    pub(super) stats: Stats,
    pub(super) export: Export,
    /// Attributes of the resource.
    pub(super) resource: Pairs,
    pub(super) journal: Journal,
    /// Near this use of memory, of at least 64MiB, nothing is accepted until memory use falls again.
    #[serde(deserialize_with = "memory_limit")]
    pub(super) memory_limit: Option<u64>,
    #[serde(rename = "set_aside")]
    pub(super) dead_letters: DeadLetters,
    /// How long shutdown may take, up to 24h.
    #[serde(deserialize_with = "positive_duration")]
    pub(super) shutdown_timeout: Duration,
    pub(super) log: Log,
    pub(super) privacy: Personal,
    pub(super) agents: Agents,
    pub(super) observe: Observe,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            livekit: LiveKit::default(),
            limits: Limits::default(),
            session: Session::default(),
            traces: Traces::default(),
            stats: Stats::default(),
            export: Export::default(),
            resource: Pairs::default(),
            journal: Journal::default(),
            memory_limit: None,
            dead_letters: DeadLetters::default(),
            shutdown_timeout: Duration::from_secs(10),
            log: Log::default(),
            privacy: Personal::default(),
            agents: Agents::default(),
            observe: Observe::default(),
        }
    }
}

/// The listeners.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listen {
    /// Webhooks: `POST /webhook`; `GET /healthz` and `/readyz`.
    #[serde(deserialize_with = "address")]
    pub(super) http: SocketAddr,
    /// Analytics streams: `livekit.AnalyticsRecorderService`.
    #[serde(deserialize_with = "address")]
    pub(super) grpc: SocketAddr,
    /// `GET /healthz`, `/readyz`, `/status` and `/metrics`, without authentication. By default port 9293
    /// of 127.0.0.1, or a free port if that of `http` is 0.
    #[serde(deserialize_with = "address")]
    pub(super) admin: Option<SocketAddr>,
    /// Whether `http` serves `GET /status` too.
    #[serde(deserialize_with = "boolean")]
    pub(super) status_on_webhooks: bool,
    /// Connections to `http` and `grpc` each, from 1 to 100000; above it the one that has been idle longest
    /// is closed for a new one.
    #[serde(deserialize_with = "connections")]
    pub(super) max_connections: usize,
    /// How long a connection may be without a request, and how long a request's head may take; from 1s to
    /// 24h.
    #[serde(deserialize_with = "idle_timeout")]
    pub(super) idle_timeout: Duration,
    /// The live view at `/ui`, on a loopback address only; none by default.
    #[serde(deserialize_with = "loopback")]
    pub(super) ui: Option<SocketAddr>,
    /// Who may open analytics streams: `none` (anyone; `grpc` must be a loopback address), `token` or
    /// `certificate`.
    #[serde(deserialize_with = "grpc_auth")]
    pub(super) grpc_auth: GrpcAuth,
    /// With `grpc_auth: token`, the API keys whose tokens are accepted, including tokens without any
    /// grant; by default all keys.
    pub(super) grpc_keys: Option<Vec<Verbatim>>,
    /// Whether `grpc` may be other than a loopback address without authentication.
    #[serde(deserialize_with = "boolean")]
    pub(super) insecure: bool,
    /// TLS of both listeners.
    pub(super) tls: ListenTls,
}

impl Default for Listen {
    fn default() -> Self {
        let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            http: port(9290),
            grpc: port(9291),
            admin: None,
            status_on_webhooks: false,
            max_connections: listen::MAX_CONNECTIONS,
            idle_timeout: listen::IDLE_TIMEOUT,
            ui: None,
            grpc_auth: GrpcAuth::None,
            grpc_keys: None,
            insecure: false,
            tls: ListenTls::default(),
        }
    }
}

/// PEM files; none by default.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListenTls {
    /// The server's certificate, for both listeners.
    pub(super) certificate: Option<PathBuf>,
    /// The server's key.
    pub(super) key: Option<PathBuf>,
    /// Clients that open streams need a certificate of this authority.
    pub(super) grpc_client_ca: Option<PathBuf>,
    /// Clients that post webhooks need a certificate of this authority.
    pub(super) http_client_ca: Option<PathBuf>,
}

/// The LiveKit server.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LiveKit {
    /// Its API keys with their secrets, which sign its webhooks. Used unless the environment has keys.
    pub(super) keys: Pairs,
    /// Its API, for missed events and agents' dispatches: `https`, `wss`, `http` or `ws`. None by default.
    #[serde(deserialize_with = "api_url")]
    pub(super) url: Option<Uri>,
    /// The key that signs these requests; required if there are several keys.
    pub(super) api_key: Option<Verbatim>,
    /// The secret of `api_key`, if it is not among the keys.
    pub(super) api_secret: Option<Verbatim>,
    /// How often rooms are listed, from 5s to 24h.
    #[serde(deserialize_with = "api_interval")]
    pub(super) interval: Duration,
    /// The most requests to the API in a second, from 1 to 1000.
    #[serde(deserialize_with = "requests")]
    pub(super) requests_per_second: u32,
}

impl Default for LiveKit {
    fn default() -> Self {
        Self {
            keys: Pairs::default(),
            url: None,
            api_key: None,
            api_secret: None,
            interval: Duration::from_mins(1),
            requests_per_second: 10,
        }
    }
}

/// The messages' sizes.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// The largest webhook, from 4KiB to 32MiB.
    #[serde(deserialize_with = "message")]
    pub(super) webhook_body: usize,
    /// The largest analytics message, from 4KiB to 32MiB.
    #[serde(deserialize_with = "message")]
    pub(super) analytics_message: usize,
    /// Memory for messages of all connections until they are in the journal: at least four times the
    /// largest message. By default 64MiB, but at most a quarter of `memory_limit`, and at least that
    /// minimum.
    #[serde(deserialize_with = "memory")]
    pub(super) unfinished: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { webhook_body: 1 << 20, analytics_message: 4 << 20, unfinished: None }
    }
}

/// How long sessions wait, and what they remember.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Session {
    /// How long a participant's spans wait for its last stats after it left, up to 24h.
    #[serde(deserialize_with = "duration")]
    pub(super) linger: Duration,
    /// How long a webhook waits for the same event from analytics, while analytics are connected; up to
    /// 24h.
    #[serde(deserialize_with = "duration")]
    pub(super) twin_wait: Duration,
    /// A room without any message for this long is ended; from 1m to 24h, and longer than `livekit.interval` if
    /// rooms are listed.
    #[serde(deserialize_with = "silent_after")]
    pub(super) silent_after: Duration,
    /// An egress that has not begun to record after this long is stuck; up to 24h.
    #[serde(deserialize_with = "positive_duration")]
    pub(super) egress_starting: Duration,
    /// An egress that is ending for this long, with its uploads, is stuck; up to 24h.
    #[serde(deserialize_with = "positive_duration")]
    pub(super) egress_ending: Duration,
    /// How long ended rooms and participants are kept for late messages, from 1m to 24h.
    #[serde(deserialize_with = "kept")]
    pub(super) keep_ended: Duration,
    /// How long after that ids are remembered, from 1h to 30days.
    #[serde(deserialize_with = "remembered")]
    pub(super) keep_ended_ids: Duration,
    /// Memory for ended rooms, at least 1MiB; above it the oldest are forgotten early.
    #[serde(deserialize_with = "ended")]
    pub(super) max_ended: usize,
    /// Ids of messages of the last 15 minutes, and of forgotten rooms, each; from 1000 to 100000000.
    #[serde(deserialize_with = "ids")]
    pub(super) max_ids: usize,
}

impl Default for Session {
    fn default() -> Self {
        let default = session::Settings::default();
        Self {
            linger: default.linger,
            twin_wait: default.twin_wait,
            silent_after: default.silent_after,
            egress_starting: default.egress_starting,
            egress_ending: default.egress_ending,
            keep_ended: default.keep_ended,
            keep_ended_ids: default.keep_ended_ids,
            max_ended: default.max_ended,
            max_ids: default.max_ids,
        }
    }
}

/// What shares a trace.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Traces {
    /// `room`, or `participant`: one trace per participant.
    #[serde(deserialize_with = "scope")]
    pub(super) scope: TraceScope,
    /// Spans per trace, at least 20; from three quarters on, participants who join get their own trace.
    #[serde(deserialize_with = "spans")]
    pub(super) max_spans: usize,
    /// Participants who join a room older than this get their own trace; up to 24h.
    #[serde(deserialize_with = "duration")]
    pub(super) max_age: Duration,
    /// Whether each subscription is a span; their number grows with the square of the room's size.
    #[serde(deserialize_with = "boolean")]
    pub(super) subscriptions: bool,
    /// The link that is added to each log record, with `{trace_id}`; none by default.
    #[serde(deserialize_with = "trace_url")]
    pub(super) url: Option<Arc<str>>,
}

impl Default for Traces {
    fn default() -> Self {
        let default = session::Settings::default();
        Self {
            scope: default.scope,
            max_spans: default.max_spans,
            max_age: default.max_age,
            subscriptions: default.subscriptions,
            url: default.trace_url,
        }
    }
}

/// The instruments.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stats {
    /// `node`, `room`, `participant` or `track`: each of these has its own series.
    #[serde(deserialize_with = "level")]
    pub(super) level: Level,
    /// Series per instrument, from 1 to 10000000; the rest share one, marked `otel.metric.overflow`. All metrics that
    /// agents upload share one such limit, and so do all that are derived from agents' spans.
    #[serde(deserialize_with = "cardinality")]
    pub(super) cardinality_limit: usize,
    /// Whether series have the names of their room and participant beside the ids.
    #[serde(deserialize_with = "boolean")]
    pub(super) names: bool,
    /// How many of the participants with the worst media have their own series, at any level; up to 1000.
    #[serde(deserialize_with = "top_n")]
    pub(super) top_n: usize,
    /// `explicit` or `exponential`.
    #[serde(deserialize_with = "histograms")]
    pub(super) histograms: Histograms,
    /// How often metrics are flushed, from 100ms to 24h. `OTEL_METRIC_EXPORT_INTERVAL` overrides it.
    #[serde(deserialize_with = "flush_interval")]
    pub(super) interval: Duration,
}

impl Default for Stats {
    fn default() -> Self {
        let default = stats::Settings::default();
        Self {
            level: default.level,
            cardinality_limit: default.cardinality_limit,
            names: default.names,
            top_n: default.top_n,
            histograms: default.histograms,
            interval: Duration::from_secs(30),
        }
    }
}

/// Accepted messages and queued records.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Journal {
    /// Its directory. By default all queued records are in memory, and lost in a crash.
    pub(super) dir: Option<PathBuf>,
    /// By default 64MiB in memory; with `dir` 8GiB on disk, or what the volume has. At least the largest message;
    /// with `dir` twice that and 1MiB.
    #[serde(deserialize_with = "memory")]
    pub(super) max_bytes: Option<usize>,
    /// How long a webhook waits for others, to be synced together; up to 5s.
    #[serde(deserialize_with = "sync")]
    pub(super) sync: Duration,
    /// How much of the journal a restart reads at most, beyond the last snapshot's size; at least 4KiB.
    #[serde(deserialize_with = "snapshot")]
    pub(super) snapshot: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { dir: None, max_bytes: None, sync: Duration::ZERO, snapshot: 64 << 20 }
    }
}

/// Dead letters.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeadLetters {
    /// By default 16MiB in memory; with `journal.dir` 256MiB on disk. At least the largest message and request.
    #[serde(deserialize_with = "size")]
    pub(super) max_bytes: Option<u64>,
}

/// The program's own log.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(deserialize_with = "log_level")]
    pub(super) level: LevelFilter,
    /// `text` or `json`.
    #[serde(deserialize_with = "log_format")]
    pub(super) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, format: LogFormat::Text }
    }
}

/// Uploads of LiveKit's agents, and plain OTLP.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Agents {
    /// Whether uploads are served, on `listen.http` and `listen.grpc`; by default only on those of the two
    /// that are loopback addresses.
    #[serde(deserialize_with = "boolean")]
    pub(super) enabled: Option<bool>,
    /// `join`, `link` or `off`: whether agents' spans are in the room's trace, in one linked to it, or left
    /// as they are; by default `join` with `traces.scope: room`, otherwise `link`.
    #[serde(deserialize_with = "agent_traces")]
    pub(super) traces: Option<AgentTraces>,
    /// The largest OTLP request, decompressed, from 4KiB to 64MiB. By default 64MiB, or what `journal.max_bytes`
    /// allows, or a sixteenth of `memory_limit`.
    #[serde(deserialize_with = "upload")]
    pub(super) max_body: Option<usize>,
    /// Memory for requests of all connections until they are in the journal: at least twice the largest.
    /// By default that.
    #[serde(deserialize_with = "memory")]
    pub(super) unfinished: Option<usize>,
    /// What is kept of recordings.
    pub(super) recordings: AgentRecordings,
    /// How long after its dispatch an agent may join before the dispatch counts as failed, from 1s to 10m. Dispatches
    /// are known from LiveKit's API (`livekit.url`).
    #[serde(deserialize_with = "dispatch_deadline")]
    pub(super) dispatch_deadline: Duration,
    /// Whether each room expects an agent: then a room's automatic dispatch without any agent counts as failed too.
    #[serde(deserialize_with = "boolean")]
    pub(super) expected: bool,
}

impl Default for Agents {
    fn default() -> Self {
        let default = session::Settings::default();
        Self {
            enabled: None,
            traces: None,
            max_body: None,
            unfinished: None,
            recordings: AgentRecordings::default(),
            dispatch_deadline: default.dispatch_deadline,
            expected: default.agents_expected,
        }
    }
}

/// The audio and the history of recordings.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentRecordings {
    /// The directory for them, which only its owner can enter. By default they are discarded.
    pub(super) dir: Option<PathBuf>,
    /// How much its files may take, at least 1MiB; what does not fit is discarded.
    #[serde(deserialize_with = "recordings")]
    pub(super) max_bytes: u64,
}

impl Default for AgentRecordings {
    fn default() -> Self {
        Self { dir: None, max_bytes: 1 << 30 }
    }
}

/// The program's own telemetry.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Observe {
    /// Whether the program's own spans are sent, to the same collector.
    #[serde(deserialize_with = "boolean")]
    pub(super) traces: bool,
}

deserialize_with! {
    address: SocketAddr,
    agent_traces: AgentTraces,
    api_interval: Duration,
    api_url: Uri,
    boolean: bool,
    cardinality: usize,
    connections: usize,
    dispatch_deadline: Duration,
    duration: Duration,
    ended: usize,
    flush_interval: Duration,
    grpc_auth: GrpcAuth,
    histograms: Histograms,
    idle_timeout: Duration,
    ids: usize,
    kept: Duration,
    level: Level,
    log_format: LogFormat,
    log_level: LevelFilter,
    loopback: SocketAddr,
    memory: usize,
    memory_limit: u64,
    message: usize,
    positive_duration: Duration,
    recordings: u64,
    remembered: Duration,
    requests: u32,
    scope: TraceScope,
    silent_after: Duration,
    size: u64,
    snapshot: u64,
    spans: usize,
    sync: Duration,
    top_n: usize,
    trace_url: Arc<str>,
    upload: usize,
}
