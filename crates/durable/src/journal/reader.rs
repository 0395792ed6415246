//! The reading side: from memory, or from the disk when it is behind.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::append::Append;
use super::budget::IntakeBudget;
use super::entry::{self, Accepted, Entry, Read};
use super::tail::{Next, Tail};
use crate::store;
use livekit_otel_ledger::Ledger;

/// Between attempts to read a disk that fails.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// Reads the entries in order.
#[derive(Debug)]
pub struct Reader(Backing);

#[derive(Debug)]
enum Backing {
    Memory { queue: mpsc::UnboundedReceiver<Append>, budget: Arc<IntakeBudget> },
    Disk(Box<Disk>),
}

#[derive(Debug)]
struct Disk {
    tail: Arc<Tail>,
    readers: store::Readers,
    on_disk: Option<store::Reader>,
    next: u64,
    // The last entry that an earlier process wrote.
    replayed: u64,
    read: Read,
    ledger: Arc<Ledger>,
}

/// An entry with its place in the journal.
#[derive(Debug)]
pub struct Numbered {
    /// Its number; 0 in memory.
    pub number: u64,
    /// The entry.
    pub entry: Entry,
    /// Whether an earlier process wrote it.
    pub replayed: bool,
    /// Its size on disk, in bytes.
    pub size: usize,
}

impl Reader {
    pub(super) fn in_memory(
        queue: mpsc::UnboundedReceiver<Append>,
        budget: Arc<IntakeBudget>,
    ) -> Self {
        Self(Backing::Memory { queue, budget })
    }

    pub(super) fn on_disk(
        tail: Arc<Tail>,
        readers: store::Readers,
        read: Read,
        ledger: Arc<Ledger>,
    ) -> Self {
        let replayed = tail.durable();
        let disk = Disk { tail, readers, on_disk: None, next: 1, replayed, read, ledger };
        Self(Backing::Disk(Box::new(disk)))
    }

    /// Continues after the entry `number`.
    pub fn skip(&mut self, number: u64) {
        if let Backing::Disk(disk) = &mut self.0 {
            disk.next = number + 1;
            disk.on_disk = None;
        }
    }

    /// Whether all entries of earlier processes were read; always so in memory.
    pub fn has_replayed(&self) -> bool {
        match &self.0 {
            Backing::Memory { .. } => true,
            Backing::Disk(disk) => disk.next > disk.replayed,
        }
    }

    /// The next entry; `None` once every [`super::Journal`] is dropped and all entries are read.
    pub async fn next(&mut self) -> Option<Numbered> {
        match &mut self.0 {
            Backing::Memory { queue, budget } => {
                let appended = queue.recv().await?;
                Some(in_memory(appended, budget))
            }
            Backing::Disk(disk) => disk.next().await,
        }
    }

    /// The next input, skipping ticks and flushes, for readers without an engine.
    pub async fn next_input(&mut self) -> Option<Accepted> {
        loop {
            if let Entry::Input(input) = self.next().await?.entry {
                return Some(input);
            }
        }
    }

    /// How many entries wait now in a journal in memory; 0 for one on disk.
    pub fn len(&self) -> usize {
        match &self.0 {
            Backing::Memory { queue, .. } => queue.len(),
            Backing::Disk(_) => 0,
        }
    }

    /// Whether [`Reader::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next entry if one is available now.
    pub fn try_next(&mut self) -> Option<Numbered> {
        match &mut self.0 {
            Backing::Memory { queue, budget } => Some(in_memory(queue.try_recv().ok()?, budget)),
            Backing::Disk(disk) => match disk.tail.next(disk.next) {
                Next::Entry(number, entry, size) => Some(disk.take(number, entry, size)),
                // `next` meets an error again, and logs it.
                Next::OnDisk(last) => disk.read_on(last).ok().flatten(),
                Next::Wait | Next::Closed => None,
            },
        }
    }
}

fn in_memory(appended: Append, budget: &IntakeBudget) -> Numbered {
    budget.free(appended.size);
    if let Some(durable) = appended.durable {
        // In memory, no later moment makes it more durable. The sender need not wait for this.
        let _ = durable.send(());
    }
    Numbered { number: 0, entry: appended.entry, replayed: false, size: 0 }
}

impl Disk {
    async fn next(&mut self) -> Option<Numbered> {
        loop {
            match self.tail.next(self.next) {
                Next::Entry(number, entry, size) => return Some(self.take(number, entry, size)),
                Next::OnDisk(last) => match self.read_on(last) {
                    Ok(Some(read)) => return Some(read),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "the journal can't be read; retrying");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Next::Wait => {
                    // An open file would occupy the disk even after its segment is removed.
                    self.on_disk = None;
                    self.tail.arrived().await;
                }
                Next::Closed => return None,
            }
        }
    }

    fn take(&mut self, number: u64, entry: Entry, size: usize) -> Numbered {
        self.next = number + 1;
        self.on_disk = None;
        Numbered { number, entry, replayed: number <= self.replayed, size }
    }

    fn read_on(&mut self, last: u64) -> std::io::Result<Option<Numbered>> {
        let on_disk = self.on_disk.get_or_insert_with(|| self.readers.from(self.next));
        let read = on_disk.next(last);
        let damage = on_disk.take_damage();
        if !damage.is_none() {
            let (records, bytes) = (damage.records, damage.bytes);
            tracing::error!(records, bytes, "a part of the journal is damaged; the rest is read");
            self.ledger.damaged(damage.records);
        }
        let Some((number, record)) = read? else {
            self.next = last + 1;
            return Ok(None);
        };
        self.next = number + 1;
        let Some(entry) = entry::decode(&record, &self.read) else {
            tracing::error!(number, "an entry of the journal is of another version");
            self.ledger.damaged(1);
            return Ok(None);
        };
        let replayed = number <= self.replayed;
        Ok(Some(Numbered { number, entry, replayed, size: record.len() }))
    }
}
