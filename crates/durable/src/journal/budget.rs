//! How much may be accepted: limited by memory, `journal.max_bytes` and the volume, less what the next
//! snapshot needs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::obstacle::{Obstacle, Process, Unwritable};
use crate::store::Disk;
use livekit_otel_ledger::status::{JournalUse, LimitedBy};
use livekit_otel_model::Signal;

// The reserve is this part of a limit: senders that can wait stop before senders that would give up.
const RESERVE: u64 = 8;
// For the ends of files, directories and dead letters; 1/16 of a small limit.
const SLACK: u64 = 256 << 10;
// How old a measurement of the volume may be.
const MEASURED_FOR: Duration = Duration::from_millis(200);
// A write that takes longer is a failure: a sender of webhooks has stopped waiting.
const STUCK: Duration = Duration::from_secs(10);

/// Which part of a limit a sender may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    BelowReserve,
}

/// The memory and disk that intake may use.
///
/// Only a snapshot frees space of the journal, and it takes space itself: as much as the last snapshot, and
/// as the inputs accepted since. So a byte of the journal counts three times; a byte of the last snapshot,
/// or of records that the next snapshot writes to disk, counts twice.
#[derive(Debug)]
pub struct IntakeBudget {
    in_memory: AtomicUsize,
    max_memory: usize,
    journal: AtomicU64,
    snapshot: AtomicU64,
    // By signal: records on disk, and records in memory until the next snapshot.
    outbox: [AtomicU64; 3],
    unwritten: [AtomicU64; 3],
    max_disk: u64,
    volume: Option<Volume>,
    // The most that was used since the start.
    highest: AtomicU64,
    paused: AtomicBool,
    process: Mutex<Process>,
    writes: Mutex<Writes>,
    freed: Notify,
    short: Notify,
}

#[derive(Debug)]
struct Volume {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    // All that the directory could use.
    limit: AtomicU64,
    measured: Mutex<Option<Instant>>,
    // The last write found the volume full.
    refused: AtomicBool,
}

// The journal's writes.
#[derive(Debug, Default)]
struct Writes {
    // When the one in progress began.
    began: Option<Instant>,
    // Why the last one failed.
    failed: Option<Unwritable>,
}

/// What uses the disk, or will.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// The journal.
    Journal,
    /// The last snapshot.
    Snapshot,
    /// A signal's waiting records on disk.
    Outbox(Signal),
    /// A signal's waiting records in memory, which the next snapshot writes to disk.
    Unwritten(Signal),
}

