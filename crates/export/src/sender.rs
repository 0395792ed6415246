//! Sends a signal's batches to the collector: retries, halves, and records the outcome of each record in
//! the ledger.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::answer::Answer;
use crate::error::StartError;
use crate::outbox::Settled;
use crate::queue::{Batch, Queue};
use crate::record::{Record, items};
use crate::request::Assembler;
use crate::settings::Target;
use crate::shutdown::{is_ending, wait};
use crate::transport::Transport;
use livekit_otel_durable::journal::{DeadLetter, DeadLetters, Payload, Stored};
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_transport::jittered;

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
// A longer delay that the collector asks for is cut to this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);
// Between attempts to store a dead letter.
const STORE_AGAIN: Duration = Duration::from_secs(2);
// How often the log repeats that the endpoint is misconfigured.
const LOG_AGAIN: Duration = Duration::from_mins(5);

/// Sends the requests of one signal.
pub(crate) struct Sender {
    signal: Signal,
    queue: Arc<Queue>,
    transport: Transport,
    assembler: Assembler,
    collector: String,
    // For the log: without query and credentials.
    url: String,
    is_failing: AtomicBool,
    // When the log last said that the endpoint is misconfigured.
    logged: Mutex<Option<Instant>>,
    ledger: Arc<Ledger>,
    dead_letters: Arc<DeadLetters>,
}

impl Sender {
    pub(crate) fn new(
        signal: Signal,
        target: &Target,
        queue: Arc<Queue>,
        assembler: Assembler,
        ledger: Arc<Ledger>,
        dead_letters: Arc<DeadLetters>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            signal,
            queue,
            transport: Transport::new(signal, target)?,
            assembler,
            collector: target.endpoint.host().unwrap_or_default().to_owned(),
            url: target.printable(),
            is_failing: AtomicBool::new(false),
            logged: Mutex::default(),
            ledger,
            dead_letters,
        })
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn lost(&self, why: Lost, items: u64) {
        self.ledger.lost(self.signal, why, items);
    }

    /// Whether the queue fills a request.
    pub(crate) fn has_whole_request(&self) -> bool {
        self.queue.has_whole_request(&self.assembler)
    }

    /// Takes the records of the next request from the queue.
    pub(crate) fn take(&self) -> io::Result<Batch> {
        let batch = self.queue.take(&self.assembler);
        self.lost(Lost::Damaged, self.queue.take_damaged());
        batch
    }

    /// Delivers a batch, split where the collector finds it too large. Each part is settled as soon as it is
    /// answered.
    pub(crate) async fn deliver(self: Arc<Self>, batch: Batch, mut ending: watch::Receiver<bool>) {
        // A stack: the first half is on top.
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            match self.send(batch.records(), &mut ending).await {
                Sent::Delivered { rejected } => self.delivered(&batch, rejected),
                Sent::Halve if batch.records().len() > 1 => {
                    let second = batch.halve();
                    batches.extend([second, batch]);
                }
                Sent::Halve => {
                    self.dead_letter(&batch, "too large for the collector", &mut ending).await;
                }
                Sent::Refused { reason } => self.dead_letter(&batch, &reason, &mut ending).await,
            }
        }
    }

    fn delivered(&self, batch: &Batch, rejected: u64) {
        let n = items(batch.records());
        let rejected = rejected.min(n);
        self.ledger.delivered(self.signal, n - rejected);
        if rejected > 0 {
            self.lost(Lost::Rejected, rejected);
            let signal = self.signal.as_str();
            tracing::warn!(signal, rejected, "the collector rejected some records of a request");
        }
        self.queue.settle(batch, Settled::Delivered { rejected });
    }

    async fn dead_letter(&self, batch: &Batch, reason: &str, ending: &mut watch::Receiver<bool>) {
        let n = items(batch.records());
        let payload = Payload::Output(self.signal);
        let at = Time::from_system(SystemTime::now());
        let dead_letter = DeadLetter { payload, items: n, at, reason: reason.to_owned() };
        let id = self.dead_letter_id(batch, at);
        let request = self.assembler.request(batch.records());
        let mut stored = self.dead_letters.store(&id, &dead_letter, &request).await;
        while stored == Stored::Failed && !is_ending(ending) {
            wait(STORE_AGAIN, ending).await;
            stored = self.dead_letters.store(&id, &dead_letter, &request).await;
        }
        let settled = match stored {
            Stored::Yes => {
                self.ledger.output_dead_lettered(self.signal, n);
                Settled::DeadLetters
            }
            Stored::Full => {
                self.lost(Lost::DeadLettersFull, n);
                Settled::Lost(Lost::DeadLettersFull)
            }
            // The batch stays in flight, and is sent again after the restart.
            Stored::Failed => return,
        };
        self.queue.settle(batch, settled);
    }

    // The first record's number, so that a replay stores the same dead letter under the same id. The program's
    // own metrics have no numbers, and are never sent again after a restart.
    fn dead_letter_id(&self, batch: &Batch, at: Time) -> String {
        let signal = self.signal.as_str();
        match batch.records().iter().map(|record| record.number).find(|number| *number > 0) {
            Some(first) => format!("{signal}-{first:020}"),
            None => format!("{signal}-own-{:020}", at.nanos()),
        }
    }

    // Retries without limit, until the answer is final.
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
            // Assembled for each attempt, so that memory holds the batch alone during a pause.
            let request = self.assembler.request(batch);
            let pause = match self.transport.send(request).instrument(span).await {
                Answer::Delivered { rejected } => {
                    self.recovered();
                    return Sent::Delivered { rejected };
                }
                Answer::Halve => return Sent::Halve,
                Answer::Refused { reason } => {
                    let signal = self.signal.as_str();
                    tracing::warn!(
                        signal,
                        collector = self.collector,
                        reason,
                        "the collector refused records"
                    );
                    return Sent::Refused { reason };
                }
                Answer::Retry { after, reason } => {
                    self.failed(&reason);
                    after.map(|after| after.min(LONGEST_RETRY_AFTER))
                }
                Answer::Misconfigured { reason } => {
                    self.misconfigured(&reason);
                    None
                }
            };
            wait(pause.unwrap_or_else(|| jittered(backoff)), ending).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    // Only an operator can correct it, so the log repeats it, unlike an outage.
    fn misconfigured(&self, reason: &str) {
        self.is_failing.store(true, Relaxed);
        self.queue.set_failing(true);
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.is_none_or(|logged| now.duration_since(logged) >= LOG_AGAIN) {
            *logged = Some(now);
            let (signal, url) = (self.signal.as_str(), &self.url);
            tracing::warn!(
                signal,
                url,
                reason,
                "this is not an OTLP endpoint: nothing is delivered until the endpoint is corrected"
            );
        }
    }

    /// Notes that the collector does not accept requests, or that the queue can't be read.
    pub(crate) fn failed(&self, reason: &str) {
        if !self.is_failing.swap(true, Relaxed) {
            self.queue.set_failing(true);
            let signal = self.signal.as_str();
            tracing::warn!(signal, collector = self.collector, reason, "can't deliver, retrying");
        }
    }

    fn recovered(&self) {
        if self.is_failing.swap(false, Relaxed) {
            self.queue.set_failing(false);
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
