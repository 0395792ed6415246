//! What does not work, as sentences for a terminal: one wording for `status` and `doctor`. The words of
//! others are in them, without control characters.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::grouped::grouped;
use crate::health::{Delivering, Paused, RefusedRequests};
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
    /// Where the signal is delivered, or why it is not. `waiting` records wait for it.
    pub fn sentence(&self, waiting: u64) -> Sentence {
        let (signal, target, protocol) = (self.signal.as_str(), &self.target, &self.protocol);
        let Some(failing) = &self.failing else {
            return Sentence::new(
                &format!("{signal} are delivered to {target} ({protocol})"),
                None,
            );
        };
        let (since, cause) = (seconds(failing.since), &failing.cause);
        let wait = if waiting == 1 { "record waits" } else { "records wait" };
        let text = format!(
            "{signal} are not delivered to {target} ({protocol}) since {since}, {} {wait}: {cause}",
            grouped(waiting)
        );
        Sentence::new(&text, failing.hint.as_deref())
    }

    /// The records that the collector refused for good.
    pub fn refused_sentence(&self) -> Option<Sentence> {
        let refused = self.refused.as_ref()?;
        let text = format!(
            "{} refused {} records of {} for good, the last at {}: {}",
            self.target,
            grouped(refused.records),
            self.signal.as_str(),
            seconds(refused.at),
            refused.cause
        );
        Some(Sentence::new(&text, Some("See `livekit-otel deadletter list`")))
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
    use crate::Refused;
    use crate::health::{Health, NotReady};
    use livekit_otel_model::{Signal, Source};

    #[test]
    fn each_fault_is_a_sentence_with_its_cause_and_nothing_acts_on_a_terminal() {
        let time = |seconds: i64| Time::from_secs(1_795_406_960 + seconds).unwrap();
        let health = Health::default();
        health.set_intake(time(0), Some((NotReady::DiskFull, "0 bytes left\x1b[2J".to_owned())));
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        let report = health.report();
        let delivers = "logs are delivered to collector:4317 (grpc)";
        assert_eq!(report.delivery[0].sentence(0).to_string(), delivers);
        health.delivery_failed(Signal::Logs, time(1), "refu\x1bsed.", Some("Is it\u{9b} running?"));
        health.records_refused(Signal::Logs, time(2), 1234, "no such\ntenant");
        health.records_warned(Signal::Logs, time(3), "so\u{202e}on");
        health.refused(Source::Webhook, Refused::Signature, time(4), "the \x07secret differs.");
        let report = health.report();
        let logs = &report.delivery[0];
        let lines = [
            report.intake.unwrap().sentence(),
            logs.sentence(1),
            logs.refused_sentence().unwrap(),
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
}
