//! What does not work now, why, and since when: for readiness, the status and the live view.
//!
//! The parts that notice a fault report it here, and report its end. Texts have no data of rooms or
//! participants, no secret, and no control characters: the code that sets a text removes them.

use std::fmt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};

use crate::reason::Refused;

/// Why nothing is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotReady {
    /// The program stops.
    Draining,
    /// The journal, or the queue in memory without one, is at its limit.
    JournalFull,
    /// The volume of the journal has no space left.
    DiskFull,
    /// The journal can't be written or synced.
    JournalFailing,
    /// The process is near `memory_limit`.
    MemoryLimit,
}

impl NotReady {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::JournalFull => "journal_full",
            Self::DiskFull => "disk_full",
            Self::JournalFailing => "journal_failing",
            Self::MemoryLimit => "memory_limit",
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why nothing is accepted, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The reason.
    pub reason: NotReady,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Time,
    /// What an operator reads: numbers, and what to do.
    pub text: String,
}

/// How the delivery of a signal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivering {
    /// Which signal.
    pub signal: Signal,
    /// `host:port` of the collector.
    pub target: String,
    /// `grpc`, `http/protobuf`.
    pub protocol: String,
    /// While nothing is delivered.
    pub failing: Option<Failing>,
    /// The last records that the collector refused for good, since the start.
    pub refused: Option<RefusedRecords>,
    /// The last warning of the collector about records that it accepted, since the start.
    pub warning: Option<Warning>,
}

/// A delivery that fails and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: Time,
    /// The transport's error, or the collector's own words.
    pub cause: String,
    /// The likely reason, and what to do.
    pub hint: Option<String>,
}

/// Records that the collector refused for good, or rejected by a partial success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRecords {
    /// When the last of them were refused.
    #[serde(with = "rfc3339")]
    pub at: Time,
    /// How many, since the start.
    pub records: u64,
    /// How many of these are lost, because there was no space for dead letters.
    pub lost: u64,
    /// The collector's own words about the last of them.
    pub cause: String,
}

/// What a collector said of records that it accepted: a partial success without a rejected record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// When it said that.
    #[serde(with = "rfc3339")]
    pub at: Time,
    /// Its own words.
    pub words: String,
}

/// Requests of a source that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequests {
    /// Which source.
    pub source: Source,
    /// The reason, as in the ledger.
    pub reason: String,
    /// When the last of them was refused.
    #[serde(with = "rfc3339")]
    pub last: Time,
    /// The likely reason of the last one, and what to do.
    pub text: String,
}

/// The health at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why nothing is accepted; `None` while input is accepted.
    pub intake: Option<Paused>,
    /// The delivery by signal; empty in a program that sends nothing.
    pub delivery: Vec<Delivering>,
    /// Refused requests by source and reason.
    pub refusals: Vec<RefusedRequests>,
}

/// The health of the process, shared by all that report a fault. Locks are held for a copy at most, and
/// only where something fails.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    intake: Option<Paused>,
    delivery: [Option<Delivering>; 3],
    // In the order of their first refusal; at most one of each source and reason.
    refusals: Vec<(Source, Refused, Time, String)>,
}

impl Health {
    /// Sets why nothing is accepted; `None` once input is accepted.
    pub fn set_intake(&self, now: Time, paused: Option<(NotReady, String)>) {
        let mut state = self.0.lock();
        state.intake = paused.map(|(reason, text)| {
            let before = state.intake.as_ref().filter(|before| before.reason == reason);
            Paused { reason, since: before.map_or(now, |before| before.since), text }
        });
    }

    /// Why nothing is accepted.
    pub fn intake(&self) -> Option<Paused> {
        self.0.lock().intake.clone()
    }

    /// Sets where a signal is delivered.
    pub fn set_target(&self, signal: Signal, target: &str, protocol: &str) {
        let (target, protocol) = (target.to_owned(), protocol.to_owned());
        let (failing, refused, warning) = (None, None, None);
        let delivering = Delivering { signal, target, protocol, failing, refused, warning };
        self.0.lock().delivery[signal as usize] = Some(delivering);
    }

    /// Nothing is delivered: an attempt failed for `cause`.
    pub fn delivery_failed(&self, signal: Signal, now: Time, cause: &str, hint: Option<&str>) {
        let mut state = self.0.lock();
        let Some(delivering) = &mut state.delivery[signal as usize] else { return };
        let since = delivering.failing.as_ref().map_or(now, |before| before.since);
        let (cause, hint) = (cause.to_owned(), hint.map(ToOwned::to_owned));
        delivering.failing = Some(Failing { since, cause, hint });
    }

    /// The collector accepts requests of `signal`. Returns since when it did not.
    pub fn delivery_recovered(&self, signal: Signal) -> Option<Time> {
        let mut state = self.0.lock();
        let failing = state.delivery[signal as usize].as_mut()?.failing.take();
        failing.map(|failing| failing.since)
    }

    /// The collector refused `records` for good, in its own words.
    pub fn records_refused(&self, signal: Signal, now: Time, records: u64, cause: &str) {
        let mut state = self.0.lock();
        let Some(delivering) = &mut state.delivery[signal as usize] else { return };
        let before = delivering.refused.take();
        let (known, lost) = before.map_or((0, 0), |before| (before.records, before.lost));
        let (records, cause) = (known + records, cause.to_owned());
        delivering.refused = Some(RefusedRecords { at: now, records, lost, cause });
    }

