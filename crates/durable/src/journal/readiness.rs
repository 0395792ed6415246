//! Whether input is accepted: for probes and the status, and its changes for the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::append::Ticker;
use super::budget::IntakeBudget;
use super::entry::Entry;
use super::episodes::{Episodes, HighWater, Line, Water};
use super::obstacle::Process;
use super::refusal::bytes;
use crate::memory;
use livekit_otel_ledger::health::{NotReady, Paused};
use livekit_otel_ledger::status::JournalUse;
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_model::event::Time;

// How often the memory is measured and the rest checked.
const INTERVAL: Duration = Duration::from_millis(200);
// How often a journal that can't be written is tried again, in intervals.
const TRY_AGAIN: u32 = 5;

// A snapshot begins at 3/4 of the limit, which a small journal reaches in each cycle: only use that a snapshot
// does not lower is worth a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether input is accepted. Keeps [`livekit_otel_ledger::health::Health`] up to date.
#[derive(Debug)]
pub struct Readiness {
    ticker: Ticker,
    ledger: Arc<Ledger>,
    is_draining: AtomicBool,
    // Locked during a check, so that the changes are seen in their order.
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    episodes: Episodes,
    water: HighWater,
}

impl Default for Said {
    fn default() -> Self {
        Self { episodes: Episodes::default(), water: HighWater::after(PATIENCE) }
    }
}

impl Readiness {
    pub(super) fn new(ticker: Ticker, ledger: Arc<Ledger>) -> Self {
        Self { ticker, ledger, is_draining: AtomicBool::new(false), said: Mutex::default() }
    }

    /// Why nothing is accepted now; `None` while input is accepted. The log has the changes.
    pub fn check(&self) -> Option<Paused> {
        self.check_at(Time::from_system(SystemTime::now()))
    }

    fn check_at(&self, now: Time) -> Option<Paused> {
        let mut said = self.said.lock();
        let health = self.ledger.health();
        if self.is_draining.load(Relaxed) {
            let text =
                "the program is shutting down; what it accepted is delivered first".to_owned();
            health.set_intake(now, Some((NotReady::Draining, text)));
            return health.intake();
        }
        health.set_intake(now, self.budget().refusal());
        let paused = health.intake();
        let busy = self.ledger.refused_for(Refused::Busy);
        let reason = paused.as_ref().map(|paused| paused.reason);
        for line in said.episodes.note(now, reason, busy) {
            self.log(&line, paused.as_ref());
        }
        let usage = self.usage();
        if let Some(water) = said.water.note(now, usage.used, usage.limit) {
            self.log_water(water, &usage);
        }
        paused
    }

    /// How much of its limit is used.
    pub fn usage(&self) -> JournalUse {
        self.budget().usage()
    }

    /// Nothing more is accepted from now on: the program shuts down.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        self.check();
    }

    /// Checks at intervals, and pauses intake while the process takes more than 7/8 of `memory_limit`
    /// bytes. Never returns.
    pub async fn watch(self: Arc<Self>, mut memory_limit: Option<u64>) {
        let mut interval = tokio::time::interval(INTERVAL);
        for nth in 0_u32.. {
            interval.tick().await;
            if let Some(limit) = memory_limit {
                match memory::resident(None) {
                    Some(resident) => self.budget().set_process(Process { resident, limit }),
                    None => {
                        tracing::warn!(
                            "the process's memory can't be read: memory_limit has no effect"
                        );
                        memory_limit = None;
                    }
                }
            }
            if nth.is_multiple_of(TRY_AGAIN) {
                self.try_again();
            }
            self.check();
        }
    }

    // A journal that could not be written is known to work again once it was written. Senders may have been
    // sent elsewhere, so this writes.
    fn try_again(&self) {
        let budget = self.budget();
        if budget.unwritable().is_some() && !budget.is_writing() {
            // The writer notes how it ended.
            drop(self.ticker.post(Entry::Tick(Time::from_system(SystemTime::now()))));
        }
    }

    fn budget(&self) -> &Arc<IntakeBudget> {
        self.ticker.budget()
    }

    fn log(&self, line: &Line, paused: Option<&Paused>) {
        match line {
            Line::Begins(reason) => {
                let text = paused.map(|paused| &*paused.text).unwrap_or_default();
                let is_full = matches!(reason, NotReady::JournalFull | NotReady::DiskFull);
                let cause = is_full.then(|| self.cause());
                tracing::warn!(%reason, cause, "nothing is accepted: {text}");
            }
            Line::Ends { reason, lasted, times, busy } => {
                let lasted = lasted_for(*lasted);
                let now = match paused {
                    Some(_) => "nothing is accepted for another reason now",
                    None => "input is accepted again",
                };
                tracing::info!(%reason, %lasted, times, busy, "{now}");
            }
        }
    }

    fn log_water(&self, water: Water, usage: &JournalUse) {
        let JournalUse { used, limit, limited_by, .. } = *usage;
        let (used, limit) = (bytes(used), bytes(limit));
        match water {
            Water::High => {
                let cause = self.cause();
                tracing::warn!(
                    %used, %limit, %limited_by, cause,
                    "the journal stays above 3/4 of its limit; at the limit nothing is accepted"
                );
            }
            Water::Low => {
                tracing::info!(%used, %limit, "the journal is below 1/2 of its limit again");
            }
        }
    }

    // Why the disk fills.
    fn cause(&self) -> String {
        let delivery = self.ledger.health().report().delivery;
        let failing =
            delivery.iter().find_map(|of| of.failing.as_ref().map(|failing| (of, failing)));
        if let Some((of, failing)) = failing {
            let (signal, target) = (of.signal.as_str(), &of.target);
            return format!("{signal} can't be delivered to {target}: {}", failing.cause);
        }
        let usage = self.usage();
        let cause = if self.budget().undelivered() > usage.used / 4 {
            "the collector accepts records more slowly than they are made"
        } else {
            "messages arrive faster than they are processed, or the limit is small for this load"
        };
        cause.to_owned()
    }
}

