//! This machine's clock, compared with the `Date` of HTTP answers (RFC 9110, 6.6.1). Tokens with which LiveKit
//! signs are refused where the clocks differ by more than a minute.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use tokio::time::timeout;

use super::api::attempt;
use super::check::{Check, millis, no_answer, words};
use super::http::{Got, get};
use crate::config::Config;
use livekit_otel_export as export;
use livekit_otel_export::settings::{Protocol, Target};
use livekit_otel_model::Signal;
use livekit_otel_transport::chain;
use livekit_otel_transport::client::{self, Routed};
use livekit_otel_transport::hint::Attempt;

const LIVEKIT: &str = "clock.livekit";
const COLLECTOR: &str = "clock.collector";

// The leeway for tokens' times, in LiveKit (protocol auth/) and here.
const MOST: Duration = Duration::from_mins(1);
// More than the resolution and a slow answer explain.
const NOTABLE: Duration = Duration::from_secs(5);
// A `Date` has whole seconds.
const RESOLUTION: Duration = Duration::from_secs(1);

/// Compares this machine's clock with LiveKit's, and with the collectors' that answer over HTTP.
pub(super) async fn check(config: Arc<Config>, limit: Duration) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(api) = &config.api {
        let client = client::routed(api.url.scheme_str() == Some("https"), &api.route);
        let client = client.map_err(|error| chain(&error));
        checks.push(ask(LIVEKIT, (&api.url, &attempt(api)), client, limit).await);
    }
    let export = &config.export;
    let mut asked = Vec::new();
    for target in [&export.traces, &export.logs, &export.metrics] {
        let attempt = target.attempt();
        if target.enabled && target.protocol == Protocol::HttpProtobuf && !asked.contains(&attempt)
        {
            let (to, client) = ((&target.endpoint, &attempt), of_target(target));
            checks.push(ask(COLLECTOR, to, client, limit).await);
            asked.push(attempt);
        }
    }
    if checks.is_empty() {
        let text = "neither livekit.url nor an OTLP/HTTP collector shows a time to compare with";
        checks.push(Check::skip(LIVEKIT, text));
    }
    checks
}

// Any answer has a time, also one to a request without a path or a token.
async fn ask(
    check: &'static str,
    (url, at): (&Uri, &Attempt),
    client: Result<Routed, String>,
    limit: Duration,
) -> Check {
    let got = match client {
        Ok(client) => timeout(limit, get(&client, url)).await,
        Err(error) => return Check::skip(check, format!("{at} can't be asked: {error}")),
    };
    let got = got.map(|got| got.map_err(|error| chain(&error)));
    match got.unwrap_or_else(|_| Err(no_answer(limit))) {
        Ok(got) => compare(check, at.address(), &got),
        // The check of the API, or of the collector, fails.
        Err(error) => Check::skip(check, format!("{at} does not answer: {}", words(&error))),
    }
}

fn of_target(target: &Target) -> Result<Routed, String> {
    export::client(Signal::Traces, target).map_err(|error| chain(&error))
}

// Compares this machine's clock with that of `what`.
fn compare(check: &'static str, what: &str, got: &Got) -> Check {
    let Some(date) = got.date else {
        return Check::skip(check, format!("the answer of {what} has no Date"));
    };
    let (ahead, by) = difference(date, got.sent, got.took);
    if by.is_zero() {
        return Check::ok(check, format!("agrees with {what} to within {}", error(got.took)));
    }
    let direction = if ahead { "ahead of" } else { "behind" };
    let text = format!("is {} s {direction} that of {what}", by.as_secs().max(1));
    if by < NOTABLE {
        Check::ok(check, text)
    } else if by < MOST || check == COLLECTOR {
        // A collector checks no token of ours.
        Check::warn(check, text).advice("Synchronise both clocks: spans of both would not line up")
    } else {
        let advice = "Synchronise both clocks: tokens are refused beyond a minute";
        Check::fail(check, text).advice(advice)
    }
}

fn error(took: Duration) -> String {
    millis(RESOLUTION + took)
}

// Whether this clock is ahead, and by how much more than the answer's delay and resolution explain.
fn difference(date: SystemTime, sent: SystemTime, took: Duration) -> (bool, Duration) {
    // The server's time was from `date` to a second later, at some moment from `sent` to `sent + took`.
    let ahead = sent.duration_since(date + RESOLUTION).unwrap_or_default();
    let behind = date.duration_since(sent + took).unwrap_or_default();
    if ahead > behind { (true, ahead) } else { (false, behind) }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::doctor::check::Outcome;

    // The clock here minus the server's, in milliseconds, with an answer after 200 ms.
    fn compared(millis: i64) -> Check {
        of(LIVEKIT, millis)
    }

    fn of(check: &'static str, millis: i64) -> Check {
        let here = UNIX_EPOCH + Duration::from_secs(1_795_406_961);
        let (by, is_ahead) = (Duration::from_millis(millis.unsigned_abs()), millis > 0);
        let date = if is_ahead { here - by } else { here + by };
        let (status, body) = (StatusCode::OK, Bytes::new());
        let took = Duration::from_millis(200);
        let got = Got { status, body, date: Some(date), sent: here, took };
        compare(check, "livekit:7880", &got)
    }

    #[test]
    fn clocks_that_differ_by_more_than_a_minute_fail() {
        for (millis, expected) in [
            (0, Outcome::Ok),
            (1000, Outcome::Ok),
            (-200, Outcome::Ok),
            (5999, Outcome::Ok),
            (6000, Outcome::Warn),
            (-5200, Outcome::Warn),
            (60_999, Outcome::Warn),
            (61_000, Outcome::Fail),
            (-60_200, Outcome::Fail),
        ] {
            assert_eq!(compared(millis).outcome, expected, "{millis}");
        }
    }

    #[test]
    fn the_clock_of_a_collector_never_fails_as_no_token_depends_on_it() {
        for (millis, expected) in
            [(5999, Outcome::Ok), (6000, Outcome::Warn), (-3_600_000, Outcome::Warn)]
        {
            let check = of(COLLECTOR, millis);
            assert_eq!(check.outcome, expected, "{millis}");
            assert!(!check.advice.unwrap_or_default().contains("token"));
        }
    }

    #[test]
    fn the_text_says_which_clock_is_ahead() {
        assert_eq!(compared(500).text, "agrees with livekit:7880 to within 1200 ms");
        assert_eq!(compared(301_000).text, "is 300 s ahead of that of livekit:7880");
        assert_eq!(compared(-300_200).text, "is 300 s behind that of livekit:7880");
    }
}