impl IntakeBudget {
    /// Limits memory alone.
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
            highest: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            process: Mutex::default(),
            writes: Mutex::default(),
            freed: Notify::new(),
            short: Notify::new(),
        }
    }

    /// Limits disk too: to `max_disk` bytes, and to the volume that holds `directory`.
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

    /// Takes `size` bytes of memory if they fit, and if the disk has as much left.
    pub(super) fn try_take(&self, size: usize, part: Part) -> bool {
        if self.obstacle(size, part).is_some() {
            return false;
        }
        let more = |taken: usize| self.fits(taken, size, part).then_some(taken + size);
        let taken = self.in_memory.fetch_update(Relaxed, Relaxed, more);
        if let (Ok(taken), None) = (taken, &self.volume) {
            self.highest.fetch_max((taken + size) as u64, Relaxed);
        }
        taken.is_ok()
    }

    /// Why `size` bytes can't be taken now.
    pub(super) fn obstacle(&self, size: usize, part: Part) -> Option<Obstacle> {
        if self.paused.load(Relaxed) {
            return Some(Obstacle::Process);
        }
        if !self.has_disk(size, part) {
            return Some(Obstacle::Disk);
        }
        let fits = self.fits(self.in_memory.load(Relaxed), size, part);
        (!fits).then_some(Obstacle::Queue)
    }

    // A size above the limit fits once nothing else is held.
    fn fits(&self, taken: usize, size: usize, part: Part) -> bool {
        taken == 0 || (taken + size) as u64 <= left(self.max_memory as u64, part)
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

    /// Takes `size` bytes even if they do not fit.
    pub(super) fn force(&self, size: usize) {
        self.in_memory.fetch_add(size, Relaxed);
    }

    /// Takes `size` bytes below the reserve, once they fit.
    pub(super) async fn take_when_free(&self, size: usize) {
        loop {
            let freed = self.freed.notified();
            if self.try_take(size, Part::BelowReserve) {
                return;
            }
            // Nobody announces space that other programs free on the volume.
            let _ = tokio::time::timeout(MEASURED_FOR, freed).await;
        }
    }

    /// Returns bytes that were taken.
    pub(super) fn free(&self, size: usize) {
        self.in_memory.fetch_sub(size, Relaxed);
        self.freed.notify_waiters();
    }

    /// Sets how much `holder` uses.
    pub fn set_usage(&self, holder: Holder, bytes: u64) {
        let usage = match holder {
            Holder::Journal => &self.journal,
            Holder::Snapshot => &self.snapshot,
            Holder::Outbox(signal) => &self.outbox[signal as usize],
            Holder::Unwritten(signal) => &self.unwritten[signal as usize],
        };
        let before = usage.swap(bytes, Relaxed);
        self.highest.fetch_max(self.needed(), Relaxed);
        if bytes < before {
            self.freed.notify_waiters();
        }
    }

    /// How much is used on disk, in bytes.
    pub fn on_disk(&self) -> u64 {
        let outbox = sum(&self.outbox);
        self.journal.load(Relaxed) + self.snapshot.load(Relaxed) + outbox
    }

    // The space in use, and what the next snapshot takes.
    fn needed(&self) -> u64 {
        let journal = self.journal.load(Relaxed);
        let next = self.snapshot.load(Relaxed) + 2 * journal + sum(&self.unwritten);
        self.on_disk().saturating_add(next).saturating_add(SLACK.min(self.limit() / 16))
    }

    fn limit(&self) -> u64 {
        let volume = self.volume.as_ref().map_or(u64::MAX, |volume| volume.limit.load(Relaxed));
        self.max_disk.min(volume)
    }

    /// Whether a snapshot should be written while the disk has space for it.
    pub fn is_short(&self) -> bool {
        self.needed() > self.limit() / 4 * 3
    }

    /// Whether the disk has no space left for intake.
    pub fn is_full(&self) -> bool {
        let refused = |volume: &Volume| volume.refused.load(Relaxed);
        self.volume.as_ref().is_some_and(refused) || self.needed() >= self.limit()
    }

    /// Returns once something did not fit on disk.
    pub async fn wait_for_shortage(&self) {
        self.short.notified().await;
    }

    /// Notes that a write begins.
    pub(super) fn begins_write(&self) {
        self.writes.lock().began = Some(Instant::now());
    }

    /// Notes how the write ended.
    pub(super) fn wrote(&self, error: Option<&io::Error>) {
        let failed = error.map(Unwritable::from);
        let fitted = !failed.as_ref().is_some_and(Unwritable::is_full);
        *self.writes.lock() = Writes { began: None, failed };
        let Some(volume) = &self.volume else { return };
        let was_refused = volume.refused.swap(!fitted, Relaxed);
        if !fitted {
            self.measure();
            self.short.notify_one();
        } else if was_refused {
            self.measure();
        }
    }

    /// Why the journal can't be written, if the last write failed or the one in progress does not end.
    pub(super) fn unwritable(&self) -> Option<Unwritable> {
        let writes = self.writes.lock();
        let stuck = writes.began.map(|began| began.elapsed()).filter(|taken| *taken > STUCK);
        stuck.map(Unwritable::Stuck).or_else(|| writes.failed.clone())
    }

    /// Whether a write is in progress.
    pub(super) fn is_writing(&self) -> bool {
        self.writes.lock().began.is_some()
    }

    /// How much of its limit intake uses: with a journal on disk, the space in use and what the next
    /// snapshot takes; without one, the memory of what waits to be processed. In bytes.
    pub fn usage(&self) -> JournalUse {
        let queued = self.in_memory.load(Relaxed) as u64;
        let (used, limit) = match &self.volume {
            Some(_) => (self.needed().saturating_add(queued), self.limit()),
            None => (queued, self.max_memory as u64),
        };
        let limited_by = match &self.volume {
            Some(volume) if volume.limit.load(Relaxed) < self.max_disk => LimitedBy::Volume,
            _ => LimitedBy::MaxBytes,
        };
        let highest = self.highest.load(Relaxed).max(used);
        JournalUse { used, limit, highest, limited_by }
    }

    /// How much of that are records that wait for delivery, in bytes.
    pub(super) fn undelivered(&self) -> u64 {
        sum(&self.outbox) + 2 * sum(&self.unwritten)
    }

    /// The memory of the process when it was last measured.
    pub(super) fn process(&self) -> Process {
        *self.process.lock()
    }

    /// How many bytes wait to be written, and how many may.
    pub(super) fn queue(&self) -> (u64, u64) {
        (self.in_memory.load(Relaxed) as u64, self.max_memory as u64)
    }

    /// Whether the journal is on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.volume.is_some()
    }

    /// Measures the free space of the volume, unless that was done recently.
    pub(super) fn measure_if_old(&self) {
        if self.volume.as_ref().is_some_and(|volume| !volume.is_measured()) {
            self.measure();
        }
    }

    pub(super) fn measure(&self) {
        let Some(volume) = &self.volume else { return };
        *volume.measured.lock() = Some(Instant::now());
        // A volume that can't be measured counts as empty until a write fails.
        let space = volume.disk.space(&volume.directory);
        let free = space.map_or(u64::MAX, |space| space.free);
        volume.limit.store(self.on_disk().saturating_add(free), Relaxed);
        self.freed.notify_waiters();
    }

    /// Notes the memory of the process, and pauses or resumes intake by it.
    pub(super) fn set_process(&self, process: Process) {
        *self.process.lock() = process;
        let is_over = process.is_over();
        if self.paused.swap(is_over, Relaxed) && !is_over {
            self.freed.notify_waiters();
        }
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
