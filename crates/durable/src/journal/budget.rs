//! How much may be accepted: what memory, `journal.max_bytes` and the volume have room for, with what
//! the pipeline needs to make room again kept free.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::Disk;
use livekit_otel_model::Signal;

// The reserve's part of a limit: what waits is stopped before what would give up.
const RESERVE: u64 = 8;
// For files' ends, directories and letters; of a small limit a part of it.
const SLACK: u64 = 256 << 10;
// How old a measurement of the volume may be.
const MEASURED_FOR: Duration = Duration::from_millis(200);

/// Which part of a limit may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    BelowReserve,
}

/// What there is room for: in memory, and on disk.
///
/// Only a snapshot frees what the journal has, and it takes room itself: as much as the last one, and
/// what was accepted since. So a byte of the journal counts three times, and the last snapshot and what
/// is to be put on disk with the next one twice.
#[derive(Debug)]
pub struct IntakeBudget {
    in_memory: AtomicUsize,
    max_memory: usize,
    journal: AtomicU64,
    snapshot: AtomicU64,
    // By signal: on disk, and in memory until the next snapshot.
    outbox: [AtomicU64; 3],
    unwritten: [AtomicU64; 3],
    max_disk: u64,
    volume: Option<Volume>,
    paused: AtomicBool,
    freed: Notify,
    short: Notify,
}

#[derive(Debug)]
struct Volume {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    // All that the directory could have of it.
    limit: AtomicU64,
    measured: Mutex<Option<Instant>>,
    // A write found no room.
    refused: AtomicBool,
}

/// What takes room.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// What was accepted.
    Journal,
    /// The state at an entry.
    Snapshot,
    /// What waits for delivery, on disk.
    Outbox(Signal),
    /// What waits for delivery in memory, and is put on disk with the next snapshot.
    Unwritten(Signal),
}

impl IntakeBudget {
    /// In memory alone.
    pub(super) fn new(max_memory: usize) -> Self {
        Self {
            in_memory: AtomicUsize::new(0),
            max_memory: max_memory.max(1),
            journal: AtomicU64::new(0),
            snapshot: AtomicU64::new(0),
            outbox: Default::default(),
            unwritten: Default::default(),
            max_disk: u64::MAX,
            volume: None,
            paused: AtomicBool::new(false),
            freed: Notify::new(),
            short: Notify::new(),
        }
    }

    /// And up to `max_disk` bytes of the volume that `directory` is on.
    pub(super) fn on(self, max_disk: u64, directory: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let volume = Volume {
            directory,
            disk,
            limit: AtomicU64::new(u64::MAX),
            measured: Mutex::default(),
            refused: AtomicBool::new(false),
        };
        let budget = Self { max_disk, volume: Some(volume), ..self };
        budget.measure();
        budget
    }

    /// Takes room in memory for `size` bytes, where there is any and the disk has some left.
    pub(super) fn take(&self, size: usize, part: Part) -> bool {
        if self.paused.load(Relaxed) || !self.has_disk(size, part) {
            return false;
        }
        let limit = left(self.max_memory as u64, part);
        // What is larger than all there is waits until it is alone.
        let fits =
            |taken: usize| (taken == 0 || (taken + size) as u64 <= limit).then_some(taken + size);
        self.in_memory.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn has_disk(&self, size: usize, part: Part) -> bool {
        let Some(volume) = &self.volume else { return true };
        let fits = || {
            let queued = self.in_memory.load(Relaxed) as u64 + size as u64;
            self.needed().saturating_add(queued) <= left(self.limit(), part)
        };
        if volume.is_measured() && fits() {
            return true;
        }
        self.measure_if_old();
        let fits = fits();
        if !fits {
            self.short.notify_one();
        }
        fits
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
            // Room that others leave on the volume is not announced.
            let _ = tokio::time::timeout(MEASURED_FOR, freed).await;
        }
    }

    /// Gives back what was taken.
    pub(super) fn free(&self, size: usize) {
        self.in_memory.fetch_sub(size, Relaxed);
        self.freed.notify_waiters();
    }

    /// Notes how much a holder has.
    pub fn set_usage(&self, holder: Holder, bytes: u64) {
        let place = match holder {
            Holder::Journal => &self.journal,
            Holder::Snapshot => &self.snapshot,
            Holder::Outbox(signal) => &self.outbox[signal as usize],
            Holder::Unwritten(signal) => &self.unwritten[signal as usize],
        };
        let before = place.swap(bytes, Relaxed);
        if bytes < before {
            self.freed.notify_waiters();
        }
    }

    /// How much is on disk.
    pub fn on_disk(&self) -> u64 {
        let outbox = sum(&self.outbox);
        self.journal.load(Relaxed) + self.snapshot.load(Relaxed) + outbox
    }

    // What is on disk, and what the next snapshot takes.
    fn needed(&self) -> u64 {
        let journal = self.journal.load(Relaxed);
        let next = self.snapshot.load(Relaxed) + 2 * journal + sum(&self.unwritten);
        self.on_disk().saturating_add(next).saturating_add(SLACK.min(self.limit() / 16))
    }

    fn limit(&self) -> u64 {
        let volume = self.volume.as_ref().map_or(u64::MAX, |volume| volume.limit.load(Relaxed));
        self.max_disk.min(volume)
    }

    /// Whether a snapshot should be written while there is room for it.
    pub fn is_short(&self) -> bool {
        self.needed() > self.limit() / 4 * 3
    }

    /// Whether nothing is accepted for want of room on disk.
    pub fn is_full(&self) -> bool {
        let refused = |volume: &Volume| volume.refused.load(Relaxed);
        self.volume.as_ref().is_some_and(refused) || self.needed() >= self.limit()
    }

    /// Returns once something found no room on disk.
    pub async fn wait_for_shortage(&self) {
        self.short.notified().await;
    }

    /// Notes whether a write found room.
    pub(super) fn wrote(&self, found_room: bool) {
        let Some(volume) = &self.volume else { return };
        let was_refused = volume.refused.swap(!found_room, Relaxed);
        if !found_room {
            self.measure();
            self.short.notify_one();
        } else if was_refused {
            self.measure();
        }
    }

    /// Asks the volume how much it has left, unless it was asked just before.
    pub(super) fn measure_if_old(&self) {
        if self.volume.as_ref().is_some_and(|volume| !volume.is_measured()) {
            self.measure();
        }
    }

    fn measure(&self) {
        let Some(volume) = &self.volume else { return };
        *volume.measured.lock() = Some(Instant::now());
        // One that does not say is not full before a write fails.
        let space = volume.disk.space(&volume.directory);
        let free = space.map_or(u64::MAX, |space| space.free);
        volume.limit.store(self.on_disk().saturating_add(free), Relaxed);
        self.freed.notify_waiters();
    }

    /// Stops all that comes in, or lets it in again: the process takes too much memory.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
        self.freed.notify_waiters();
    }
}

impl Volume {
    fn is_measured(&self) -> bool {
        let measured = *self.measured.lock();
        measured.is_some_and(|at| at.elapsed() < MEASURED_FOR)
    }
}

fn left(limit: u64, part: Part) -> u64 {
    match part {
        Part::All => limit,
        Part::BelowReserve => limit - limit / RESERVE,
    }
}

fn sum(bytes: &[AtomicU64]) -> u64 {
    bytes.iter().map(|bytes| bytes.load(Relaxed)).sum()
}
