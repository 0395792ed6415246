//! The writing side of a journal.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::budget::{IntakeBudget, Part};
use super::entry::{self, Accepted, Entry};
use livekit_otel_ledger::Ledger;

/// The journal accepts nothing at the moment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the journal is full")]
pub struct Full;

/// The writing side, shared by all sources.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(super) queue: mpsc::UnboundedSender<Append>,
    pub(super) budget: Arc<IntakeBudget>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) is_durable: bool,
}

/// A [`Journal`] for timers, which does not keep it open.
#[derive(Debug, Clone)]
pub struct Ticker {
    queue: mpsc::WeakUnboundedSender<Append>,
    budget: Arc<IntakeBudget>,
}

/// An entry in the queue of a journal.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) entry: Entry,
    // The encoded entry; empty in memory.
    pub(super) record: Vec<u8>,
    pub(super) size: usize,
    pub(super) durable: Option<oneshot::Sender<()>>,
}

/// An appended input that is not confirmed yet. Dropping this does not remove it from the journal.
#[derive(Debug)]
pub struct Pending(Option<oneshot::Receiver<()>>);

impl Journal {
    /// Appends an input, or fails at once if the budget is used up.
    ///
    /// # Errors
    /// [`Full`]: nothing was appended; the sender should retry.
    pub fn try_append(&self, input: Accepted) -> Result<Pending, Full> {
        let (record, size) = self.measure(&input);
        if !self.budget.try_take(size, Part::All) {
            return Err(Full);
        }
        self.send(input, record, size)
    }

    /// Appends an input, after waiting until the budget allows it. The last part of the budget is left to
    /// [`Journal::try_append`], whose senders do not wait.
    ///
    /// # Errors
    /// [`Full`]: the reader is gone; the program is ending.
    pub async fn append(&self, input: Accepted) -> Result<Pending, Full> {
        let (record, size) = self.measure(&input);
        self.budget.take_when_free(size).await;
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
            // Before the reader can process it. On disk, the writer counts.
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

    /// A handle for the task that reads the journal.
    pub fn ticker(&self) -> Ticker {
        Ticker { queue: self.queue.downgrade(), budget: Arc::clone(&self.budget) }
    }

    /// The limits of memory and disk.
    pub fn budget(&self) -> &Arc<IntakeBudget> {
        &self.budget
    }

    /// Whether confirmed inputs survive the process.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }
}

impl Ticker {
    /// The limits of memory and disk.
    pub fn budget(&self) -> &Arc<IntakeBudget> {
        &self.budget
    }

    /// Appends a tick or a flush. The receiver resolves once it is in the journal, and fails if it can't
    /// be written.
    pub fn post(&self, entry: Entry) -> Option<oneshot::Receiver<()>> {
        let queue = self.queue.upgrade()?;
        let record = entry::encode(&entry);
        let size = record.len();
        // Not limited: it is small, and the records that it releases free memory.
        self.budget.force(size);
        let (sender, receiver) = oneshot::channel();
        queue.send(Append { entry, record, size, durable: Some(sender) }).ok()?;
        Some(receiver)
    }
}

impl Pending {
    /// Returns once the input is in the journal, and synced if the journal is on disk.
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
