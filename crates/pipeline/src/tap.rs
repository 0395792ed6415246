//! A bounded copy of the pipeline's outputs, for the live view. A slow reader never blocks the pipeline:
//! records that do not fit are dropped and counted.

mod agents;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc;

use livekit_otel_model::event::{StreamStat, Time};
use livekit_otel_model::foreign::Foreign;
use livekit_otel_model::signal::{LogRecord, Span};

pub use agents::{AgentError, AgentJob, AgentSpan};

// About 20 MB.
const MAX_WAITING: usize = 20_000;

/// A batch of the engine's outputs, or of stats windows.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed {
    /// Finished spans.
    Spans(Vec<Span>),
    /// Log records.
    Logs(Vec<LogRecord>),
    /// Stats windows that are not duplicates, and when they were received.
    Windows(Vec<StreamStat>, Time),
    /// Finished spans of agents, and errors that they logged.
    Agents(Vec<AgentSpan>, Vec<AgentError>),
}

impl Passed {
    /// Agents' spans and errors that name a room.
    pub fn agents(foreign: Foreign) -> Self {
        let (spans, errors) = agents::read(foreign);
        Self::Agents(spans, errors)
    }

    fn len(&self) -> usize {
        match self {
            Self::Spans(spans) => spans.len(),
            Self::Logs(logs) => logs.len(),
            Self::Windows(windows, _) => windows.len(),
            Self::Agents(spans, errors) => spans.len() + errors.len(),
        }
    }
}

/// The pipeline's end.
#[derive(Debug, Clone)]
pub struct Tap {
    to: mpsc::UnboundedSender<Passed>,
    counts: Arc<Counts>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Tapped {
    from: mpsc::UnboundedReceiver<Passed>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    missed: AtomicU64,
}

/// Creates both ends.
pub fn tap() -> (Tap, Tapped) {
    let (to, from) = mpsc::unbounded_channel();
    let counts = Arc::new(Counts::default());
    (Tap { to, counts: Arc::clone(&counts) }, Tapped { from, counts })
}

impl Tap {
    /// Passes records on if they fit.
    pub fn pass(&self, passed: Passed) {
        let n = passed.len();
        let waiting = self.counts.waiting.load(Relaxed);
        // A batch above the limit fits if nothing else waits.
        if waiting > 0 && waiting + n > MAX_WAITING {
            self.counts.missed.fetch_add(n as u64, Relaxed);
            return;
        }
        if n > 0 {
            self.counts.waiting.fetch_add(n, Relaxed);
            // The reader may be gone.
            let _ = self.to.send(passed);
        }
    }
}

impl Tapped {
    /// The next records; `None` once the pipeline has ended.
    pub async fn next(&mut self) -> Option<Passed> {
        let passed = self.from.recv().await?;
        self.counts.waiting.fetch_sub(passed.len(), Relaxed);
        Some(passed)
    }

    /// How many records were dropped so far.
    pub fn missed(&self) -> u64 {
        self.counts.missed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::event::RoomSid;
    use livekit_otel_model::signal::Severity;

    fn logs(n: usize) -> Passed {
        let time = Time::from_secs(1).unwrap();
        let record = LogRecord {
            event_name: "lk.room.created".into(),
            time,
            observed: time,
            severity: Severity::Info,
            context: None,
            attributes: Vec::new(),
        };
        Passed::Logs(vec![record; n])
    }

    #[tokio::test]
    async fn records_that_a_slow_reader_leaves_no_space_for_are_counted() {
        let (tap, mut tapped) = tap();
        tap.pass(logs(MAX_WAITING - 1));
        tap.pass(logs(2));
        tap.pass(logs(1));
        assert_eq!(tapped.missed(), 2);
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MAX_WAITING - 1));
        tap.pass(logs(MAX_WAITING - 1));
        assert_eq!(tapped.missed(), 2);
        drop(tap);
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(1));
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MAX_WAITING - 1));
        assert_eq!(tapped.next().await, None);
    }

    #[test]
    fn agents_spans_and_errors_count() {
        let of = AgentJob { room: RoomSid::new("RM_1").unwrap(), job: None, is_plain: false };
        let error = AgentError { of, time: Time::from_secs(1).unwrap(), error: "E".into() };
        assert_eq!(Passed::Agents(Vec::new(), vec![error; 3]).len(), 3);
        assert_eq!(Passed::agents(Foreign::default()).len(), 0);
    }

    #[tokio::test]
    async fn a_batch_above_the_limit_passes_if_nothing_waits() {
        let (tap, mut tapped) = tap();
        tap.pass(logs(MAX_WAITING + 1));
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MAX_WAITING + 1));
        assert_eq!(tapped.missed(), 0);
    }
}
