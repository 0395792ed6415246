//! How much a journal may hold, and the part of it that is still in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Entry;
use crate::ledger::Signal;

// The reserve's part of a limit: what waits is stopped before what would give up.
const RESERVE: u64 = 8;

/// Which part of a limit may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    BelowReserve,
}

/// What there is room for: in memory, and on disk.
#[derive(Debug)]
pub struct Room {
    in_memory: AtomicUsize,
    max_memory: usize,
    on_disk: [AtomicU64; 4],
    max_disk: u64,
    pressed: AtomicBool,
    freed: Notify,
}

/// What takes room on disk.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// What was accepted.
    Journal,
    /// What waits for delivery.
    Outbox(Signal),
}

impl Room {
    pub(super) fn new(max_memory: usize, max_disk: u64) -> Self {
        Self {
            in_memory: AtomicUsize::new(0),
            max_memory: max_memory.max(1),
            on_disk: Default::default(),
            max_disk,
            pressed: AtomicBool::new(false),
            freed: Notify::new(),
        }
    }

    /// Takes room in memory for `size` bytes, where there is any and the disk has some left.
    pub(super) fn take(&self, size: usize, part: Part) -> bool {
        let left = |limit: u64| match part {
            Part::All => limit,
            Part::BelowReserve => limit - limit / RESERVE,
        };
        let disk = left(self.max_disk);
        if self.pressed.load(Relaxed) || self.on_disk().saturating_add(size as u64) > disk {
            return false;
        }
        let limit = left(self.max_memory as u64);
        // What is larger than all there is waits until it is alone.
        let fits =
            |taken: usize| (taken == 0 || (taken + size) as u64 <= limit).then_some(taken + size);
        self.in_memory.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Takes it whether there is any or not.
    pub(super) fn force(&self, size: usize) {
        self.in_memory.fetch_add(size, Relaxed);
    }

    /// Takes room below the reserve, once there is some.
    pub(super) async fn wait(&self, size: usize) {
        loop {
            let freed = self.freed.notified();
            if self.take(size, Part::BelowReserve) {
                return;
            }
            freed.await;
        }
    }

    /// Gives back what was taken.
    pub(super) fn free(&self, size: usize) {
        self.in_memory.fetch_sub(size, Relaxed);
        self.freed.notify_waiters();
    }

    /// Tells how much is on disk.
    pub fn holds(&self, holder: Holder, bytes: u64) {
        let place = match holder {
            Holder::Journal => 0,
            Holder::Outbox(signal) => 1 + signal as usize,
        };
        self.on_disk[place].store(bytes, Relaxed);
        self.freed.notify_waiters();
    }

    /// How much is on disk.
    pub fn on_disk(&self) -> u64 {
        self.on_disk.iter().map(|bytes| bytes.load(Relaxed)).sum()
    }

    /// Stops all that comes in, or lets it in again: the process takes too much memory.
    pub fn press(&self, pressed: bool) {
        self.pressed.store(pressed, Relaxed);
        self.freed.notify_waiters();
    }
}

/// The newest entries of a journal on disk, as long as its reader keeps up.
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
    // The reader has to read from the disk: nothing is added meanwhile.
    behind: bool,
    closed: bool,
}

/// What there is for a reader.
pub(super) enum Next {
    Entry(u64, Entry, usize),
    /// On disk, up to this number.
    OnDisk(u64),
    Wait,
    Closed,
}

impl Tail {
    pub(super) fn new(max_bytes: usize, durable: u64) -> Self {
        let inner = Inner { durable, behind: durable > 0, ..Inner::default() };
        Self { inner: Mutex::new(inner), arrived: Notify::new(), max_bytes }
    }

    /// Adds what is on disk now, each with its size there.
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

    /// The entry `number`, or where it is.
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

    /// The newest that is on disk.
    pub(super) fn durable(&self) -> u64 {
        self.inner().durable
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
