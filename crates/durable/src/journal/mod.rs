//! What was accepted, until it is processed. One seam for all sources: what [`Journal::try_append`] has
//! taken, and [`Pending::durable`] has confirmed, may be acknowledged. In memory or on disk.

mod budget;
mod dead_letters;
mod entry;
mod reader;
mod tail;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use budget::Part;
pub use budget::{Holder, IntakeBudget};
pub use dead_letters::{
    DeadLetter, DeadLetters, Payload, Stored, Unreadable, dead_letter_files,
    read as read_dead_letter,
};
pub use entry::{Read, decode};
pub use reader::{Numbered, Reader};
pub use writer::{Opened, Settings, open};

use livekit_otel_ledger::Ledger;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};

/// An input that was verified.
#[derive(Debug)]
pub struct Accepted {
    /// When it came.
    pub at: Time,
    /// From where.
    pub source: Source,
    /// How many items it holds, for the ledger.
    pub items: u64,
    /// How many more it holds that did not say whose they are.
    pub unusable: u64,
    /// What in it has no name here; nothing where it is read again.
    pub unknown: Unknown,
    /// Whether the origin of the twin is connected, so that a webhook waits for it.
    pub twin_expected: bool,
    /// What it tells; `None` where that can't be read: it is set aside.
    pub decoded: Option<Decoded>,
    /// As it came; empty where it never was bytes.
    pub raw: Bytes,
    /// Its size in bytes, or about what it takes in memory.
    pub size: usize,
}

/// What the sessions are told, in its order. Read again it gives the same outputs.
#[derive(Debug)]
pub enum Entry {
    /// Something accepted.
    Input(Accepted),
    /// It is that late: what waited until then is let go of.
    Tick(Time),
    /// The instruments are flushed.
    Flush(Time),
}

impl Entry {
    /// When it came.
    pub fn at(&self) -> Time {
        match self {
            Self::Input(input) => input.at,
            Self::Tick(at) | Self::Flush(at) => *at,
        }
    }
}

/// The journal takes no more for now.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the journal is full")]
pub struct Full;

/// The writing side, shared by all sources.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: mpsc::UnboundedSender<Append>,
    budget: Arc<IntakeBudget>,
    ledger: Arc<Ledger>,
    is_durable: bool,
}

/// A [`Journal`] that doesn't keep it open.
#[derive(Debug, Clone)]
pub struct Ticker {
    queue: mpsc::WeakUnboundedSender<Append>,
    budget: Arc<IntakeBudget>,
}

/// What the queue of a journal holds.
#[derive(Debug)]
struct Append {
    entry: Entry,
    // The entry as bytes; empty in memory.
    record: Vec<u8>,
    size: usize,
    durable: Option<oneshot::Sender<()>>,
}

/// Something taken that is not yet confirmed. Dropped, it is in the journal all the same.
#[derive(Debug)]
pub struct Pending(Option<oneshot::Receiver<()>>);

/// A journal in memory that holds up to `max_bytes` of unprocessed inputs, and counts them in `ledger`.
pub fn in_memory(max_bytes: usize, ledger: &Arc<Ledger>) -> (Journal, Reader) {
    let budget = Arc::new(IntakeBudget::new(max_bytes));
    let (queue, appended) = mpsc::unbounded_channel();
    let ledger = Arc::clone(ledger);
    let journal = Journal { queue, budget: Arc::clone(&budget), ledger, is_durable: false };
    (journal, Reader::in_memory(appended, budget))
}

impl Journal {
    /// Takes an input, or says at once that there is no room for it.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken; the sender should come back.
    pub fn try_append(&self, input: Accepted) -> Result<Pending, Full> {
        let (record, size) = self.measure(&input);
        if !self.budget.take(size, Part::All) {
            return Err(Full);
        }
        self.send(input, record, size)
    }

    /// Takes an input once there is room for it below the reserve, which is left to those who would
    /// give up.
    ///
    /// # Errors
    /// [`Full`]: the reader is gone; the program is ending.
    pub async fn append(&self, input: Accepted) -> Result<Pending, Full> {
        let (record, size) = self.measure(&input);
        self.budget.wait(size).await;
        self.send(input, record, size)
    }

    fn measure(&self, input: &Accepted) -> (Vec<u8>, usize) {
        let record = if self.is_durable { entry::encode_input(input) } else { Vec::new() };
        let size = input.size.max(record.len()).max(1);
        (record, size)
    }

    fn send(&self, input: Accepted, record: Vec<u8>, size: usize) -> Result<Pending, Full> {
        let (durable, pending) = if self.is_durable {
            let (sender, receiver) = oneshot::channel();
            (Some(sender), Some(receiver))
        } else {
            // Before its reader can have processed it. On disk the writer counts.
            self.ledger.accepted(input.source, input.items);
            self.ledger.unknown(input.unknown);
            (None, None)
        };
        let entry = Entry::Input(input);
        self.queue.send(Append { entry, record, size, durable }).map_err(|unsent| {
            if let (Entry::Input(input), false) = (&unsent.0.entry, self.is_durable) {
                self.ledger.withdrawn(input.source, input.items);
            }
            self.budget.free(size);
            Full
        })?;
        Ok(Pending(pending))
    }

    /// A handle for the one who reads it.
    pub fn ticker(&self) -> Ticker {
        Ticker { queue: self.queue.downgrade(), budget: Arc::clone(&self.budget) }
    }

    /// What there is room for.
    pub fn budget(&self) -> &Arc<IntakeBudget> {
        &self.budget
    }

    /// Whether what it took survives the process.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }
}

impl Ticker {
    /// What there is room for.
    pub fn budget(&self) -> &Arc<IntakeBudget> {
        &self.budget
    }

    /// Takes a tick or a flush; what is given is told once it is in the journal, or dropped if it
    /// can't be.
    pub fn post(&self, entry: Entry) -> Option<oneshot::Receiver<()>> {
        let queue = self.queue.upgrade()?;
        let record = entry::encode(&entry);
        let size = record.len();
        // It is small, and what it lets go of makes room.
        self.budget.force(size);
        let (sender, receiver) = oneshot::channel();
        queue.send(Append { entry, record, size, durable: Some(sender) }).ok()?;
        Some(receiver)
    }
}

impl Pending {
    /// Returns once it would survive the process and a loss of power, where the journal is on disk.
    ///
    /// # Errors
    /// [`Full`]: it could not be written and is not in the journal.
    pub async fn durable(&mut self) -> Result<(), Full> {
        let Some(pending) = &mut self.0 else { return Ok(()) };
        let durable = pending.await.map_err(|_| Full);
        self.0 = None;
        durable
    }
}
