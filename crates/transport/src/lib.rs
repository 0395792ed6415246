//! HTTP and gRPC clients, and helpers for their errors and retries.
//!
//! - [`client`]: an HTTP client with the system's certificates.
//! - [`dial`]: connections, made directly or through a proxy.
//! - [`greeting`]: connections that fail with a cause where the server speaks another protocol.
//! - [`hint`]: the likely reason of a failed request, and what to do.
//! - [`frames`]: gRPC messages as bytes, and answers that are judged by their status alone.
//! - [`repeats`]: how often the log repeats a cause.
//! - [`secrets`]: keeps credentials out of what a server says.
//! - [`words`]: what an answer's body says to a person.
//! - [`proxy`]: the proxies that `HTTPS_PROXY` and its siblings name.
//! - [`tls`]: the PEM files of a client.
//! - [`chain`] formats an error with its causes, [`jittered`] spreads retries, [`retry_after`] reads how
//!   long a server asks to wait, [`ahead_of`] compares its clock.
//!
//! This crate knows none of the other members: neither LiveKit's messages nor OTLP. The tests of its users
//! test it against servers: `crates/export/src/tests` and the root's `tests/it`.

#[cfg(feature = "tls")]
pub mod certificates;
pub mod client;
pub mod dial;
pub mod frames;
pub mod greeting;
pub mod hint;
pub mod proxy;
pub mod repeats;
pub mod secrets;
pub mod tls;
pub mod words;

use std::time::{Duration, SystemTime};

/// An error and its causes, separated by colons.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Many errors quote their source already.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Half to all of `backoff`, at random: clients that lost the same server don't reconnect in step.
pub fn jittered(backoff: Duration) -> Duration {
    backoff / 2 + backoff / 2000 * fastrand::u32(..1000)
}

/// A `Retry-After` header's seconds, or the time until its date (RFC 9110, 10.2.3): 0 for one in the past.
/// `None` if it is neither.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

/// An answer's `Date` header (RFC 9110, 6.6.1), in whole seconds.
pub fn date(headers: &http::HeaderMap) -> Option<SystemTime> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date.trim()).ok()
}

/// How far `now` is ahead of an answer's [`date`], in seconds; negative if it is behind. `None` if there is no date.
pub fn ahead_of(headers: &http::HeaderMap, now: SystemTime) -> Option<i64> {
    let date = date(headers)?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Some(match now.duration_since(date) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_406_961);
        let table = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Mon, 23 Nov 2026 04:09:31 GMT", Some(10)),
            ("Mon, 23 Nov 2026 04:09:11 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in table {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn the_clocks_difference_is_found_from_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_406_961);
        let ahead = |date: &'static str| {
            let date = http::HeaderValue::from_static(date);
            ahead_of(&http::HeaderMap::from_iter([(http::header::DATE, date)]), now)
        };
        assert_eq!(ahead("Mon, 23 Nov 2026 04:09:31 GMT"), Some(-10));
        assert_eq!(ahead("Mon, 23 Nov 2026 04:04:21 GMT"), Some(300));
        assert_eq!(ahead("today"), None);
        assert_eq!(ahead_of(&http::HeaderMap::new(), now), None);
    }

    #[test]
    fn a_chain_quotes_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the file: {0}")]
        struct Quoting(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("no answer")]
        struct Silent(#[source] Quoting);
        let error = Silent(Quoting(io::Error::other("no disk")));
        assert_eq!(chain(&error), "no answer: the file: no disk");
    }

    #[test]
    fn a_jittered_pause_is_half_to_all_of_the_backoff() {
        let backoff = Duration::from_secs(4);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(backoff)).collect();
        assert!(pauses.iter().all(|pause| (backoff / 2..=backoff).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
