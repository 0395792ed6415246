//! Single values out of text. What they answer to a wrong one says what would be right, and never
//! repeats it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tracing::level_filters::LevelFilter;

use super::LogFormat;
use crate::export::settings::{Compression, Protocol};
use crate::privacy::HashKey;
use crate::session::Scope;
use crate::signal::Temporality;
use crate::source::listen::GrpcAuth;
use crate::stats::{Histograms, Level};
use crate::store;

/// What a value should have been.
pub(super) type Parsed<T> = Result<T, String>;

// Longer waits are mistakes, and added to a time they could overflow it.
const LONGEST: Duration = Duration::from_hours(24);

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "must be an IP address and port, such as 127.0.0.1:9290".into())
}

pub(super) fn loopback(text: &str) -> Parsed<SocketAddr> {
    let is_loopback = |address: &SocketAddr| address.ip().is_loopback();
    Some(address(text)?).filter(is_loopback).ok_or_else(|| {
        "whoever reaches it could read who was in which room: must be a loopback address".into()
    })
}

pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let parsed = humantime::parse_duration(text)
        .map_err(|_| "must be a duration with its unit, such as 10s or 500ms".to_owned())?;
    if parsed > LONGEST { Err("must be at most 24h".into()) } else { Ok(parsed) }
}

pub(super) fn positive_duration(text: &str) -> Parsed<Duration> {
    duration(text).and_then(positive)
}

/// How long what has ended is kept: not shorter than webhooks are retried.
pub(super) fn kept(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    if parsed < Duration::from_mins(1) { Err("must be from 1m to 24h".into()) } else { Ok(parsed) }
}

/// How long ids of what has ended are remembered.
pub(super) fn remembered(text: &str) -> Parsed<Duration> {
    let parsed = humantime::parse_duration(text).ok();
    let parsed =
        parsed.filter(|kept| (Duration::from_hours(1)..=Duration::from_hours(720)).contains(kept));
    parsed.ok_or_else(|| "must be a duration from 1h to 30days".to_owned())
}

/// How much ended rooms may take.
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

pub(super) fn millis(text: &str) -> Parsed<Duration> {
    let millis = text.parse().map_err(|_| "must be a whole number of milliseconds".to_owned())?;
    let parsed = Duration::from_millis(millis);
    if parsed > LONGEST { Err("must be at most 24h".into()) } else { positive(parsed) }
}

/// How often LiveKit's API is asked: so that two rounds are no burst.
pub(super) fn api_interval(text: &str) -> Parsed<Duration> {
    let parsed = duration(text)?;
    if parsed < Duration::from_secs(5) { Err("must be at least 5s".into()) } else { Ok(parsed) }
}

/// LiveKit's URL, as its clients take it: `ws` is `http` to the API.
pub(super) fn api_url(text: &str) -> Parsed<Uri> {
    let wrong = || "must be a URL, such as https://livekit.example.com".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(wrong)?.as_str();
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

fn positive(parsed: Duration) -> Parsed<Duration> {
    if parsed.is_zero() { Err("must be longer than nothing".into()) } else { Ok(parsed) }
}

/// Bytes: `4096`, `64KiB`, `1.5MB`; at least 1 and at most 1 TiB.
pub(super) fn size(text: &str) -> Parsed<u64> {
    let wrong = || "must be a size from 1 byte to 1TiB, such as 4096, 3.5MB or 64MiB".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let millionths: u64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    let bytes = whole
        .checked_mul(factor)
        .and_then(|bytes| bytes.checked_add(millionths * factor / 1_000_000))
        .ok_or_else(wrong)?;
    if (1..=1 << 40).contains(&bytes) { Ok(bytes) } else { Err(wrong()) }
}

pub(super) fn memory(text: &str) -> Parsed<usize> {
    size(text).and_then(|n| usize::try_from(n).map_err(|_| "is more than this machine has".into()))
}

// Of one record of a file half, as what is made of a message is longer than it.
const LONGEST_MESSAGE: usize = store::LONGEST / 2;

/// A message's length: what is kept of a longer one could not be read again.
pub(super) fn message(text: &str) -> Parsed<usize> {
    let at_most = |bytes: &usize| *bytes <= LONGEST_MESSAGE;
    let too_long = || format!("must be at most {}MiB", LONGEST_MESSAGE >> 20);
    Some(memory(text)?).filter(at_most).ok_or_else(too_long)
}

/// A request's length: one that is set aside is one record of a file.
pub(super) fn request(text: &str) -> Parsed<usize> {
    let at_most = |bytes: &usize| *bytes <= store::LONGEST;
    let too_long = || format!("must be at most {}MiB", store::LONGEST >> 20);
    Some(memory(text)?).filter(at_most).ok_or_else(too_long)
}

pub(super) fn grpc_auth(text: &str) -> Parsed<GrpcAuth> {
    let all = [
        ("none", GrpcAuth::None),
        ("token", GrpcAuth::Token),
        ("certificate", GrpcAuth::Certificate),
    ];
    one_of(text, &all)
}

/// How many connections a listener takes.
pub(super) fn connections(text: &str) -> Parsed<usize> {
    let count = text.parse().ok().filter(|count| (1..=100_000).contains(count));
    count.ok_or_else(|| "must be a whole number from 1 to 100000".to_owned())
}

/// How long a connection may have no request.
pub(super) fn idle_timeout(text: &str) -> Parsed<Duration> {
    let timeout = duration(text)?;
    if timeout < Duration::from_secs(1) { Err("must be at least 1s".into()) } else { Ok(timeout) }
}

/// Booleans of OpenTelemetry's variables, in any case (configuration/sdk-environment-variables).
pub(super) fn boolean(text: &str) -> Parsed<bool> {
    one_of(text, &[("true", true), ("false", false)])
}

pub(super) fn level(text: &str) -> Parsed<Level> {
    let levels = [
        ("node", Level::Node),
        ("room", Level::Room),
        ("participant", Level::Participant),
        ("track", Level::Track),
    ];
    one_of(text, &levels)
}

pub(super) fn histograms(text: &str) -> Parsed<Histograms> {
    one_of(text, &[("explicit", Histograms::Explicit), ("exponential", Histograms::Exponential)])
}

// More than a page of a dashboard shows.
const MOST_TOP: usize = 1000;

pub(super) fn top_n(text: &str) -> Parsed<usize> {
    let parsed = text.parse().ok().filter(|n| *n <= MOST_TOP);
    parsed.ok_or_else(|| format!("must be a number from 0 to {MOST_TOP}"))
}

pub(super) fn cardinality(text: &str) -> Parsed<usize> {
    let parsed = text.parse().ok().filter(|n| (1..=10_000_000).contains(n));
    parsed.ok_or_else(|| "must be a number from 1 to 10000000".to_owned())
}

pub(super) fn scope(text: &str) -> Parsed<Scope> {
    one_of(text, &[("room", Scope::Room), ("participant", Scope::Participant)])
}

/// Fewer than this would not hold a call of two.
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
        text,
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

/// What becomes of personal data, before there is a key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Pii {
    #[default]
    Plain,
    Hash,
    Drop,
}

