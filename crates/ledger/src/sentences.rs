//! What does not work, as sentences for a terminal: one wording for `status` and `doctor`. The words of
//! others are in them, without control characters.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::grouped::grouped;
use crate::health::{Delivering, Paused, RefusedRequests};
use crate::snapshot::Output;
use crate::status::JournalUse;
use livekit_otel_model::event::Time;
use livekit_otel_model::printable::visible;

// Of a text or an advice, in characters: a server keeps all parts shorter, another program may not.
const LONGEST: usize = 1000;

/// What was found, and the likely reason or what to do. Neither ends with a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What was found.
    pub text: String,
    /// The likely reason, and what to do.
    pub advice: Option<String>,
}

impl Sentence {
    fn new(text: &str, advice: Option<&str>) -> Self {
        let ended = |text: &str| {
            visible(text).trim_end_matches('.').chars().take(LONGEST).collect::<String>()
        };
        Self { text: ended(text), advice: advice.map(ended) }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.advice.iter().try_for_each(|advice| write!(f, ". {advice}"))
    }
}

impl Paused {
    /// Why nothing is accepted.
    pub fn sentence(&self) -> Sentence {
        let text = format!("nothing is accepted since {}: {}", seconds(self.since), self.reason);
        Sentence::new(&text, Some(&self.text))
    }
}

impl Delivering {
    /// Where the signal is delivered, or why it is not; `row` is the signal's in the ledger.
    pub fn sentence(&self, row: &Output) -> Sentence {
        let (signal, target, protocol) = (self.signal.as_str(), &self.target, &self.protocol);
        let Some(failing) = &self.failing else {
            let text = match (row.delivered, &self.refused) {
                (0, None) => format!("no {signal} were sent to {target} ({protocol}) yet"),
                (0, Some(_)) => format!("{target} ({protocol}) has not accepted any {signal}"),
                _ => format!("{signal} are delivered to {target} ({protocol})"),
            };
            return Sentence::new(&text, None);
        };
        let (since, cause, waiting) = (seconds(failing.since), &failing.cause, row.waiting());
        let wait = if waiting == 1 { "record waits" } else { "records wait" };
        let text = format!(
            "{signal} are not delivered to {target} ({protocol}) since {since}, {} {wait}: {cause}",
            grouped(waiting)
        );
        Sentence::new(&text, failing.hint.as_deref())
    }

    /// The records that the collector refused for good. `has_journal`: they are files.
    pub fn refused_sentence(&self, has_journal: bool) -> Option<Sentence> {
        let refused = self.refused.as_ref()?;
        let text = format!(
            "{} refused {} records of {} for good, the last at {}: {}",
            self.target,
            grouped(refused.records),
            self.signal.as_str(),
            seconds(refused.at),
            refused.cause
        );
        let advice = has_journal.then_some("See `livekit-otel deadletter list`");
        Some(Sentence::new(&text, advice))
    }

    /// The collector's warning.
    pub fn warning_sentence(&self) -> Option<Sentence> {
        let warning = self.warning.as_ref()?;
        let (signal, at) = (self.signal.as_str(), seconds(warning.at));
        let text = format!(
            "{} accepts {signal} with a warning, the last at {at}: {}",
            self.target, warning.words
        );
        Some(Sentence::new(&text, None))
    }
}

impl JournalUse {
    /// How much of the limit is used.
    pub fn sentence(&self) -> Sentence {
        let Self { used, limit, highest, limited_by } = self;
        let percent = |of: u64| of.saturating_mul(100) / (*limit).max(1);
        let text = format!(
            "the journal uses {}% of {} bytes ({limited_by}), and used up to {}% since the start",
            percent(*used),
            grouped(*limit),
            percent(*highest)
        );
        Sentence::new(&text, None)
    }
}

