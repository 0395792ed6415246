//! Parsers of single values. An error says what would be right, without the value.

use std::borrow::Cow;
use std::time::Duration;

use bytesize::ByteSize;
use http::Uri;
use http::uri::Authority;
use percent_encoding::percent_decode_str;

use crate::settings::{Compression, Protocol};
use livekit_otel_durable::store;
use livekit_otel_model::privacy::{Content, HashKey};
use livekit_otel_model::signal::Temporality;

/// The port that a URL names, if it names one. The parser of URLs accepts any number, and connections would
/// then go to the scheme's default port.
pub fn port(url: &Uri) -> Parsed<Option<u16>> {
    let authority = url.authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are in brackets.
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let Some((_, port)) = after.rsplit_once(':') else { return Ok(None) };
    let port = port.parse().ok().filter(|port: &u16| *port > 0);
    port.map(Some).ok_or_else(|| "must have a port from 1 to 65535".to_owned())
}

/// A value, or what it should have been.
pub type Parsed<T> = Result<T, String>;

// Longer waits are mistakes, and added to a time they could overflow it.
const LONGEST: Duration = Duration::from_hours(24);

/// A duration with its unit, as humantime reads it; at most 24 h.
pub fn duration(text: &str) -> Parsed<Duration> {
    let parsed = humantime::parse_duration(text)
        .map_err(|_| "must be a duration with its unit, such as 10s or 500ms".to_owned())?;
    if parsed > LONGEST { Err("must be at most 24h".into()) } else { Ok(parsed) }
}

/// A [`duration`] that is not zero.
pub fn positive_duration(text: &str) -> Parsed<Duration> {
    duration(text).and_then(positive)
}

/// A whole number of milliseconds, from 1 to 24 h.
pub fn millis(text: &str) -> Parsed<Duration> {
    let millis = text.parse().map_err(|_| "must be a whole number of milliseconds".to_owned())?;
    let parsed = Duration::from_millis(millis);
    if parsed > LONGEST { Err("must be at most 24h".into()) } else { positive(parsed) }
}

fn positive(parsed: Duration) -> Parsed<Duration> {
    if parsed.is_zero() { Err("must be longer than nothing".into()) } else { Ok(parsed) }
}

/// Bytes: `4096`, `64KiB`, `1.5MB`; at least 1 and at most 1 TiB.
pub fn size(text: &str) -> Parsed<u64> {
    let size = text.parse().ok().map(|ByteSize(bytes)| bytes);
    size.filter(|bytes| (1..=1 << 40).contains(bytes)).ok_or_else(|| {
        "must be a size from 1 byte to 1TiB, such as 4096, 3.5MB or 64MiB".to_owned()
    })
}

/// A [`size`] that the machine can address.
pub fn memory(text: &str) -> Parsed<usize> {
    size(text).and_then(|n| usize::try_from(n).map_err(|_| "is more than this machine has".into()))
}

// A span with its resource has about as much.
const SHORTEST_REQUEST: usize = 4 << 10;

/// A request's length: as a dead letter, a request is one record of a file.
pub fn request(text: &str) -> Parsed<usize> {
    match memory(text)? {
        bytes if bytes < SHORTEST_REQUEST => Err("must be at least 4KiB".into()),
        bytes if bytes > store::LONGEST => {
            Err(format!("must be at most {}MiB", store::LONGEST >> 20))
        }
        bytes => Ok(bytes),
    }
}

/// `true` or `false`, in upper or lower case, as OpenTelemetry's variables have it
/// (configuration/sdk-environment-variables).
pub fn boolean(text: &str) -> Parsed<bool> {
    one_of(text, &[("true", true), ("false", false)])
}

/// How personal data is sent; the key is separate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pii {
    /// Unchanged.
    #[default]
    Plain,
    /// Hashed, with a key.
    Hash,
    /// Not at all.
    Drop,
}

/// `plain`, `hash` or `drop`.
pub fn pii(text: &str) -> Parsed<Pii> {
    one_of(text, &[("plain", Pii::Plain), ("hash", Pii::Hash), ("drop", Pii::Drop)])
}

/// `drop` or `plain`.
pub fn content(text: &str) -> Parsed<Content> {
    one_of(text, &[("drop", Content::Drop), ("plain", Content::Plain)])
}

/// The key of the hashes, of at least 16 bytes.
pub fn hash_key(text: &str) -> Parsed<HashKey> {
    HashKey::new(text).ok_or_else(|| "must be at least 16 bytes long".into())
}

/// `grpc` or `http/protobuf`.
pub fn protocol(text: &str) -> Parsed<Protocol> {
    if text.eq_ignore_ascii_case("http/json") {
        return Err("http/json is not supported: use http/protobuf or grpc".into());
    }
    one_of(text, &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)])
}

/// `none`, `gzip` or `zstd`.
pub fn compression(text: &str) -> Parsed<Compression> {
    one_of(
        text,
        &[("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)],
    )
}

/// Whether a signal is sent: `OTEL_TRACES_EXPORTER` and the like.
pub fn exporter(text: &str) -> Parsed<bool> {
    one_of(text, &[("otlp", true), ("none", false)])
}

/// `lowmemory` is delta here, as no synchronous up-down counter is sent.
pub fn temporality(text: &str) -> Parsed<Temporality> {
    one_of(
        text,
        &[
            ("cumulative", Temporality::Cumulative),
            ("delta", Temporality::Delta),
            ("lowmemory", Temporality::Delta),
        ],
    )
}

/// The value of one of the known names; upper and lower case are the same.
pub fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Parsed<T> {
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
pub fn pairs(text: &str) -> Parsed<Vec<(String, String)>> {
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

// The crate leaves a wrong escape as it is; here it is an error.
fn percent_decoded(text: &str) -> Option<String> {
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let is_valid = text.split('%').skip(1).all(is_escape);
    is_valid.then(|| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned))?
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
            ("0.5TiB", Some(1 << 39)),
            ("1TiB", Some(1 << 40)),
            ("1024GiB", Some(1 << 40)),
            ("1025GiB", None),
            ("2TiB", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("1.", None),
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
    fn a_port_is_a_number_that_can_be_connected_to() {
        for (url, expected) in [
            ("http://c", Ok(None)),
            ("http://[::1]", Ok(None)),
            ("http://c:1", Ok(Some(1))),
            ("http://user:7@c:65535/x", Ok(Some(65_535))),
            ("http://[::1]:4317", Ok(Some(4317))),
            ("http://c:0", Err(())),
            ("http://c:65536", Err(())),
            ("http://c:99999", Err(())),
            ("http://[::1]:99999", Err(())),
            ("http://c:", Err(())),
        ] {
            assert_eq!(port(&url.parse().unwrap()).map_err(|_| ()), expected, "{url}");
        }
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
