//! The writing side of a journal.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::append::{Append, Ticker};
use super::budget::{IntakeBudget, Part};
use super::entry::{self, Accepted, Entry};
use super::readiness::Readiness;
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
    readiness: Arc<Readiness>,
}

/// An appended input that is not confirmed yet. Dropping this does not remove it from the journal.
#[derive(Debug)]
pub struct Pending(Option<oneshot::Receiver<()>>);

impl Journal {
    pub(super) fn new(
        queue: mpsc::UnboundedSender<Append>,
        budget: Arc<IntakeBudget>,
        ledger: Arc<Ledger>,
        is_durable: bool,
    ) -> Self {
        let ticker = Ticker::new(&queue, Arc::clone(&budget));
        let readiness = Arc::new(Readiness::new(ticker, Arc::clone(&ledger)));
        Self { queue, budget, ledger, is_durable, readiness }
    }

    /// Appends an input, or fails at once if the budget is used up.
    ///
    /// # Errors
    /// [`Full`]: nothing was appended; the sender should retry.
    pub fn try_append(&self, input: Accepted) -> Result<Pending, Full> {
        let (record, size) = self.measure(&input);
        if !self.budget.try_take(size, Part::All) {
            self.readiness.check();
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

    /// Why a message of `size` bytes is refused now, with numbers and what to do: by [`Self::try_append`], or, if
    /// `below_reserve`, by a sender that waits for [`Self::append`] no longer.
    pub fn why_refused(&self, size: usize, below_reserve: bool) -> String {
        self.budget.why_refused(size, below_reserve)
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
        Ticker::new(&self.queue, Arc::clone(&self.budget))
    }

    /// The limits of memory and disk.
    pub fn budget(&self) -> &Arc<IntakeBudget> {
        &self.budget
    }

    /// Whether input is accepted. It does not keep the journal open.
    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.readiness
    }

    /// Whether confirmed inputs survive the process.
    pub fn is_durable(&self) -> bool {
        self.is_durable
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
