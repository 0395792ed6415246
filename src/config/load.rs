//! Reads the flags, the environment and the file by the schema, and checks the settings against each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::journal::JournalConfig;
use super::schema::{self, File};
use super::tree::Tree;
use super::values::LogFormat;
use super::{addresses, agents, journal, keys, limits, listen, overrides};
use crate::cli::ServeArgs;
use crate::source::listen::GrpcAuth;
use crate::source::reconcile;
use crate::source::{tls, uploads};
use livekit_otel_engine::session::AgentTraces;
use livekit_otel_export as export;
use livekit_otel_export::configure::schema::Sections;
use livekit_otel_export::configure::{self, Env, Errors, Problem, Reader};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::privacy::Content;

/// The settings of `serve`. `Debug` shows no secrets.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener for webhooks.
    pub http: SocketAddr,
    /// The listener for analytics streams.
    pub grpc: SocketAddr,
    /// The listener for operators: probes, the ledger, the program's own metrics.
    pub admin: SocketAddr,
    /// Whether the listener for webhooks serves the ledger too.
    pub status_on_webhooks: bool,
    /// The connections that the listeners for webhooks and for streams accept, each.
    pub max_connections: usize,
    /// How long a connection may be without a request, and how long a request's head may take.
    pub idle_timeout: Duration,
    /// The listener for the live view, on a loopback address.
    pub ui: Option<SocketAddr>,
    /// Who may open analytics streams.
    pub grpc_auth: GrpcAuth,
    /// TLS for webhooks.
    pub http_tls: Option<tls::Files>,
    /// TLS for the analytics streams.
    pub grpc_tls: Option<tls::Files>,
    /// Memory for unfinished messages of webhooks and streams, in bytes.
    pub unfinished: usize,
    /// Largest webhook, in bytes.
    pub max_body: usize,
    /// Largest analytics message, in bytes.
    pub max_message: usize,
    /// LiveKit's API keys; at least one.
    pub keys: Keys,
    /// LiveKit's API, which lists the open rooms.
    pub api: Option<reconcile::Settings>,
    /// How long sessions wait, and what shares a trace.
    pub session: livekit_otel_engine::session::Settings,
    /// The instruments and their series.
    pub stats: livekit_otel_engine::stats::Settings,
    /// How often the instruments are flushed; never zero.
    pub stats_interval: Duration,
    /// What is accepted of uploads.
    pub uploads: uploads::Settings,
    /// What leaves of what was said in a call.
    pub content: Content,
    /// Where the signals go.
    pub export: export::Settings,
    /// The journal on disk, for accepted messages until they are delivered; without it they are in memory.
    pub journal: Option<JournalConfig>,
    /// Size of a journal in memory, in bytes.
    pub journal_bytes: usize,
    /// The use of memory above which nothing is accepted, in bytes.
    pub memory_limit: Option<u64>,
    /// The most bytes of dead letters.
    pub dead_letter_bytes: u64,
    /// How long shutdown may take.
    pub shutdown_timeout: Duration,
    /// The program's own log.
    pub log: LogSettings,
    /// Whether the program's own traces are sent too.
    pub observe_traces: bool,
}

/// How the program logs, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// Its format.
    pub format: LogFormat,
}

impl Config {
    /// Reads the flags, the environment and the file.
    ///
    /// # Errors
    /// All errors in any of them, each with its place, and with the value unless it could be a secret.
    pub fn load(args: &ServeArgs, env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader::new(env);
        let config = with_file(args, &mut reader);
        finished(config, reader)
    }

    /// Like [`Config::load`], but LiveKit's keys, or a part of them, may be missing: for a command that needs
    /// them only for a part of its work. The server's environment may have what the command's has not.
    ///
    /// # Errors
    /// All errors but those of the keys and of LiveKit's API, which needs one of them.
    pub fn load_with_or_without_keys(args: &ServeArgs, env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader::new(env);
        let tree = tree(args, &mut reader);
        let file = with_url(args, tree, &mut reader);
        let before = reader.problems.len();
        let (keys, api) = keys_and_api(&file, &mut reader);
        reader.problems.truncate(before);
        let config = Self { api, ..read(args, keys, file, &mut reader) };
        finished(config, reader)
    }

    /// Like [`Config::load`], from a file's text.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn from_text(text: &str, env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader::new(env);
        let tree = Tree::parse("f.yaml", text, &mut reader.problems);
        let config = with_keys(&ServeArgs::default(), tree, &mut reader);
        finished(config, reader)
    }

    /// Like [`Config::load`], from the environment alone and without LiveKit's keys: for a program
    /// that calls the library instead of sending webhooks.
    ///
    /// # Errors
    /// All errors, each with its variable, and with the value unless it could be a secret.
    pub fn for_library(env: &dyn Env) -> Result<Self, Errors> {
        let mut reader = Reader::new(env);
        let config = without_file(Keys::default(), &mut reader);
        finished(config, reader)
    }

    /// All defaults, with these keys and on free ports of 127.0.0.1, without the environment.
    pub fn for_keys(keys: Keys) -> Self {
        let env = BTreeMap::new();
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = without_file(keys, &mut Reader::new(&env));
        Self { http: free, grpc: free, admin: free, ..config }
    }
}

fn finished<T>(read: T, reader: Reader<'_>) -> Result<T, Errors> {
    if reader.problems.is_empty() { Ok(read) } else { Err(Errors(reader.problems)) }
}

// The configuration, with defaults in place of what is wrong.
pub(super) fn with_file(args: &ServeArgs, reader: &mut Reader<'_>) -> Config {
    let tree = tree(args, reader);
    with_keys(args, tree, reader)
}

