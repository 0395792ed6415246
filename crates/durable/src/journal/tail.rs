//! The newest entries of a journal on disk, kept in memory for its reader.

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::entry::Entry;

/// The newest entries, as long as the reader keeps up with them.
#[derive(Debug, Default)]
pub(super) struct Tail {
    inner: Mutex<Inner>,
    arrived: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<(u64, Entry, usize)>,
    bytes: usize,
    durable: u64,
    // Whether the reader must read from the disk first: nothing is added meanwhile.
    behind: bool,
    closed: bool,
}

/// The next entry for the reader.
pub(super) enum Next {
    /// The entry, with its number and its size on disk.
    Entry(u64, Entry, usize),
    /// It is on disk, as are all up to this number.
    OnDisk(u64),
    Wait,
    Closed,
}

impl Tail {
    pub(super) fn new(max_bytes: usize, durable: u64) -> Self {
        let inner = Inner { durable, behind: durable > 0, ..Inner::default() };
        Self { inner: Mutex::new(inner), arrived: Notify::new(), max_bytes }
    }

    /// Adds entries that are on disk now, each with its size there.
    pub(super) fn add(&self, first: u64, entries: impl IntoIterator<Item = (Entry, usize)>) {
        let mut inner = self.inner();
        for (number, (entry, size)) in (first..).zip(entries) {
            inner.durable = number;
            if inner.bytes + size > self.max_bytes && !inner.entries.is_empty() {
                inner.behind = true;
            }
            if !inner.behind {
                inner.bytes += size;
                inner.entries.push_back((number, entry, size));
            }
        }
        drop(inner);
        self.arrived.notify_one();
    }

    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.arrived.notify_one();
    }

    /// Takes the entry `number`, or returns where it is.
    pub(super) fn next(&self, number: u64) -> Next {
        let mut inner = self.inner();
        if inner.entries.front().is_some_and(|(first, ..)| *first == number)
            && let Some((number, entry, size)) = inner.entries.pop_front()
        {
            inner.bytes -= size;
            return Next::Entry(number, entry, size);
        }
        if number <= inner.durable {
            return Next::OnDisk(
                inner.entries.front().map_or(inner.durable, |(first, ..)| first - 1),
            );
        }
        inner.behind = false;
        if inner.closed { Next::Closed } else { Next::Wait }
    }

    /// The number of the newest entry on disk.
    pub(super) fn durable(&self) -> u64 {
        self.inner().durable
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}
