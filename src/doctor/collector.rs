//! The collector: one marked test record of each signal, as the server sends its own.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use super::check::{Check, millis, words};
use crate::config::Config;
use livekit_otel_export::marked::Marked;
use livekit_otel_export::{Accepted, Cause, SendError, Settings, send_once};
use livekit_otel_model::event::Time;
use livekit_otel_model::hex;
use livekit_otel_model::{Signal, semconv};
use livekit_otel_transport::chain;

const CHECKS: [&str; 3] = ["collector.traces", "collector.logs", "collector.metrics"];

/// The test records of one run.
pub(super) fn records() -> Marked {
    // Random for each process.
    let keys = RandomState::new();
    let ids = [0, 1, 2].map(|nth| keys.hash_one(nth).max(1));
    let trace_id = (u128::from(ids[0]) << 64 | u128::from(ids[1])).to_be_bytes();
    Marked::new(Time::from_system(SystemTime::now()), trace_id, ids[2].to_be_bytes())
}

/// Sends the record of a signal.
pub(super) async fn check(
    config: &Config,
    signal: Signal,
    records: &Marked,
    limit: Duration,
) -> Check {
    let check = CHECKS[signal as usize];
    let settings = within(&config.export, limit);
    let target = settings.target(signal);
    if !target.enabled {
        return Check::skip(check, format!("{} are not exported", signal.as_str()));
    }
    let request = records.request(&settings, signal);
    let began = Instant::now();
    match send_once(&settings, signal, request).await {
        Ok(Accepted { warning, .. }) => {
            let (what, took) = (found(signal, records), millis(began.elapsed()));
            let text = format!("{} accepted {what} in {took}", target.attempt());
            if warning.is_empty() {
                return Check::ok(check, text);
            }
            Check::warn(check, format!("{text}, with a warning: {}", words(&warning)))
        }
        Err(SendError::NotAccepted { attempted, cause: Cause { text, hint } }) => {
            let failed = Check::fail(check, format!("{attempted}: {text}"));
            failed.advised(hint)
        }
        Err(error) => Check::fail(check, chain(&error)),
    }
}

fn within(settings: &Settings, limit: Duration) -> Settings {
    let mut settings = settings.clone();
    for target in [&mut settings.traces, &mut settings.logs, &mut settings.metrics] {
        target.timeout = target.timeout.min(limit);
    }
    settings
}

// How an operator finds it in the back end.
fn found(signal: Signal, records: &Marked) -> String {
    match signal {
        Signal::Traces => format!("the trace {}", hex(&records.span.trace_id)),
        Signal::Logs => format!("the log record {}", semconv::event::DOCTOR),
        Signal::Metrics => format!("a point of {}", semconv::metric::DOCTOR),
    }
}