    /// So many of the records that the collector refused are lost, because dead letters are full.
    pub fn refused_lost(&self, signal: Signal, records: u64) {
        let mut state = self.0.lock();
        let delivering = state.delivery[signal as usize].as_mut();
        if let Some(refused) = delivering.and_then(|delivering| delivering.refused.as_mut()) {
            refused.lost += records;
        }
    }

    /// The collector accepted records of `signal` with a warning, in its own words.
    pub fn records_warned(&self, signal: Signal, now: Time, words: &str) {
        if let Some(delivering) = &mut self.0.lock().delivery[signal as usize] {
            delivering.warning = Some(Warning { at: now, words: words.to_owned() });
        }
    }

    /// A request of `source` was refused; `text` has the likely reason.
    pub fn refused(&self, source: Source, why: Refused, now: Time, text: &str) {
        let mut state = self.0.lock();
        let known = state.refusals.iter_mut().find(|(of, for_, ..)| (*of, *for_) == (source, why));
        match known {
            Some((_, _, last, said)) => {
                *last = now;
                text.clone_into(said);
            }
            None => state.refusals.push((source, why, now, text.to_owned())),
        }
    }

    /// Requests of `source` succeed again: its refusals are over.
    pub fn answered(&self, source: Source) {
        self.0.lock().refusals.retain(|(of, ..)| *of != source);
    }

    /// All of it now.
    pub fn report(&self) -> Report {
        let state = self.0.lock();
        let refusals = state.refusals.iter().map(|(source, why, last, text)| RefusedRequests {
            source: *source,
            reason: why.as_str().to_owned(),
            last: *last,
            text: text.clone(),
        });
        Report {
            intake: state.intake.clone(),
            delivery: state.delivery.iter().flatten().cloned().collect(),
            refusals: refusals.collect(),
        }
    }
}

mod rfc3339 {
    use std::time::{Duration, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer, de};

    use livekit_otel_model::event::Time;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
        let time = UNIX_EPOCH + Duration::from_nanos(time.nanos());
        to.collect_str(&humantime::format_rfc3339_millis(time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339(&text).map_err(de::Error::custom)?;
        Ok(Time::from_system(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_795_406_960 + seconds).unwrap()
    }

    #[test]
    fn a_pause_lasts_from_the_first_report_of_its_reason() {
        let health = Health::default();
        let full = |text: &str| Some((NotReady::DiskFull, text.to_owned()));
        health.set_intake(at(0), None);
        assert_eq!(health.intake(), None);
        health.set_intake(at(1), full("1 byte left"));
        health.set_intake(at(2), full("0 bytes left"));
        let paused = health.intake().unwrap();
        assert_eq!((paused.since, paused.text.as_str()), (at(1), "0 bytes left"));
        let memory = Some((NotReady::MemoryLimit, String::new()));
        health.set_intake(at(3), memory.clone());
        assert_eq!(health.intake().unwrap().since, at(3));
        health.set_intake(at(4), None);
        assert_eq!(health.intake(), None);
        health.set_intake(at(5), memory);
        assert_eq!(health.intake().unwrap().since, at(5));
    }

    #[test]
    fn a_delivery_fails_from_its_first_failure_until_it_recovers() {
        let health = Health::default();
        health.delivery_failed(Signal::Logs, at(0), "no target is known", None);
        assert_eq!(health.report(), Report::default());
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        health.delivery_failed(Signal::Logs, at(1), "refused", Some("is it running?"));
        health.delivery_failed(Signal::Logs, at(2), "no route", None);
        let failing = health.report().delivery.remove(0).failing.unwrap();
        assert_eq!((failing.since, failing.cause.as_str()), (at(1), "no route"));
        assert_eq!(health.delivery_recovered(Signal::Logs), Some(at(1)));
        assert_eq!(health.delivery_recovered(Signal::Logs), None);
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let health = Health::default();
        health.set_intake(at(0), Some((NotReady::JournalFull, "4 MiB".to_owned())));
        health.set_target(Signal::Traces, "collector:4317", "grpc");
        health.delivery_failed(Signal::Traces, at(1), "refused", Some("is it running?"));
        health.records_refused(Signal::Traces, at(2), 3, "no");
        health.records_refused(Signal::Traces, at(3), 4, "never");
        health.refused_lost(Signal::Traces, 2);
        health.refused_lost(Signal::Logs, 2);
        health.records_warned(Signal::Traces, at(3), "an attribute is deprecated");
        health.refused(Source::Webhook, Refused::Signature, at(4), "old");
        health.refused(Source::Webhook, Refused::Signature, at(5), "the secret differs");
        let report = health.report();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["intake"]["reason"], "journal_full");
        assert_eq!(json["intake"]["since"], "2026-11-23T04:09:20.000Z");
        assert_eq!(json["delivery"][0]["refused"]["records"], 7);
        assert_eq!(json["delivery"][0]["refused"]["lost"], 2);
        assert_eq!(json["delivery"][0]["warning"]["words"], "an attribute is deprecated");
        assert_eq!(json["refusals"].as_array().unwrap().len(), 1);
        assert_eq!(json["refusals"][0]["reason"], "signature");
        assert_eq!(json["refusals"][0]["text"], "the secret differs");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

    #[test]
    fn the_refusals_of_a_source_are_over_once_it_answers() {
        let health = Health::default();
        for source in [Source::Webhook, Source::Api] {
            health.refused(source, Refused::Unavailable, at(0), "no answer in time");
        }
        health.answered(Source::Api);
        let left: Vec<_> = health.report().refusals.iter().map(|it| it.source).collect();
        assert_eq!(left, [Source::Webhook]);
    }
}
