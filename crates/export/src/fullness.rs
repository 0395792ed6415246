//! How full a signal's queue in memory is, for the log.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use parking_lot::Mutex;

use livekit_otel_durable::journal::{HighWater, Water};
use livekit_otel_ledger::health::Health;
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;

// Between lines about lost records.
const QUIET: Duration = Duration::from_mins(1);

/// What the log said about a queue.
#[derive(Debug, Default)]
pub(super) struct Fullness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    water: HighWater,
    // Records that were lost since the last line about them.
    lost: u64,
    logged: Option<Time>,
}

impl State {
    // How many lost records to log now.
    fn lost(&mut self, now: Time, records: u64) -> Option<u64> {
        self.lost += records;
        let is_due = self.logged.is_none_or(|logged| now.since(logged) >= QUIET);
        if self.lost == 0 || !is_due {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.lost))
    }
}

impl Fullness {
    /// Logs that `usage`, the bytes in use and their limit, is high, or that records were lost because it was
    /// at the limit: each once a minute at most.
    pub(super) fn note(
        &self,
        signal: Signal,
        usage: Option<(u64, u64)>,
        lost: u64,
        health: &Health,
    ) {
        self.note_at(Time::from_system(SystemTime::now()), signal, usage, lost, health);
    }

    fn note_at(
        &self,
        now: Time,
        signal: Signal,
        usage: Option<(u64, u64)>,
        lost: u64,
        health: &Health,
    ) {
        let mut state = self.0.lock();
        let name = signal.as_str();
        if let Some((used, limit)) = usage
            && let Some(water) = state.water.note(now, used, limit)
        {
            let (used, limit) = (ByteSize::b(used), ByteSize::b(limit));
            match water {
                Water::High => tracing::warn!(
                    signal = name, %used, %limit, cause = cause(signal, health),
                    "the queue in memory is above 3/4 of export.max_queue; at the limit new records are \
                     lost, unless journal.dir is set"
                ),
                Water::Low => tracing::info!(
                    signal = name, %used, %limit,
                    "the queue in memory is below 1/2 of export.max_queue again"
                ),
            }
        }
        if let Some(lost) = state.lost(now, lost) {
            tracing::error!(
                signal = name,
                lost,
                cause = cause(signal, health),
                "the queue is full: new records are lost until some are delivered"
            );
        }
    }
}

fn cause(signal: Signal, health: &Health) -> String {
    let delivery = health.report().delivery;
    let of = delivery.into_iter().find(|of| of.signal == signal);
    match of.and_then(|of| Some((of.target, of.failing?))) {
        Some((target, failing)) => format!("{target} accepts nothing: {}", failing.cause),
        None => "the collector accepts records more slowly than they are made".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::log::logging;

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_795_406_960 + seconds).unwrap()
    }

    #[test]
    fn a_filling_queue_is_said_with_its_cause_and_lost_records_once_a_minute() {
        let (log, _logging) = logging();
        // With one subscriber alone, an event that another thread logs first would be disabled for all.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let (fullness, health) = (Fullness::default(), Health::default());
        let note = |second, used: u64, lost| {
            let usage = Some((used << 20, 100 << 20));
            fullness.note_at(at(second), Signal::Logs, usage, lost, &health);
            log.take()
        };
        assert_eq!(note(0, 70, 0), [""; 0]);
        assert_eq!(
            note(1, 76, 0),
            [
                "WARN the queue in memory is above 3/4 of export.max_queue; at the limit new records are lost, \
              unless journal.dir is set signal=\"logs\" used=76.0 MiB limit=100.0 MiB cause=\"the collector \
              accepts records more slowly than they are made\""
            ]
        );
        health.set_target(Signal::Logs, "collector:4317", "grpc");
        health.delivery_failed(Signal::Logs, at(1), "connection refused", None);
        let full = |lost| {
            format!(
                "ERROR the queue is full: new records are lost until some are delivered signal=\"logs\" \
                 lost={lost} cause=\"collector:4317 accepts nothing: connection refused\""
            )
        };
        assert_eq!(note(2, 100, 3), [full(3)]);
        // It has capacity for a moment, and is full again: the lines are counted together.
        assert_eq!((note(3, 99, 0), note(4, 100, 5), note(61, 100, 1)), (vec![], vec![], vec![]));
        assert_eq!(note(62, 100, 1), [full(7)]);
        assert_eq!(
            note(63, 10, 0),
            [
                "INFO the queue in memory is below 1/2 of export.max_queue again signal=\"logs\" used=10.0 MiB \
              limit=100.0 MiB"
            ]
        );
    }
}
