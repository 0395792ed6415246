//! The task that empties a signal's queue: batches, several on their way at once, retries, halves, and
//! where each record ends in the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use futures_util::stream::{FuturesOrdered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::answer::Answer;
use super::outbox::Settled;
use super::queue::{Batch, Queue};
use super::record::{Record, items};
use super::request::Assembler;
use super::transport::Transport;
use livekit_otel_durable::journal::{DeadLetter, DeadLetters, Payload, Stored};
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_transport::jittered;

// What comes within this time leaves in one request.
const GATHER: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
// A collector that wishes for more is asked earlier all the same.
const LONGEST_WISH: Duration = Duration::from_mins(5);
// An endpoint that is none is logged so often.
const SAID_AGAIN: Duration = Duration::from_mins(5);
// While the program ends there is no time for more.
const LAST_BACKOFF: Duration = Duration::from_millis(250);

// What waits as the exporter is dropped is delivered within this time, or lost.
const ORPHANED: Duration = Duration::from_secs(10);

// So many requests are on their way at once: while the collector works on one, the next arrives.
const IN_FLIGHT: usize = 3;

/// The task of one signal.
pub(super) struct Delivery {
    pub(super) courier: Arc<Sender>,
    pub(super) ending: watch::Receiver<bool>,
}

impl Delivery {
    /// Delivers until the program ends and nothing waits any more. Once the exporter is gone nobody sets
    /// a deadline, and what waits has a while to be delivered in.
    pub(super) async fn run(self) {
        let courier = Arc::clone(&self.courier);
        let is_orphaned = orphaned(self.ending.clone());
        tokio::select! {
            () = self.deliver() => {}
            () = is_orphaned => {
                courier.ledger.lost(courier.signal, Lost::Shutdown, courier.queue.abandon());
            }
        }
    }

    async fn deliver(mut self) {
        let courier = Arc::clone(&self.courier);
        let queue = &courier.queue;
        let mut ending = self.ending.clone();
        // In order, so that none gets further ahead of one that waits than the others in flight.
        let mut flying = FuturesOrdered::new();
        loop {
            let is_due = match flying.len() {
                0 => !queue.is_empty(),
                IN_FLIGHT.. => false,
                // What is less than a request gathers meanwhile.
                _ => queue.has_a_request(&courier.assembler),
            };
            if is_due {
                if flying.is_empty() {
                    self.gather().await;
                }
                if let Some(batch) = self.take().await {
                    flying.push_back(Arc::clone(&courier).deliver(batch, self.ending.clone()));
                }
                continue;
            }
            if flying.is_empty() && is_ending(&self.ending) {
                return;
            }
            tokio::select! {
                Some(()) = flying.next() => {}
                () = queue.more.notified() => {}
                () = ends(&mut ending), if !is_ending(&self.ending) => {}
            }
        }
    }

    async fn gather(&mut self) {
        if is_ending(&self.ending) || self.courier.queue.has_a_request(&self.courier.assembler) {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = ends(&mut self.ending) => {}
        }
    }

    async fn take(&mut self) -> Option<Batch> {
        let Sender { queue, assembler, signal, ledger, .. } = &*self.courier;
        let batch = queue.take(assembler);
        ledger.lost(*signal, Lost::Damaged, queue.take_damaged());
        match batch {
            Ok(batch) => (!batch.records.is_empty()).then_some(batch),
            Err(error) => {
                self.courier.failed(&format!("what waits can't be read: {error}"));
                wait(FIRST_BACKOFF, &mut self.ending).await;
                None
            }
        }
    }
}

fn is_ending(ending: &watch::Receiver<bool>) -> bool {
    // Nobody else can say so once the exporter is gone.
    *ending.borrow() || ending.has_changed().is_err()
}

// Returns once the program ends.
async fn ends(ending: &mut watch::Receiver<bool>) {
    // An exporter that is gone is an end too.
    let _ = ending.wait_for(|ending| *ending).await;
}

async fn orphaned(mut ending: watch::Receiver<bool>) {
    while ending.changed().await.is_ok() {}
    tokio::time::sleep(ORPHANED).await;
}

/// What brings requests of one signal to the collector.
pub(super) struct Sender {
    pub(super) signal: Signal,
    pub(super) queue: Arc<Queue>,
    pub(super) transport: Transport,
    pub(super) assembler: Assembler,
    pub(super) collector: String,
    /// For the log: without a query and credentials.
    pub(super) url: String,
    pub(super) failing: AtomicBool,
    /// When it was last said that the endpoint is none.
    pub(super) said: Mutex<Option<Instant>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) set_aside: Arc<DeadLetters>,
}

