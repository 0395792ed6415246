//! The queue of a journal: what is appended to it, and the appending end for timers.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::budget::IntakeBudget;
use super::entry::{self, Entry};

/// A [`super::Journal`] for timers, which does not keep it open.
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

impl Ticker {
    pub(super) fn new(queue: &mpsc::UnboundedSender<Append>, budget: Arc<IntakeBudget>) -> Self {
        Self { queue: queue.downgrade(), budget }
    }

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