impl RefusedRequests {
    /// Which requests were refused, and why.
    pub fn sentence(&self) -> Sentence {
        let (source, reason, at) = (self.source.as_str(), &self.reason, seconds(self.last));
        Sentence::new(&format!("{source} refused, the last at {at}: {reason}: {}", self.text), None)
    }
}

fn seconds(time: Time) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(time.nanos());
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::NotReady;
    use crate::status::LimitedBy;
    use crate::{Ledger, Refused};
    use livekit_otel_model::{Signal, Source};

    #[test]
    fn each_fault_is_a_sentence_with_its_cause_and_nothing_acts_on_a_terminal() {
        let time = |seconds: i64| Time::from_secs(1_795_406_960 + seconds).unwrap();
        let ledger = Ledger::default();
        let health = ledger.health();
        health.set_intake(time(0), Some((NotReady::DiskFull, "0 bytes left\x1b[2J".to_owned())));
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        let row = || ledger.snapshot().outputs[Signal::Logs as usize].clone();
        let logs = || health.report().delivery[0].sentence(&row()).to_string();
        assert_eq!(logs(), "no logs were sent to collector:4317 (grpc) yet");
        ledger.queued(Signal::Logs, 2);
        ledger.delivered(Signal::Logs, 1);
        assert_eq!(logs(), "logs are delivered to collector:4317 (grpc)");
        health.delivery_failed(Signal::Logs, time(1), "refu\x1bsed.", Some("Is it\u{9b} running?"));
        health.records_refused(Signal::Logs, time(2), 1234, "no such\ntenant");
        health.records_warned(Signal::Logs, time(3), "so\u{202e}on");
        health.refused(Source::Webhook, Refused::Signature, time(4), "the \x07secret differs.");
        let report = health.report();
        let logs = &report.delivery[0];
        let lines = [
            report.intake.unwrap().sentence(),
            logs.sentence(&row()),
            logs.refused_sentence(true).unwrap(),
            logs.warning_sentence().unwrap(),
            report.refusals[0].sentence(),
        ];
        let expected = "\
nothing is accepted since 2026-11-23T04:09:20Z: disk_full. 0 bytes left�[2J
logs are not delivered to collector:4317 (grpc) since 2026-11-23T04:09:21Z, 1 record waits: refu�sed. Is it� running?
collector:4317 refused 1,234 records of logs for good, the last at 2026-11-23T04:09:22Z: no such�tenant. See `livekit-otel deadletter list`
collector:4317 accepts logs with a warning, the last at 2026-11-23T04:09:23Z: so�on
webhook refused, the last at 2026-11-23T04:09:24Z: signature: the �secret differs";
        assert_eq!(lines.map(|line| line.to_string()).join("\n"), expected);
    }

    #[test]
    fn a_collector_that_refuses_all_has_accepted_nothing_and_no_files_are_named_without_a_journal()
    {
        let ledger = Ledger::default();
        let health = ledger.health();
        health.set_target(Signal::Traces, "collector:4318", "http/protobuf");
        let at = Time::from_secs(1_795_406_960).unwrap();
        health.records_refused(Signal::Traces, at, 3, "401 Unauthorized");
        let traces = &health.report().delivery[0];
        let row = &ledger.snapshot().outputs[Signal::Traces as usize];
        let none = "collector:4318 (http/protobuf) has not accepted any traces";
        assert_eq!(traces.sentence(row).to_string(), none);
        let refused = "collector:4318 refused 3 records of traces for good, the last at \
                       2026-11-23T04:09:20Z: 401 Unauthorized";
        assert_eq!(traces.refused_sentence(false).unwrap().to_string(), refused);
    }

    #[test]
    fn the_use_of_the_journal_is_a_part_of_its_limit() {
        let limited_by = LimitedBy::Volume;
        let usage = JournalUse { used: 3_900, limit: 4_000, highest: 3_999, limited_by };
        let text = "the journal uses 97% of 4,000 bytes (the volume of journal.dir), and used \
                    up to 99% since the start";
        assert_eq!(usage.sentence().to_string(), text);
    }
}
