//! A copy of what passes, for whoever looks at it. Nothing waits for them: what they are too slow
//! for is left out, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc;

use livekit_otel_model::event::{StreamStat, Time};
use livekit_otel_model::signal::{LogRecord, Span};

// Some 20 MB.
const MOST_WAITING: usize = 20_000;

/// What passed at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed {
    /// Finished spans.
    Spans(Vec<Span>),
    /// Log records.
    Logs(Vec<LogRecord>),
    /// Stats windows that were not told before, and when they came.
    Windows(Vec<StreamStat>, Time),
}

impl Passed {
    fn len(&self) -> usize {
        match self {
            Self::Spans(spans) => spans.len(),
            Self::Logs(logs) => logs.len(),
            Self::Windows(windows, _) => windows.len(),
        }
    }
}

/// The end that the pipeline has.
#[derive(Debug, Clone)]
pub struct Tap {
    to: mpsc::UnboundedSender<Passed>,
    counts: Arc<Counts>,
}

/// The end of whoever looks at it.
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

/// Both ends.
pub fn tap() -> (Tap, Tapped) {
    let (to, from) = mpsc::unbounded_channel();
    let counts = Arc::new(Counts::default());
    (Tap { to, counts: Arc::clone(&counts) }, Tapped { from, counts })
}

impl Tap {
    /// Passes it on, if there is room.
    pub fn pass(&self, passed: Passed) {
        let n = passed.len();
        let waiting = self.counts.waiting.load(Relaxed);
        // What is more than all the room is taken once there is nothing else.
        if waiting > 0 && waiting + n > MOST_WAITING {
            self.counts.missed.fetch_add(n as u64, Relaxed);
            return;
        }
        if n > 0 {
            self.counts.waiting.fetch_add(n, Relaxed);
            // Nobody need look at it.
            let _ = self.to.send(passed);
        }
    }
}

impl Tapped {
    /// The next of what passed; `None` once the pipeline has ended.
    pub async fn next(&mut self) -> Option<Passed> {
        let passed = self.from.recv().await?;
        self.counts.waiting.fetch_sub(passed.len(), Relaxed);
        Some(passed)
    }

    /// How many records there was no room for, so far.
    pub fn missed(&self) -> u64 {
        self.counts.missed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    async fn what_nobody_looks_at_in_time_is_left_out_and_counted() {
        let (tap, mut tapped) = tap();
        tap.pass(logs(MOST_WAITING - 1));
        tap.pass(logs(2));
        tap.pass(logs(1));
        assert_eq!(tapped.missed(), 2);
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MOST_WAITING - 1));
        tap.pass(logs(MOST_WAITING - 1));
        assert_eq!(tapped.missed(), 2);
        drop(tap);
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(1));
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MOST_WAITING - 1));
        assert_eq!(tapped.next().await, None);
    }

    #[tokio::test]
    async fn more_than_all_the_room_is_taken_where_nothing_waits() {
        let (tap, mut tapped) = tap();
        tap.pass(logs(MOST_WAITING + 1));
        assert_eq!(tapped.next().await.map(|passed| passed.len()), Some(MOST_WAITING + 1));
        assert_eq!(tapped.missed(), 0);
    }
}
