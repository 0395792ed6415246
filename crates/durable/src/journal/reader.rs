//! The reading side: from memory, and from the disk where it is behind.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::entry::{self, Read};
use super::tail::{Next, Tail};
use super::{Accepted, Append, Entry, IntakeBudget};
use crate::store;
use livekit_otel_ledger::Ledger;

/// The entries in their order.
#[derive(Debug)]
pub struct Reader(From);

#[derive(Debug)]
enum From {
    Memory { queue: mpsc::UnboundedReceiver<Append>, budget: Arc<IntakeBudget> },
    Disk(Box<Disk>),
}

#[derive(Debug)]
struct Disk {
    tail: Arc<Tail>,
    readers: store::Readers,
    on_disk: Option<store::Reader>,
    next: u64,
    // Up to here it is from before this process.
    replayed: u64,
    read: Read,
    ledger: Arc<Ledger>,
}

/// An entry, and what the journal knows of it.
#[derive(Debug)]
pub struct Numbered {
    /// Its number; 0 in memory.
    pub number: u64,
    /// Itself.
    pub entry: Entry,
    /// Whether it was accepted before this process began.
    pub replayed: bool,
    /// How much it takes on disk, in bytes.
    pub size: usize,
}

impl Reader {
    pub(super) fn in_memory(
        queue: mpsc::UnboundedReceiver<Append>,
        budget: Arc<IntakeBudget>,
    ) -> Self {
        Self(From::Memory { queue, budget })
    }

    pub(super) fn on_disk(
        tail: Arc<Tail>,
        readers: store::Readers,
        read: Read,
        ledger: Arc<Ledger>,
    ) -> Self {
        let replayed = tail.durable();
        let on_disk = None;
        Self(From::Disk(Box::new(Disk { tail, readers, on_disk, next: 1, replayed, read, ledger })))
    }

    /// Begins behind the entry `number`.
    pub fn skip(&mut self, number: u64) {
        if let From::Disk(disk) = &mut self.0 {
            disk.next = number + 1;
            disk.on_disk = None;
        }
    }

    /// Whether all that was accepted before this process began was read.
    pub fn is_caught_up(&self) -> bool {
        match &self.0 {
            From::Memory { .. } => true,
            From::Disk(disk) => disk.next > disk.replayed,
        }
    }

    /// The next entry; `None` once every [`super::Journal`] is gone and all is read.
    pub async fn next(&mut self) -> Option<Numbered> {
        match &mut self.0 {
            From::Memory { queue, budget } => {
                let appended = queue.recv().await?;
                Some(in_memory(appended, budget))
            }
            From::Disk(disk) => disk.next().await,
        }
    }

    /// The next input, over ticks: for who has no engine to tell them to.
    pub async fn next_input(&mut self) -> Option<Accepted> {
        loop {
            if let Entry::Input(input) = self.next().await?.entry {
                return Some(input);
            }
        }
    }

    /// How many entries there are now, in memory.
    pub fn len(&self) -> usize {
        match &self.0 {
            From::Memory { queue, .. } => queue.len(),
            From::Disk(_) => 0,
        }
    }

    /// Whether there are none now, in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next entry if there is one now.
    pub fn try_next(&mut self) -> Option<Numbered> {
        match &mut self.0 {
            From::Memory { queue, budget } => Some(in_memory(queue.try_recv().ok()?, budget)),
            From::Disk(disk) => match disk.tail.next(disk.next) {
                Next::Entry(number, entry, size) => Some(disk.take(number, entry, size)),
                // An error is found again, and told, by who waits for the next one.
                Next::OnDisk(last) => disk.read_on(last).ok().flatten(),
                Next::Wait | Next::Closed => None,
            },
        }
    }
}

fn in_memory(appended: Append, budget: &IntakeBudget) -> Numbered {
    budget.free(appended.size);
    if let Some(durable) = appended.durable {
        // It is as much in the journal as it will ever be.
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
                        tracing::error!(%error, "the journal can't be read; trying again");
                        tokio::time::sleep(super::writer::PAUSE).await;
                    }
                },
                Next::Wait => {
                    // A file that is held open keeps its budget after it is dropped.
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
            tracing::error!(records, bytes, "a part of the journal is damaged; the rest is kept");
            self.ledger.damaged(damage.records);
        }
        let Some((number, record)) = read? else {
            self.next = last + 1;
            return Ok(None);
        };
        self.next = number + 1;
        let Some(entry) = entry::decode(&record, self.read) else {
            tracing::error!(number, "an entry of the journal is of another version");
            self.ledger.damaged(1);
            return Ok(None);
        };
        let replayed = number <= self.replayed;
        Ok(Some(Numbered { number, entry, replayed, size: record.len() }))
    }
}
