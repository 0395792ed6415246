//! Parsers of single values. An error says what would be right, without the value.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tracing::level_filters::LevelFilter;

pub(super) use livekit_otel_export::configure::values::{
    Parsed, boolean, duration, memory, millis, one_of, port, positive_duration, size,
};

use crate::source::listen::GrpcAuth;
use livekit_otel_durable::store;
use livekit_otel_engine::session::{AgentTraces, TraceScope};
use livekit_otel_engine::stats::{Histograms, Level};

/// The formats of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "must be an IP address and port, such as 127.0.0.1:9290".into())
}

pub(super) fn loopback(text: &str) -> Parsed<SocketAddr> {
    let is_loopback = |address: &SocketAddr| address.ip().is_loopback();
    Some(address(text)?).filter(is_loopback).ok_or_else(|| {
        "anyone who reaches it could read who was in which room: must be a loopback address".into()
    })
}

/// How long ended rooms are kept: not shorter than webhooks are retried.
pub(super) fn kept(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    if parsed < Duration::from_mins(1) { Err("must be from 1m to 24h".into()) } else { Ok(parsed) }
}

/// How long an agent may take to join.
pub(super) fn dispatch_deadline(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    let is_right = (Duration::from_secs(1)..=Duration::from_mins(10)).contains(&parsed);
    if is_right { Ok(parsed) } else { Err("must be from 1s to 10m".into()) }
}

/// How long ids of forgotten rooms are remembered.
pub(super) fn remembered(text: &str) -> Parsed<Duration> {
    let parsed = humantime::parse_duration(text).ok();
    let parsed =
        parsed.filter(|kept| (Duration::from_hours(1)..=Duration::from_hours(720)).contains(kept));
    parsed.ok_or_else(|| "must be a duration from 1h to 30days".to_owned())
}

/// Memory for ended rooms.
pub(super) fn ended(text: &str) -> Parsed<usize> {
    let parsed = size(text)?;
    let parsed = usize::try_from(parsed).ok().filter(|bytes| *bytes >= 1 << 20);
    parsed.ok_or_else(|| "must be a size of at least 1MiB".to_owned())
}

/// How many ids are remembered.
pub(super) fn ids(text: &str) -> Parsed<usize> {
    let parsed = text.parse().ok().filter(|n| (1_000..=100_000_000).contains(n));
    parsed.ok_or_else(|| "must be a number from 1000 to 100000000".to_owned())
}

/// How often LiveKit's API is asked: not so often that two rounds are a burst.
pub(super) fn api_interval(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    if parsed < Duration::from_secs(5) { Err("must be at least 5s".into()) } else { Ok(parsed) }
}

/// The most requests to LiveKit's API in a second.
pub(super) fn requests(text: &str) -> Parsed<u32> {
    let parsed = text.parse().ok().filter(|n| (1..=1000).contains(n));
    parsed.ok_or_else(|| "must be a number from 1 to 1000".to_owned())
}

/// LiveKit's URL, as its clients accept it: `ws` means `http` for the API.
pub(super) fn api_url(text: &str) -> Parsed<Uri> {
    let wrong = || "must be a URL, such as https://livekit.example.com".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(wrong)?.as_str();
    port(&uri)?;
    if authority.contains('@') || uri.query().is_some() {
        return Err("must not hold a user, a password or a query".into());
    }
    let scheme = match uri.scheme_str() {
        Some("http" | "ws") => "http",
        Some("https" | "wss") if cfg!(feature = "tls") => "https",
        Some("https" | "wss") => {
            return Err("this build has no TLS (feature `tls`): use http://".into());
        }
        _ => return Err("must start with https://, wss://, http:// or ws://".into()),
    };
    let path = uri.path().trim_end_matches('/');
    format!("{scheme}://{authority}{path}/").parse().map_err(|_| wrong())
}

// Half of a record of a file, as a message is longer in a record than it was received.
const LONGEST_MESSAGE: usize = store::LONGEST / 2;

// A webhook about a participant with attributes has some KiB, and so have the smallest uploads.
const SHORTEST_MESSAGE: usize = 4 << 10;

/// A message's length: the record of a longer one could not be read again, and LiveKit sends longer ones than
/// 4 KiB.
pub(super) fn message(text: &str) -> Parsed<usize> {
    within(text, SHORTEST_MESSAGE, LONGEST_MESSAGE)
}

/// An upload's length: its record in the journal is hardly longer.
pub(super) fn upload(text: &str) -> Parsed<usize> {
    within(text, SHORTEST_MESSAGE, crate::source::uploads::MAX_BODY)
}

fn within(text: &str, least: usize, most: usize) -> Parsed<usize> {
    match memory(text)? {
        bytes if bytes < least => Err(format!("must be at least {}KiB", least >> 10)),
        bytes if bytes > most => Err(format!("must be at most {}MiB", most >> 20)),
        bytes => Ok(bytes),
    }
}

// The program without any load takes about half of it.
const LEAST_MEMORY: u64 = 64 << 20;

