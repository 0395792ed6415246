//! The task that empties a signal's queue: batches, retries, halves, and where each record ends in
//! the ledger.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::Instrument;

use super::answer::Answer;
use super::outbox::Settled;
use super::queue::Queue;
use super::record::{Record, items};
use super::request::Assembler;
use super::transport::Transport;
use crate::event::Time;
use crate::journal::{Kept, Letter, Payload, SetAside};
use crate::ledger::{Ledger, Lost, Signal};

// What comes within this time leaves in one request.
const GATHER: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
// A collector that wishes for more is asked earlier all the same.
const LONGEST_WISH: Duration = Duration::from_mins(5);
// While the program ends there is no time for more.
const LAST_BACKOFF: Duration = Duration::from_millis(250);

/// The task of one signal.
pub(super) struct Delivery {
    pub(super) signal: Signal,
    pub(super) queue: Arc<Queue>,
    pub(super) transport: Transport,
    pub(super) assembler: Assembler,
    pub(super) ledger: Arc<Ledger>,
    pub(super) set_aside: Arc<SetAside>,
    pub(super) ending: watch::Receiver<bool>,
    pub(super) collector: String,
    pub(super) failing: bool,
}

impl Delivery {
    /// Delivers until the program ends and nothing waits any more.
    pub(super) async fn run(mut self) {
        loop {
            if self.queue.is_empty() {
                if self.is_ending() {
                    return;
                }
                tokio::select! {
                    () = self.queue.more.notified() => {}
                    _ = self.ending.wait_for(|ending| *ending) => {}
                }
                continue;
            }
            self.gather().await;
            match self.queue.take(&self.assembler) {
                Ok(batch) => self.deliver(batch).await,
                Err(error) => {
                    self.failed(&format!("what waits can't be read: {error}"));
                    self.wait(FIRST_BACKOFF).await;
                }
            }
            self.ledger.lost(self.signal, Lost::Damaged, self.queue.take_damaged());
        }
    }

    async fn gather(&mut self) {
        if self.is_ending() || self.queue.has_a_request(&self.assembler) {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            _ = self.ending.wait_for(|ending| *ending) => {}
        }
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    async fn deliver(&mut self, batch: Vec<Record>) {
        if batch.is_empty() {
            return;
        }
        // Halves wait here; the first half is on top.
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            match self.send(&batch).await {
                Sent::Delivered { rejected } => self.delivered(&batch, rejected),
                Sent::Halve if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.push(second);
                    batches.push(batch);
                }
                Sent::Halve => self.set_aside(&batch, "too large for the collector").await,
                Sent::Refused { reason } => self.set_aside(&batch, &reason).await,
            }
        }
    }

    // Tries until there is an answer other than "later": there is no time to give up by.
    async fn send(&mut self, batch: &[Record]) -> Sent {
        let request = self.assembler.request(batch);
        let mut backoff = FIRST_BACKOFF;
        loop {
            let span = tracing::info_span!(
                "export",
                otel.kind = "client",
                lk.otel.signal = self.signal.as_str(),
                server.address = self.collector,
                records = items(batch),
            );
            match self.transport.send(request.clone()).instrument(span).await {
                Answer::Delivered { rejected } => {
                    self.recovered();
                    return Sent::Delivered { rejected };
                }
                Answer::Halve => return Sent::Halve,
                Answer::Refused { reason } => {
                    let signal = self.signal.as_str();
                    tracing::warn!(signal, collector = self.collector, reason, "records refused");
                    return Sent::Refused { reason };
                }
                Answer::Retry { after, reason } => {
                    self.failed(&reason);
                    let wait =
                        after.map_or_else(|| jittered(backoff), |after| after.min(LONGEST_WISH));
                    self.wait(wait).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    async fn wait(&mut self, wait: Duration) {
        if self.is_ending() {
            tokio::time::sleep(wait.min(LAST_BACKOFF)).await;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = self.ending.wait_for(|ending| *ending) => {}
        }
    }

    fn delivered(&self, batch: &[Record], rejected: u64) {
        let n = items(batch);
        let rejected = rejected.min(n);
        self.ledger.delivered(self.signal, n - rejected);
        if rejected > 0 {
            self.ledger.lost(self.signal, Lost::Rejected, rejected);
            let signal = self.signal.as_str();
            tracing::warn!(signal, rejected, "the collector rejected records of a request");
        }
        self.queue.settle(batch.len(), Settled::Delivered { rejected });
    }

    async fn set_aside(&mut self, batch: &[Record], reason: &str) {
        let n = items(batch);
        let payload = match self.signal {
            Signal::Traces => Payload::Traces,
            Signal::Logs => Payload::Logs,
            Signal::Metrics => Payload::Metrics,
        };
        let at = Time::from_system(SystemTime::now());
        let letter = Letter { payload, items: n, at, reason: reason.to_owned() };
        let first = batch.iter().map(|record| record.number).find(|number| *number > 0);
        let id = format!("{}-{:020}", self.signal.as_str(), first.unwrap_or_default());
        let request = self.assembler.request(batch);
        let mut kept = self.set_aside.keep(&id, &letter, &request);
        while kept == Kept::Failed && !self.is_ending() {
            self.wait(LONGEST_BACKOFF.min(FIRST_BACKOFF * 4)).await;
            kept = self.set_aside.keep(&id, &letter, &request);
        }
        let settled = match kept {
            Kept::Yes => {
                self.ledger.output_set_aside(self.signal, n);
                Settled::SetAside
            }
            Kept::NoRoom => {
                self.ledger.lost(self.signal, Lost::SetAsideFull, n);
                Settled::Lost(Lost::SetAsideFull)
            }
            // It stays in flight, and is tried again after the restart.
            Kept::Failed => return,
        };
        self.queue.settle(batch.len(), settled);
    }

    fn failed(&mut self, reason: &str) {
        if !self.failing {
            self.failing = true;
            let signal = self.signal.as_str();
            tracing::warn!(signal, collector = self.collector, reason, "can't deliver, retrying");
        }
    }

    fn recovered(&mut self) {
        if self.failing {
            self.failing = false;
            let signal = self.signal.as_str();
            tracing::info!(signal, collector = self.collector, "delivering again");
        }
    }
}

enum Sent {
    Delivered { rejected: u64 },
    Halve,
    Refused { reason: String },
}

/// Half to all of it: processes that lost one collector don't come back to it in step.
pub(crate) fn jittered(backoff: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    let thousandth = backoff / 2000;
    backoff / 2 + thousandth * u32::try_from(random).unwrap_or(0)
}
