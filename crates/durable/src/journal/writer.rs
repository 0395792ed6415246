//! The thread that writes a journal on disk: it syncs entries in groups, and confirms them afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::append::Append;
use super::budget::{Holder, IntakeBudget};
use super::entry::Entry;
use super::tail::Tail;
use crate::store::{Directory, LONGEST, Log};
use livekit_otel_ledger::Ledger;

// The largest group.
const MAX_GROUP: usize = 4 << 20;
// How often the first of a group yields to other threads.
const YIELDS: usize = 8;

pub(super) struct Writer {
    // Keeps the directory locked while this writes: a server that is dropped does not wait for it.
    pub(super) directory: Option<Arc<Directory>>,
    pub(super) log: Log,
    pub(super) budget: Arc<IntakeBudget>,
    pub(super) tail: Arc<Tail>,
    pub(super) saved: Arc<AtomicU64>,
    // The last snapshotted entry for which a segment was begun.
    pub(super) rolled: u64,
    pub(super) ledger: Arc<Ledger>,
    pub(super) wait: Duration,
}

// Even if the thread panics, the reader must not wait for more.
impl Drop for Writer {
    fn drop(&mut self) {
        // First: a reader that sees the end of the journal may open it again.
        self.directory = None;
        self.tail.close();
    }
}

impl Writer {
    pub(super) fn run(mut self, mut queue: mpsc::UnboundedReceiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            if !self.wait.is_zero() {
                thread::park_timeout(self.wait);
            }
            // First, as the group may need the space.
            self.trim();
            self.write(group(first, &mut queue));
        }
    }

    fn write(&mut self, mut group: Vec<Append>) {
        let size = group.iter().map(|append| append.size).sum();
        // Only its sender is refused. No setting accepts an input of this length.
        group.retain(|append| append.record.len() <= LONGEST);
        let first = self.log.next();
        let records: Vec<&[u8]> = group.iter().map(|append| &*append.record).collect();
        self.budget.begins_write();
        let written = self.log.append(&records, true);
        if written.is_err() {
            self.ledger.journal_failed();
        }
        self.budget.set_usage(Holder::Journal, self.log.bytes());
        self.budget.wrote(written.as_ref().err());
        self.budget.measure_if_old();
        if written.is_ok() {
            self.count(&group);
            let (entries, confirmed): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|append| ((append.entry, append.record.len()), append.durable))
                .unzip();
            self.tail.add(first, entries);
            for durable in confirmed.into_iter().flatten() {
                // Its sender may have stopped waiting.
                let _ = durable.send(());
            }
        }
        // Entries that were not written are dropped, so that their senders see an error.
        self.budget.free(size);
    }

    // Before the reader has them, so that an entry is accepted before it is processed.
    fn count(&self, group: &[Append]) {
        for append in group {
            if let Entry::Input(input) = &append.entry {
                self.ledger.accepted(input.source, input.items);
                self.ledger.unknown(input.unknown);
            }
        }
    }

    // Removes segments that a snapshot covers, the one that is being written included.
    fn trim(&mut self) {
        let saved = self.saved.load(Relaxed);
        let rolled = if saved > self.rolled { self.log.roll(saved) } else { Ok(()) };
        if rolled.is_ok() {
            self.rolled = saved;
        }
        if let Err(error) = rolled.and_then(|()| self.log.drop_until(saved)) {
            tracing::warn!(%error, "segments that the journal no longer needs can't be removed");
        }
        self.budget.set_usage(Holder::Journal, self.log.bytes());
    }
}

// Collects entries that are queued, and those that arrive while other threads want this core: a sync costs
// as much as many records. Without other threads a yield returns at once.
fn group(first: Append, queue: &mut mpsc::UnboundedReceiver<Append>) -> Vec<Append> {
    let mut bytes = first.record.len();
    let mut group = vec![first];
    for _ in 0..YIELDS {
        thread::yield_now();
        let before = group.len();
        while bytes < MAX_GROUP
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.record.len();
            group.push(next);
        }
        if group.len() == before || bytes >= MAX_GROUP {
            break;
        }
    }
    group
}