fn lasted_for(lasted: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::in_memory;
    use super::super::queue::Journal;
    use super::*;
    use livekit_otel_model::event::Unknown;
    use livekit_otel_model::{Signal, Source};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        // What was logged since the last call.
        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap();
            text.lines().map(|line| line.trim_start().to_owned()).collect()
        }
    }

    fn input(size: usize) -> super::super::Accepted {
        super::super::Accepted {
            at: at(0),
            source: Source::Webhook,
            items: 1,
            unusable: 0,
            unknown: Unknown::default(),
            twin_expected: false,
            decoded: None,
            raw: vec![0; size].into(),
            size,
        }
    }

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_795_406_960 + seconds).unwrap()
    }

    fn append(journal: &Journal, size: usize) -> bool {
        let appended = journal.try_append(input(size)).is_ok();
        if !appended {
            journal.ledger.refused(Source::Webhook, Refused::Busy);
        }
        appended
    }

    #[tokio::test]
    async fn the_log_has_each_change_with_its_numbers_and_cause() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false);
        let subscriber = subscriber.with_target(false).with_writer(move || writer.clone()).finish();
        // With one subscriber alone, an event that another thread logs first would be disabled for all.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let _logging = tracing::subscriber::set_default(subscriber);
        let ledger = Arc::<Ledger>::default();
        let (journal, mut reader) = in_memory(10_000, &ledger);
        let readiness = journal.readiness();

        assert_eq!(readiness.check_at(at(-10)), None);
        assert!(append(&journal, 7600));
        for second in [-9, 0] {
            assert_eq!(readiness.check_at(at(second)), None);
            assert_eq!(log.take(), [""; 0]);
        }
        assert_eq!(readiness.check_at(at(1)), None);
        assert_eq!(
            log.take(),
            [
                "WARN the journal stays above 3/4 of its limit; at the limit nothing is accepted used=7.4 KiB \
              limit=9.8 KiB limited_by=journal.max_bytes cause=\"messages arrive faster than they are \
              processed, or the limit is small for this load\""
            ]
        );

        health(&ledger);
        assert!(append(&journal, 2000));
        let paused = readiness.check_at(at(2)).unwrap();
        assert_eq!((paused.reason, paused.since), (NotReady::JournalFull, at(2)));
        assert_eq!(
            log.take(),
            [
                "WARN nothing is accepted: 9.4 KiB of messages wait in memory, and at most 9.8 KiB may wait \
              (journal.max_bytes). Set journal.dir, or raise journal.max_bytes reason=journal_full \
              cause=\"traces can't be delivered to collector:4317: connection refused\""
            ]
        );
        ledger.refused(Source::Webhook, Refused::Busy);
        ledger.refused(Source::Events, Refused::Busy);
        assert!(readiness.check_at(at(3)).is_some());

        reader.next().await.unwrap();
        assert_eq!(readiness.check_at(at(4)), None);
        assert_eq!(log.take(), [""; 0]);
        assert_eq!(readiness.check_at(at(62)), None);
        assert_eq!(
            log.take(),
            [
                "INFO input is accepted again reason=journal_full lasted=2s times=1 busy=2",
                "INFO the journal is below 1/2 of its limit again used=2.0 KiB limit=9.8 KiB",
            ]
        );
        assert_eq!(ledger.health().report().intake, None);
        readiness.drain();
        assert_eq!(ledger.health().report().intake.unwrap().reason, NotReady::Draining);
        assert_eq!(log.take(), [""; 0]);
    }

    fn health(ledger: &Ledger) {
        let health = ledger.health();
        health.set_target(Signal::Traces, "collector:4317", "grpc");
        health.delivery_failed(Signal::Traces, at(0), "connection refused", None);
    }

    #[test]
    fn a_refused_message_is_noticed_without_a_probe() {
        let ledger = Arc::<Ledger>::default();
        let (journal, _reader) = in_memory(1500, &ledger);
        assert!(append(&journal, 1000));
        assert_eq!(ledger.health().intake(), None);
        assert!(!append(&journal, 1000));
        assert_eq!(ledger.health().intake().unwrap().reason, NotReady::JournalFull);
    }
}