// The file, if there is one.
pub(super) fn tree(args: &ServeArgs, reader: &mut Reader<'_>) -> Tree {
    let variable = || reader.variable("LIVEKIT_OTEL_CONFIG").map(|found| found.text.into());
    match args.config.clone().or_else(variable) {
        Some(path) => read_file(&path, &mut reader.problems),
        None => Tree::default(),
    }
}

pub(super) fn with_keys(args: &ServeArgs, tree: Tree, reader: &mut Reader<'_>) -> Config {
    let file = with_url(args, tree, reader);
    let (keys, api) = keys_and_api(&file, reader);
    Config { api, ..read(args, keys, file, reader) }
}

// The settings of a program with LiveKit's API.
fn with_url(args: &ServeArgs, mut tree: Tree, reader: &mut Reader<'_>) -> File {
    overrides::url(&mut tree, reader);
    settings(args, tree, reader)
}

fn keys_and_api(file: &File, reader: &mut Reader<'_>) -> (Keys, Option<reconcile::Settings>) {
    let keys = keys::read(&file.livekit, file.listen.grpc_keys.as_deref(), reader);
    let api = keys::api(&file.livekit, &keys, reader);
    (keys, api)
}

fn without_file(keys: Keys, reader: &mut Reader<'_>) -> Config {
    let args = ServeArgs::default();
    let file = settings(&args, Tree::default(), reader);
    read(&args, keys, file, reader)
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Tree {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Tree::parse(&name, &text, problems),
        Err(error) => {
            problems.push(Problem::new(name, format!("can't be read: {}", error.kind())));
            Tree::default()
        }
    }
}

// The file's settings, with what overrides them.
fn settings(args: &ServeArgs, mut tree: Tree, reader: &mut Reader<'_>) -> File {
    overrides::apply(args, &mut tree, reader);
    reader.places = tree.places();
    tree.read(&mut reader.problems)
}

fn read(args: &ServeArgs, keys: Keys, file: File, reader: &mut Reader<'_>) -> Config {
    let export = export(args, &file, reader);
    addresses::check(&file, &export, reader);
    limits::check(&file, &export, reader);
    let longest_dead_letter = limits::longest_dead_letter(&file, &export);
    let content = file.privacy.content;
    let File { limits, session, traces, stats, dead_letters, log, observe, .. } = file;
    let unfinished = listen::unfinished(&limits, file.memory_limit, reader);
    let journal_bytes = file.journal.max_bytes.unwrap_or(64 << 20);
    let longest = limits.webhook_body.max(limits.analytics_message);
    let journal = journal::read(file.journal, longest, reader);
    let agents = (file.agents.traces, file.agents.dispatch_deadline, file.agents.expected);
    let uploads = agents::read(file.agents, journal.as_ref(), file.memory_limit, reader);
    let default_letters = if journal.is_some() { 256 << 20 } else { 16 << 20 };
    let default_letters = longest_dead_letter.max(default_letters);
    let [http_tls, grpc_tls] = listen::read(args, &file.listen, reader);
    Config {
        http: file.listen.http,
        grpc: file.listen.grpc,
        admin: listen::admin(&file.listen),
        status_on_webhooks: file.listen.status_on_webhooks,
        max_connections: file.listen.max_connections,
        idle_timeout: file.listen.idle_timeout,
        ui: file.listen.ui,
        grpc_auth: file.listen.grpc_auth,
        http_tls,
        grpc_tls,
        unfinished,
        max_body: limits.webhook_body,
        max_message: limits.analytics_message,
        keys,
        api: None,
        session: session_settings(&session, traces, agents),
        stats: livekit_otel_engine::stats::Settings {
            level: stats.level,
            cardinality_limit: stats.cardinality_limit,
            names: stats.names,
            top_n: stats.top_n,
            histograms: stats.histograms,
            temporality: export.temporality,
            ..livekit_otel_engine::stats::Settings::default()
        },
        stats_interval: stats.interval,
        uploads,
        content,
        export,
        journal,
        journal_bytes,
        memory_limit: file.memory_limit,
        dead_letter_bytes: dead_letters.max_bytes.unwrap_or(default_letters),
        shutdown_timeout: file.shutdown_timeout,
        log: LogSettings { level: log.level, format: log.format },
        observe_traces: observe.traces,
    }
}

fn export(args: &ServeArgs, file: &File, reader: &mut Reader<'_>) -> export::Settings {
    let File { export, resource, privacy, .. } = file;
    let (export, resource, privacy) = (export.clone(), resource.clone(), privacy.clone());
    let sections = Sections { export, resource, privacy };
    configure::read(&overrides::exporter(args), &sections, reader)
}

fn session_settings(
    session: &schema::Session,
    traces: schema::Traces,
    agents: (Option<AgentTraces>, Duration, bool),
) -> livekit_otel_engine::session::Settings {
    let (agent_traces, dispatch_deadline, agents_expected) = agents;
    livekit_otel_engine::session::Settings {
        linger: session.linger,
        twin_wait: session.twin_wait,
        silent_after: session.silent_after,
        egress_starting: session.egress_starting,
        egress_ending: session.egress_ending,
        keep_ended: session.keep_ended,
        keep_ended_ids: session.keep_ended_ids,
        max_ended: session.max_ended,
        max_ids: session.max_ids,
        scope: traces.scope,
        max_spans: traces.max_spans,
        max_age: traces.max_age,
        subscriptions: traces.subscriptions,
        trace_url: traces.url,
        agent_traces,
        dispatch_deadline,
        agents_expected,
    }
}
