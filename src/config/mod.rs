//! Configuration: flags before the environment before the file, and all that is wrong at once.

mod api;
mod file;
mod journal;
mod keys;
mod listen;
mod replay;
mod session;
mod simulate;
mod stats;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use livekit_otel_export::configure::{Env, Errors, Problem, ProcessEnv};
pub use replay::destination;
pub use simulate::simulation;

use crate::cli::ServeArgs;
use crate::source::listen::GrpcAuth;
use crate::source::reconcile;
use crate::source::tls;
use livekit_otel_durable::store::Disk;
use livekit_otel_export as export;
use livekit_otel_export::configure::{self, Document, Flags, Reader, option};
use livekit_otel_livekit::keys::Keys;

/// What the program is told at start. `Debug` shows no secrets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where webhooks are taken.
    pub http: SocketAddr,
    /// Where analytics streams are taken.
    pub grpc: SocketAddr,
    /// Where an operator asks: probes, the ledger, the program's own metrics.
    pub admin: SocketAddr,
    /// Whether the webhooks' listener has the ledger too.
    pub status_on_webhooks: bool,
    /// How many connections the listeners for webhooks and for streams take at once, each.
    pub max_connections: usize,
    /// How long a connection may have no request, and a request's head may take.
    pub idle_timeout: Duration,
    /// Where a page shows the rooms; a loopback address.
    pub ui: Option<SocketAddr>,
    /// Who may tell over the analytics streams.
    pub grpc_auth: GrpcAuth,
    /// TLS for webhooks.
    pub http_tls: Option<tls::Files>,
    /// TLS for the analytics streams.
    pub grpc_tls: Option<tls::Files>,
    /// How much unfinished messages of webhooks and streams may take in memory, in bytes.
    pub unfinished: usize,
    /// Largest webhook, in bytes.
    pub max_body: usize,
    /// Largest analytics message, in bytes.
    pub max_message: usize,
    /// LiveKit's API keys; at least one.
    pub keys: Keys,
    /// LiveKit's API, where it is asked which rooms there are.
    pub api: Option<reconcile::Settings>,
    /// How long the sessions wait.
    pub session: livekit_otel_engine::session::Settings,
    /// What the instruments are told.
    pub stats: livekit_otel_engine::stats::Settings,
    /// How often the instruments are flushed; longer than nothing.
    pub stats_interval: Duration,
    /// Where the signals go.
    pub export: export::Settings,
    /// Where what was accepted is kept until it is delivered; in memory where there is none.
    pub journal: Option<JournalConfig>,
    /// How much of what was accepted may wait in memory, in bytes; where there is no journal on disk.
    pub journal_bytes: usize,
    /// Over how much memory nothing more is accepted, in bytes.
    pub memory_limit: Option<u64>,
    /// How much of what cannot be read or delivered is kept, in bytes.
    pub set_aside_bytes: u64,
    /// How long ending may take.
    pub shutdown_timeout: Duration,
    /// The program's own log.
    pub log: LogSettings,
    /// Whether the program's own traces are sent too.
    pub observe_traces: bool,
}

/// A journal on disk.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Its directory, which no other process uses.
    pub directory: PathBuf,
    /// How it is kept.
    pub settings: livekit_otel_durable::journal::Settings,
    /// What writes its files: other than the system's own only in tests of its faults.
    pub disk: Arc<dyn Disk>,
}

/// How the program logs, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// Its form.
    pub format: LogFormat,
}

