//! Sends a signal's batches to the collector: retries, halves, and records the outcome of each record in
//! the ledger.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::Instrument;

use crate::answer::Answer;
use crate::error::{Cause, StartError};
use crate::outbox::Settled;
use crate::queue::{Batch, Queue};
use crate::record::{Record, items};
use crate::reporter::{Answered, Reporter};
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

/// Sends the requests of one signal.
pub(crate) struct Sender {
    signal: Signal,
    queue: Arc<Queue>,
    transport: Transport,
    assembler: Assembler,
    collector: String,
    reporter: Reporter,
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
            reporter: Reporter::new(
                signal,
                target.attempt(),
                target.printable(),
                Arc::clone(&ledger),
            ),
            ledger,
            dead_letters,
        })
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
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
                Sent::Delivered { rejected, words } => self.delivered(&batch, rejected, words),
                Sent::Halve { cause } if batch.records().len() > 1 => {
                    self.reporter.note(Answered::TooLarge, &cause, items(batch.records()));
                    let second = batch.halve();
                    batches.extend([second, batch]);
                }
                Sent::Halve { cause } => {
                    let text = format!("too large for the collector: {}", cause.text);
                    self.refused(&batch, &Cause { text, ..cause }, &mut ending).await;
                }
                Sent::Refused { cause } => self.refused(&batch, &cause, &mut ending).await,
            }
        }
    }

    fn delivered(&self, batch: &Batch, rejected: u64, words: String) {
        let n = items(batch.records());
        let rejected = rejected.min(n);
        self.ledger.delivered(self.signal, n - rejected);
        if rejected > 0 {
            self.lost(Lost::Rejected, rejected);
            let text = if words.is_empty() { "partial success".to_owned() } else { words };
            self.reporter.note(Answered::Rejected, &Cause::new(text, None), rejected);
        } else if !words.is_empty() {
            self.reporter.note(Answered::Warned, &Cause::new(words, None), n);
        }
        self.queue.settle(batch, Settled::Delivered { rejected });
    }

    async fn refused(&self, batch: &Batch, cause: &Cause, ending: &mut watch::Receiver<bool>) {
        let n = items(batch.records());
        let payload = Payload::Output(self.signal);
        let at = Time::from_system(SystemTime::now());
        let dead_letter = DeadLetter { payload, items: n, at, reason: cause.text.clone() };
        let id = self.dead_letter_id(batch, at);
        let request = self.assembler.request(batch.records());
        let mut stored = self.dead_letters.store(&id, &dead_letter, &request).await;
        if stored == Stored::Failed {
            self.reporter.note(Answered::Waiting, cause, n);
        }
        while stored == Stored::Failed && !is_ending(ending) {
            wait(STORE_AGAIN, ending).await;
            stored = self.dead_letters.store(&id, &dead_letter, &request).await;
        }
        let settled = match stored {
            Stored::Yes => {
                self.ledger.output_dead_lettered(self.signal, n);
                self.reporter.note(Answered::Refused, cause, n);
                Settled::DeadLetters
            }
            Stored::Full => {
                self.lost(Lost::DeadLettersFull, n);
                self.reporter.note(Answered::Lost, cause, n);
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
                Answer::Delivered { rejected, words } => {
                    self.answered(true);
                    return Sent::Delivered { rejected, words };
                }
                Answer::Halve { cause } => {
                    self.answered(false);
                    return Sent::Halve { cause };
                }
                Answer::Refused { cause } => {
                    self.answered(false);
                    return Sent::Refused { cause };
                }
                Answer::Retry { after, cause } => {
                    self.failed(&cause, false);
                    after.map(|after| after.min(LONGEST_RETRY_AFTER))
                }
                Answer::Misconfigured { cause } => {
                    self.failed(&cause, true);
                    None
                }
            };
            wait(pause.unwrap_or_else(|| jittered(backoff)), ending).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// The queue can't be read.
    pub(crate) fn is_unreadable(&self, error: &io::Error) {
        let text = format!("queued records can't be read from disk: {error}");
        self.failed(&Cause::new(text, None), false);
    }

    fn failed(&self, cause: &Cause, is_misconfigured: bool) {
        self.queue.set_failing(true);
        self.reporter.failed(cause, is_misconfigured);
    }

    fn answered(&self, is_delivered: bool) {
        if self.reporter.answered(is_delivered) {
            self.queue.set_failing(false);
        }
    }
}

enum Sent {
    Delivered { rejected: u64, words: String },
    Halve { cause: Cause },
    Refused { cause: Cause },
}