impl Sender {
    // Delivers a batch, in parts where it has to be; each is settled as soon as it is answered.
    async fn deliver(self: Arc<Self>, batch: Batch, mut ending: watch::Receiver<bool>) {
        // Halves wait here; the first half is on top.
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            match self.send(&batch.records, &mut ending).await {
                Sent::Delivered { rejected } => self.delivered(&batch, rejected),
                Sent::Halve if batch.records.len() > 1 => {
                    let second = batch.halve();
                    batches.extend([second, batch]);
                }
                Sent::Halve => {
                    self.set_aside(&batch, "too large for the collector", &mut ending).await;
                }
                Sent::Refused { reason } => self.set_aside(&batch, &reason, &mut ending).await,
            }
        }
    }

    fn delivered(&self, batch: &Batch, rejected: u64) {
        let n = items(&batch.records);
        let rejected = rejected.min(n);
        self.ledger.delivered(self.signal, n - rejected);
        if rejected > 0 {
            self.ledger.lost(self.signal, Lost::Rejected, rejected);
            let signal = self.signal.as_str();
            tracing::warn!(signal, rejected, "the collector rejected records of a request");
        }
        self.queue.settle(batch, Settled::Delivered { rejected });
    }

    async fn set_aside(&self, batch: &Batch, reason: &str, ending: &mut watch::Receiver<bool>) {
        let n = items(&batch.records);
        let payload = match self.signal {
            Signal::Traces => Payload::Traces,
            Signal::Logs => Payload::Logs,
            Signal::Metrics => Payload::Metrics,
        };
        let at = Time::from_system(SystemTime::now());
        let letter = DeadLetter { payload, items: n, at, reason: reason.to_owned() };
        let id = self.letter_id(batch, at);
        let request = self.assembler.request(&batch.records);
        let mut kept = self.set_aside.store(&id, &letter, &request).await;
        while kept == Stored::Failed && !is_ending(ending) {
            wait(LONGEST_BACKOFF.min(FIRST_BACKOFF * 4), ending).await;
            kept = self.set_aside.store(&id, &letter, &request).await;
        }
        let settled = match kept {
            Stored::Yes => {
                self.ledger.output_dead_lettered(self.signal, n);
                Settled::DeadLetters
            }
            Stored::Full => {
                self.ledger.lost(self.signal, Lost::DeadLettersFull, n);
                Settled::Lost(Lost::DeadLettersFull)
            }
            // It stays in flight, and is tried again after the restart.
            Stored::Failed => return,
        };
        self.queue.settle(batch, settled);
    }

    // The first number, so that a replay sets the same aside under the same id. What the program tells of
    // itself has none, and is never sent again after a restart.
    fn letter_id(&self, batch: &Batch, at: Time) -> String {
        let signal = self.signal.as_str();
        match batch.records.iter().map(|record| record.number).find(|number| *number > 0) {
            Some(first) => format!("{signal}-{first:020}"),
            None => format!("{signal}-own-{:020}", at.nanos()),
        }
    }

    // Tries until there is an answer other than "later": there is no time to give up by.
    async fn send(&self, batch: &[Record], ending: &mut watch::Receiver<bool>) -> Sent {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let span = tracing::info_span!(
                "export",
                otel.kind = "client",
                lk.otel.signal = self.signal.as_str(),
                server.address = self.collector,
                records = items(batch),
            );
            // Made for each attempt, so that it need not be kept beside the batch meanwhile.
            let request = self.assembler.request(batch);
            match self.transport.send(request).instrument(span).await {
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
                    let pause =
                        after.map_or_else(|| jittered(backoff), |after| after.min(LONGEST_WISH));
                    wait(pause, ending).await;
                }
                Answer::Misconfigured { reason } => {
                    self.misconfigured(&reason);
                    wait(jittered(backoff), ending).await;
                }
            }
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    // Only an operator can end it, so it is repeated, unlike an outage.
    fn misconfigured(&self, reason: &str) {
        self.failing.store(true, Relaxed);
        self.queue.set_failing(true);
        let now = Instant::now();
        let mut said = self.said.lock();
        if said.is_none_or(|said| now.duration_since(said) >= SAID_AGAIN) {
            *said = Some(now);
            let (signal, url) = (self.signal.as_str(), &self.url);
            tracing::warn!(
                signal,
                url,
                reason,
                "what answers is no OTLP endpoint: nothing is delivered until the endpoint is corrected"
            );
        }
    }

    fn failed(&self, reason: &str) {
        if !self.failing.swap(true, Relaxed) {
            self.queue.set_failing(true);
            let signal = self.signal.as_str();
            tracing::warn!(signal, collector = self.collector, reason, "can't deliver, retrying");
        }
    }

    fn recovered(&self) {
        if self.failing.swap(false, Relaxed) {
            self.queue.set_failing(false);
            let signal = self.signal.as_str();
            tracing::info!(signal, collector = self.collector, "delivering again");
        }
    }
}

// While the program ends there is no time for more than a short pause.
async fn wait(pause: Duration, ending: &mut watch::Receiver<bool>) {
    if is_ending(ending) {
        tokio::time::sleep(pause.min(LAST_BACKOFF)).await;
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = ends(ending) => {}
    }
}

enum Sent {
    Delivered { rejected: u64 },
    Halve,
    Refused { reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_as_long_as_the_end_of_the_program_allows() {
        let (ending, receiver) = watch::channel(false);
        let pause = async || {
            let before = Instant::now();
            wait(LONGEST_BACKOFF, &mut receiver.clone()).await;
            before.elapsed()
        };
        assert_eq!(pause().await, LONGEST_BACKOFF);
        ending.send_replace(true);
        assert_eq!(pause().await, LAST_BACKOFF);
        ending.send_replace(false);
        drop(ending);
        assert_eq!(pause().await, LAST_BACKOFF);
    }
}
