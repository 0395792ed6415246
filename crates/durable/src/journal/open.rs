//! Opens journals.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::budget::{Holder, IntakeBudget};
use super::entry::Read;
use super::queue::Journal;
use super::reader::Reader;
use super::tail::Tail;
use super::writer::Writer;
use crate::store::{Directory, Log};
use livekit_otel_ledger::Ledger;
use livekit_otel_ledger::faults::Faults;

// For entries before they are written, and as much for entries before they are processed.
const MAX_MEMORY: usize = 16 << 20;
// A segment is this part of the limit at most, as only whole segments are removed.
const SEGMENTS: u64 = 16;

/// Settings of a journal on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much the journal and the waiting records may take on disk, in bytes.
    pub max_bytes: u64,
    /// How long the first entry of a group waits for others before it is synced.
    pub sync: Duration,
    /// How many bytes of the journal a restart may have to read again: then a snapshot is due.
    pub snapshot: u64,
}

impl Settings {
    /// The size of a log's segment, which is removed as a whole.
    pub fn segment(&self) -> u64 {
        (self.snapshot / 8).min(self.max_bytes / SEGMENTS).clamp(4 << 10, 8 << 20)
    }

    /// The least `max_bytes` that works with messages of up to `longest` bytes: one message, a snapshot
    /// that holds it too, and the overhead of files.
    pub fn least(longest: u64) -> u64 {
        (2 * longest).saturating_add(1 << 20)
    }

    /// These settings with `max_bytes` of at most `total`, the size of the volume.
    #[must_use]
    pub fn on_volume(self, total: u64) -> Self {
        Self { max_bytes: self.max_bytes.min(total), ..self }
    }
}

/// The result of [`open`].
#[derive(Debug)]
pub struct Opened {
    /// The writing side.
    pub journal: Journal,
    /// The reading side.
    pub reader: Reader,
    /// The number of the first entry that the journal has, or of the next one.
    pub first: u64,
    /// Set to the last entry that a snapshot covers: entries up to it are removed.
    pub saved: Arc<AtomicU64>,
    /// Notes a panic of the thread.
    pub faults: Faults,
    /// The thread.
    pub thread: thread::JoinHandle<()>,
}

/// Opens a journal in memory that holds up to `max_bytes` of unprocessed inputs, and counts them in
/// `ledger`.
pub fn in_memory(max_bytes: usize, ledger: &Arc<Ledger>) -> (Journal, Reader) {
    let budget = Arc::new(IntakeBudget::new(max_bytes));
    let (queue, appended) = mpsc::unbounded_channel();
    let journal = Journal::new(queue, Arc::clone(&budget), Arc::clone(ledger), false);
    (journal, Reader::in_memory(appended, budget))
}

/// Opens the journal in `directory`, and starts the thread that writes it. The thread ends once every
/// [`Journal`] is dropped; until then it keeps the directory locked. The next entry's number is at least
/// `next`.
///
/// # Errors
/// Those of the file system. Damage is not an error: it is counted.
pub fn open(
    directory: &Arc<Directory>,
    next: u64,
    settings: Settings,
    read: Read,
    ledger: &Arc<Ledger>,
) -> io::Result<Opened> {
    let path = directory.path().join("journal");
    // Only for this: the budget measures the volume, which may grow.
    let total = directory.space().map_or(u64::MAX, |space| space.total);
    let segment = settings.on_volume(total).segment();
    let (mut log, damage) = Log::open(&path, Arc::clone(directory.disk()), segment)?;
    log.skip_to(next)?;
    if !damage.is_none() {
        tracing::warn!(
            bytes = damage.bytes,
            "the journal ends in an incomplete write: it is cut off"
        );
        ledger.damaged(1);
    }
    ledger.set_durable();
    let budget = IntakeBudget::new(MAX_MEMORY);
    budget.set_usage(Holder::Journal, log.bytes());
    let disk = Arc::clone(directory.disk());
    let budget = Arc::new(budget.on(settings.max_bytes, directory.path().to_owned(), disk));
    let tail = Arc::new(Tail::new(MAX_MEMORY, log.next() - 1));
    let saved = Arc::new(AtomicU64::new(0));
    let (first, readers) = (log.first(), log.readers());
    let (queue, appended) = mpsc::unbounded_channel();
    let writer = Writer {
        directory: Some(Arc::clone(directory)),
        log,
        budget: Arc::clone(&budget),
        tail: Arc::clone(&tail),
        saved: Arc::clone(&saved),
        rolled: 0,
        ledger: Arc::clone(ledger),
        wait: settings.sync,
    };
    let faults = Faults::default();
    let watched = faults.watched("the journal's writer");
    let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || {
        let _watched = watched;
        writer.run(appended);
    })?;
    let journal = Journal::new(queue, budget, Arc::clone(ledger), true);
    let reader = Reader::on_disk(tail, readers, read, Arc::clone(ledger));
    Ok(Opened { journal, reader, first, saved, faults, thread })
}