/// The process's memory: a lower limit would be reached before the first message.
pub(super) fn memory_limit(text: &str) -> Parsed<u64> {
    let at_least = |bytes: &u64| *bytes >= LEAST_MEMORY;
    let too_small = || format!("must be at least {}MiB", LEAST_MEMORY >> 20);
    Some(size(text)?).filter(at_least).ok_or_else(too_small)
}

// LiveKit gives up a webhook after 10 s (protocol/webhook, `defaultClientTimeout`).
const LONGEST_SYNC: Duration = Duration::from_secs(5);

/// How long a webhook waits for others to be synced with.
pub(super) fn sync(text: &str) -> Parsed<Duration> {
    let too_long = || "must be at most 5s, as LiveKit gives up a webhook after 10s".to_owned();
    Some(duration(text)?).filter(|sync| *sync <= LONGEST_SYNC).ok_or_else(too_long)
}

/// How much of the journal is read again: a snapshot for each message would be most of the work.
pub(super) fn snapshot(text: &str) -> Parsed<u64> {
    let parsed = Some(size(text)?).filter(|bytes| *bytes >= 4 << 10);
    parsed.ok_or_else(|| "must be at least 4KiB".to_owned())
}

/// How long a room is silent before it is ended: servers send the stats of an open room about every 30 s.
pub(super) fn silent_after(text: &str) -> Parsed<Duration> {
    let parsed = Some(duration(text)?).filter(|silent| *silent >= Duration::from_mins(1));
    parsed.ok_or_else(|| "must be at least 1m".to_owned())
}

/// How often metrics are flushed.
pub(super) fn flush_interval(text: &str) -> Parsed<Duration> {
    let parsed = Some(duration(text)?).filter(|interval| *interval >= Duration::from_millis(100));
    parsed.ok_or_else(|| "must be at least 100ms".to_owned())
}

/// What a directory of recordings may take: one has some MiB.
pub(super) fn recordings(text: &str) -> Parsed<u64> {
    let parsed = Some(size(text)?).filter(|bytes| *bytes >= 1 << 20);
    parsed.ok_or_else(|| "must be at least 1MiB".to_owned())
}

pub(super) fn grpc_auth(text: &str) -> Parsed<GrpcAuth> {
    let all = [
        ("none", GrpcAuth::None),
        ("token", GrpcAuth::Token),
        ("certificate", GrpcAuth::Certificate),
    ];
    one_of(text, &all)
}

/// How many connections a listener accepts.
pub(super) fn connections(text: &str) -> Parsed<usize> {
    let count = text.parse().ok().filter(|count| (1..=100_000).contains(count));
    count.ok_or_else(|| "must be a whole number from 1 to 100000".to_owned())
}

/// How long a connection may be without a request.
pub(super) fn idle_timeout(text: &str) -> Parsed<Duration> {
    let timeout = duration(text)?;
    if timeout < Duration::from_secs(1) { Err("must be at least 1s".into()) } else { Ok(timeout) }
}

pub(super) fn level(text: &str) -> Parsed<Level> {
    one_of(text, &Level::NAMES)
}

pub(super) fn histograms(text: &str) -> Parsed<Histograms> {
    one_of(text, &[("explicit", Histograms::Explicit), ("exponential", Histograms::Exponential)])
}

// More than a dashboard's page shows.
const MOST_TOP: usize = 1000;

pub(super) fn top_n(text: &str) -> Parsed<usize> {
    let parsed = text.parse().ok().filter(|n| *n <= MOST_TOP);
    parsed.ok_or_else(|| format!("must be a number from 0 to {MOST_TOP}"))
}

pub(super) fn cardinality(text: &str) -> Parsed<usize> {
    let parsed = text.parse().ok().filter(|n| (1..=10_000_000).contains(n));
    parsed.ok_or_else(|| "must be a number from 1 to 10000000".to_owned())
}

pub(super) fn scope(text: &str) -> Parsed<TraceScope> {
    one_of(text, &[("room", TraceScope::Room), ("participant", TraceScope::Participant)])
}

/// How agents' spans join a room's trace.
pub(super) fn agent_traces(text: &str) -> Parsed<AgentTraces> {
    let all = [("join", AgentTraces::Join), ("link", AgentTraces::Link), ("off", AgentTraces::Off)];
    one_of(off(text), &all)
}

// YAML 1.1 reads an unquoted `off` as a boolean.
fn off(text: &str) -> &str {
    if text == "false" { "off" } else { text }
}

// Fewer would not hold a call of two participants.
const LEAST_SPANS: usize = 20;

pub(super) fn spans(text: &str) -> Parsed<usize> {
    let spans = text.parse().ok().filter(|spans| *spans >= LEAST_SPANS);
    spans.ok_or_else(|| format!("must be a number of at least {LEAST_SPANS}"))
}

pub(super) fn trace_url(text: &str) -> Parsed<Arc<str>> {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    let is_template = is_url && text.contains("{trace_id}");
    is_template.then(|| text.into()).ok_or_else(|| {
        "must be a URL with {trace_id} in it, as http://localhost:16686/trace/{trace_id}".to_owned()
    })
}

pub(super) fn log_level(text: &str) -> Parsed<LevelFilter> {
    one_of(
        off(text),
        &[
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ],
    )
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// A size in the largest unit that has no fraction.
pub(super) fn shown_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}