/// The forms of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Config {
    /// Reads the flags, the environment and the file.
    ///
    /// # Errors
    /// All that is wrong in any of them, each with its place and without its value.
    pub fn load(args: &ServeArgs, env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader { env, file: Document::default(), problems: Vec::new() };
        let path = args
            .config
            .clone()
            .or_else(|| reader.variable("LIVEKIT_OTEL_CONFIG").map(|found| found.text.into()));
        if let Some(path) = path {
            reader.file = read_file(&path, &mut reader.problems);
        }
        Self::with_keys(args, reader)
    }

    /// As [`Config::load`], of a file's text.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn from_text(text: &str, env: &dyn Env) -> Result<Self, Errors> {
        let mut problems = Vec::new();
        let file = file::parse("the file", text, &mut problems);
        Self::with_keys(&ServeArgs::default(), Reader { env, file, problems })
    }

    fn with_keys(args: &ServeArgs, mut reader: Reader<'_>) -> Result<Self, Errors> {
        let keys = keys::read(&mut reader);
        let api = api::read(&mut reader, &keys);
        let config = Self { api, ..read(args, keys, &mut reader) };
        if reader.problems.is_empty() { Ok(config) } else { Err(Errors(reader.problems)) }
    }

    /// As [`Config::load`], from the environment alone and without LiveKit's keys: for a program
    /// that is told by calls.
    ///
    /// # Errors
    /// All that is wrong in it, each with its variable and without its value.
    pub fn for_library(env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader { env, file: Document::default(), problems: Vec::new() };
        let config = read(&ServeArgs::default(), Keys::default(), &mut reader);
        if reader.problems.is_empty() { Ok(config) } else { Err(Errors(reader.problems)) }
    }

    /// All defaults, with these keys and on free ports of 127.0.0.1, whatever the environment says.
    pub fn for_keys(keys: Keys) -> Self {
        let env = BTreeMap::new();
        let mut reader = Reader { env: &env, file: Document::default(), problems: Vec::new() };
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            http: free,
            grpc: free,
            admin: free,
            ..read(&ServeArgs::default(), keys, &mut reader)
        }
    }
}

fn read_file(path: &PathBuf, problems: &mut Vec<Problem>) -> Document {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => file::parse(&name, &text, problems),
        Err(error) => {
            let what = format!("can't be read: {}", error.kind());
            problems.push(Problem { at: name, what });
            Document::default()
        }
    }
}

fn read(args: &ServeArgs, keys: Keys, reader: &mut Reader<'_>) -> Config {
    let session = session::read(reader);
    let export = configure::read(&flags(args), reader);
    let (stats, stats_interval) = stats::read(args, export.temporality, reader);
    let timeout =
        option(reader, "--shutdown-timeout", args.shutdown_timeout.as_ref(), "shutdown_timeout");
    let mut message = |path, default| reader.in_file(path, values::message).unwrap_or(default);
    let max_body = message("limits.webhook_body", 1 << 20);
    let max_message = message("limits.analytics_message", 4 << 20);
    let memory_limit = reader.in_file("memory_limit", values::size);
    let unfinished = listen::unfinished(reader, [max_body, max_message], memory_limit);
    let journal = journal::read(args, max_body.max(max_message), reader);
    let journal_bytes = reader.in_file("journal.max_bytes", values::memory).unwrap_or(64 << 20);
    let set_aside_default = if journal.is_some() { 256 << 20 } else { 16 << 20 };
    let set_aside_bytes =
        reader.in_file("set_aside.max_bytes", values::size).unwrap_or(set_aside_default);
    let listen = listen::read(args, reader);
    Config {
        http: listen.http,
        grpc: listen.grpc,
        admin: listen.admin,
        status_on_webhooks: listen.status_on_webhooks,
        max_connections: listen.max_connections,
        idle_timeout: listen.idle_timeout,
        ui: listen.ui,
        grpc_auth: listen.grpc_auth,
        http_tls: listen.http_tls,
        grpc_tls: listen.grpc_tls,
        unfinished,
        max_body,
        max_message,
        keys,
        api: None,
        session,
        stats,
        stats_interval,
        export,
        journal,
        journal_bytes,
        memory_limit,
        set_aside_bytes,
        shutdown_timeout: reader
            .parse(timeout, values::duration)
            .unwrap_or(Duration::from_secs(10)),
        log: log_settings(args, reader),
        observe_traces: reader.in_file("observe.traces", values::boolean).unwrap_or(false),
    }
}

fn log_settings(args: &ServeArgs, reader: &mut Reader<'_>) -> LogSettings {
    let level = option(reader, "--log-level", args.log_level.as_ref(), "log.level");
    let format = option(reader, "--log-format", args.log_format.as_ref(), "log.format");
    LogSettings {
        level: reader.parse(level, values::log_level).unwrap_or(LevelFilter::INFO),
        format: reader.parse(format, values::log_format).unwrap_or_default(),
    }
}

fn flags(args: &ServeArgs) -> Flags<'_> {
    let ServeArgs { endpoint, protocol, privacy_pii, .. } = args;
    Flags {
        endpoint: endpoint.as_ref(),
        protocol: protocol.as_ref(),
        privacy_pii: privacy_pii.as_ref(),
    }
}
