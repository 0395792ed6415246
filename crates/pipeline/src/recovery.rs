//! What a start recovered from an earlier process's journal, as one line of the log.

use std::time::Duration;

use tokio::time::Instant;

use livekit_otel_durable::journal::DeadLetters;
use livekit_otel_engine::Engine;
use livekit_otel_ledger::Ledger;

/// A recovery in progress.
#[derive(Debug)]
pub(crate) struct Recovery {
    began: Instant,
    snapshot_age: Option<Duration>,
    entries: u64,
}

impl Recovery {
    /// Begins, from a snapshot of that age.
    pub(crate) fn new(snapshot_age: Option<Duration>) -> Self {
        Self { began: Instant::now(), snapshot_age, entries: 0 }
    }

    /// Counts an entry that was applied again.
    pub(crate) fn replayed(&mut self) {
        self.entries += 1;
    }

    /// Logs what was recovered.
    pub(crate) fn log(self, engine: &Engine, ledger: &Ledger, dead_letters: &DeadLetters) {
        let Self { began, snapshot_age, entries } = self;
        let ledger = ledger.snapshot();
        let [traces, logs, metrics] = ledger.outputs.each_ref().map(|output| output.waiting());
        let (rooms, dead_letters) = (engine.rooms(), dead_letters.len());
        let damaged = ledger.journal_damaged + ledger.snapshot_damaged;
        let took = in_words(began.elapsed(), Duration::from_millis(1));
        let snapshot_age = snapshot_age.map(|age| in_words(age, Duration::from_secs(1)));
        let is_empty = entries == 0 && snapshot_age.is_none();
        tracing::info!(
            entries,
            rooms,
            traces,
            logs,
            metrics,
            dead_letters,
            damaged,
            snapshot_age,
            took,
            "{}",
            match (is_empty, &snapshot_age) {
                (true, _) => "the journal is empty: there was no state to recover",
                (false, None) => "recovered the state from the journal, without a snapshot",
                (false, Some(_)) => "recovered the state from a snapshot and the journal after it",
            }
        );
    }
}

fn in_words(duration: Duration, unit: Duration) -> String {
    let whole = duration.as_millis() / unit.as_millis() * unit.as_millis();
    let whole = Duration::from_millis(u64::try_from(whole).unwrap_or(u64::MAX));
    humantime::format_duration(whole).to_string()
}
