//! A signal's queue and the task that empties it: batches, retries, halves, and where each record
//! ends in the ledger.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::Instrument;

use super::answer::Answer;
use super::record::Record;
use super::request::Assembler;
use super::transport::Transport;
use crate::journal::SetAside;
use crate::ledger::{Ledger, Lost, Signal};

// What comes within this time leaves in one request.
const GATHER: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
// A collector that wishes for more is asked earlier all the same.
const LONGEST_WISH: Duration = Duration::from_mins(5);
// While the program ends there is no time for more.
const LAST_BACKOFF: Duration = Duration::from_millis(250);

/// What waits for delivery, bounded by encoded bytes.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    max_bytes: usize,
    in_flight: AtomicU64,
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Record>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            max_bytes,
            in_flight: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Queues records in their order; gives how many items found no room, and why.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Record>) -> (u64, Lost) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return (records.into_iter().map(|record| record.items).sum(), Lost::Shutdown);
        }
        let mut lost = 0;
        for record in records {
            if waiting.bytes + record.bytes.len() > self.max_bytes {
                lost += record.items;
                continue;
            }
            waiting.bytes += record.bytes.len();
            waiting.records.push_back(record);
        }
        drop(waiting);
        self.more.notify_one();
        (lost, Lost::QueueFull)
    }

    /// Whether this is the first push after one that fitted which did not: worth a line in the log.
    pub(super) fn is_newly_full(&self, full: bool) -> bool {
        !self.full.swap(full, Relaxed) && full
    }

    /// How many items are queued or in flight, and takes them out of it: nobody else will.
    pub(super) fn abandon(&self) -> u64 {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.bytes = 0;
        let queued: u64 = waiting.records.drain(..).map(|record| record.items).sum();
        queued + self.in_flight.swap(0, Relaxed)
    }

    #[cfg(test)]
    pub(super) fn is_drained(&self) -> bool {
        self.is_empty() && self.in_flight.load(Relaxed) > 0
    }

    fn take(&self, assembler: &Assembler) -> Vec<Record> {
        let mut waiting = self.waiting();
        let count = assembler.fits(&waiting.records);
        let batch: Vec<Record> = waiting.records.drain(..count).collect();
        waiting.bytes -= batch.iter().map(|record| record.bytes.len()).sum::<usize>();
        self.in_flight.store(items(&batch), Relaxed);
        batch
    }

    fn is_empty(&self) -> bool {
        self.waiting().records.is_empty()
    }

    fn has_a_request(&self, assembler: &Assembler) -> bool {
        let waiting = self.waiting();
        assembler.fits(&waiting.records) < waiting.records.len()
    }

    fn settle(&self, n: u64) {
        self.in_flight.fetch_sub(n, Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
            let batch = self.queue.take(&self.assembler);
            self.deliver(batch).await;
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
        // Halves wait here; the first half is on top.
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            match self.send(&batch).await {
                Sent::Delivered { rejected } => self.delivered(items(&batch), rejected),
                Sent::Halve if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.push(second);
                    batches.push(batch);
                }
                Sent::Halve => self.set_aside(&batch, "too large for the collector"),
                Sent::Refused => self.set_aside(&batch, "refused by the collector"),
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
                    return Sent::Refused;
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

    fn delivered(&self, items: u64, rejected: u64) {
        let rejected = rejected.min(items);
        self.ledger.delivered(self.signal, items - rejected);
        if rejected > 0 {
            self.ledger.lost(self.signal, Lost::Rejected, rejected);
            let signal = self.signal.as_str();
            tracing::warn!(signal, rejected, "the collector rejected records of a request");
        }
        self.queue.settle(items);
    }

    fn set_aside(&self, batch: &[Record], reason: &'static str) {
        let n = items(batch);
        if self.set_aside.keep(self.assembler.request(batch), reason) {
            self.ledger.output_set_aside(self.signal, n);
        } else {
            self.ledger.lost(self.signal, Lost::SetAsideFull, n);
        }
        self.queue.settle(n);
    }

    // Once, not with every attempt.
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
    Refused,
}

fn items(batch: &[Record]) -> u64 {
    batch.iter().map(|record| record.items).sum()
}

// Half to all of it: processes that lost one collector don't come back to it in step.
fn jittered(backoff: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    let thousandth = backoff / 2000;
    backoff / 2 + thousandth * u32::try_from(random).unwrap_or(0)
}