pub(super) fn pii(text: &str) -> Parsed<Pii> {
    one_of(text, &[("plain", Pii::Plain), ("hash", Pii::Hash), ("drop", Pii::Drop)])
}

pub(super) fn hash_key(text: &str) -> Parsed<HashKey> {
    HashKey::new(text).ok_or_else(|| "must be at least 16 bytes long".into())
}

pub(super) fn protocol(text: &str) -> Parsed<Protocol> {
    if text.eq_ignore_ascii_case("http/json") {
        return Err("http/json is not supported: use http/protobuf or grpc".into());
    }
    one_of(text, &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)])
}

pub(super) fn compression(text: &str) -> Parsed<Compression> {
    one_of(
        text,
        &[("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)],
    )
}

/// Whether a signal is sent, of `OTEL_TRACES_EXPORTER` and its like.
pub(super) fn exporter(text: &str) -> Parsed<bool> {
    one_of(text, &[("otlp", true), ("none", false)])
}

/// Low memory is delta for all that is sent here: it has no synchronous up-down counters.
pub(super) fn temporality(text: &str) -> Parsed<Temporality> {
    one_of(
        text,
        &[
            ("cumulative", Temporality::Cumulative),
            ("delta", Temporality::Delta),
            ("lowmemory", Temporality::Delta),
        ],
    )
}

fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Parsed<T> {
    known
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            format!("must be {}", names.join(" or "))
        })
}

/// `k=v,k2=v2` with percent-encoded keys and values, as W3C baggage without its properties
/// (OTLP exporter specification, "Specifying headers via environment variables").
pub(super) fn pairs(text: &str) -> Parsed<Vec<(String, String)>> {
    let wrong = || "must be key=value pairs with commas between, percent-encoded".to_owned();
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (key, value) = member.split_once('=').ok_or_else(wrong)?;
            let key = percent_decoded(key.trim()).ok_or_else(wrong)?;
            let value = percent_decoded(value.trim()).ok_or_else(wrong)?;
            if key.is_empty() { Err(wrong()) } else { Ok((key, value)) }
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("4096", Some(4096)),
            ("64 KiB", Some(65_536)),
            ("3.5MB", Some(3_500_000)),
            ("1.5mib", Some(1_572_864)),
            ("0.0000001MB", None),
            ("1024GiB", Some(1 << 40)),
            ("1025GiB", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("1.", None),
            (".5MB", None),
            ("1e3", None),
            ("10 parsecs", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_a_limit() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1m 30s", Some(90_000)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("10", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
        assert!(positive_duration("0s").is_err());
        assert!(millis("0").is_err());
        assert!(millis("1.5").is_err());
        assert_eq!(millis("1500"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn pairs_are_percent_decoded() {
        let read = |text| pairs(text).ok();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("a=b, c = d%20e ,"), Some(vec![pair("a", "b"), pair("c", "d e")]));
        assert_eq!(read("a=b=c"), Some(vec![pair("a", "b=c")]));
        assert_eq!(read("a=%2C%3d"), Some(vec![pair("a", ",=")]));
        for wrong in ["a", "=b", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
