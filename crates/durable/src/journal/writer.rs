//! The journal on disk: one thread writes and syncs in groups, and only then confirms.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::budget::{Holder, IntakeBudget};
use super::entry::Read;
use super::tail::Tail;
use super::{Append, Entry, Journal, Reader};
use crate::store::{Directory, LONGEST, Log, is_full};
use livekit_otel_ledger::Ledger;
use livekit_otel_ledger::faults::Faults;

/// Between attempts where the disk fails.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
// What waits to be written, and what waits in memory to be processed.
const MAX_MEMORY: usize = 16 << 20;
// The largest group.
const MAX_GROUP: usize = 4 << 20;
// A part of a limit so small that what can't be dropped yet is no matter.
const SEGMENTS: u64 = 16;
// How often the first of a group lets others go first.
const YIELDS: usize = 8;

/// How a journal on disk is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much the journal and what waits for delivery may take on disk, in bytes.
    pub max_bytes: u64,
    /// How long the first of a group waits for others before it is synced.
    pub sync: Duration,
    /// How much of it a restart may have to read again, in bytes: then there is a snapshot.
    pub snapshot: u64,
}

impl Settings {
    /// How large a segment of a log is: what is dropped at once.
    pub fn segment(&self) -> u64 {
        (self.snapshot / 8).min(self.max_bytes / SEGMENTS).clamp(4 << 10, 8 << 20)
    }

    /// The least `max_bytes` that works with messages of up to `longest` bytes: one of them, a snapshot
    /// that has it too, and what files take beside.
    pub fn least(longest: u64) -> u64 {
        (2 * longest).saturating_add(1 << 20)
    }

    /// As they hold on a volume of `total` bytes.
    #[must_use]
    pub fn on_volume(self, total: u64) -> Self {
        Self { max_bytes: self.max_bytes.min(total), ..self }
    }
}

/// What [`open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The writing side.
    pub journal: Journal,
    /// The reading side.
    pub reader: Reader,
    /// The number of the first entry that is still there, or will be.
    pub first: u64,
    /// Up to this number entries may be dropped: a snapshot has what they told.
    pub saved: Arc<AtomicU64>,
    /// Whether the thread broke off.
    pub faults: Faults,
    /// The thread.
    pub thread: thread::JoinHandle<()>,
}

/// Opens the journal in `directory`, and starts the thread that writes it. It ends once every
/// [`Journal`] is gone, and the directory is in use until then. The next entry's number is at least `next`.
///
/// # Errors
/// Those of the file system. Damage is none: it is counted.
pub fn open(
    directory: &Arc<Directory>,
    next: u64,
    settings: Settings,
    read: Read,
    ledger: &Arc<Ledger>,
) -> io::Result<Opened> {
    let path = directory.path().join("journal");
    let (mut log, damage) = Log::open(&path, Arc::clone(directory.disk()), settings.segment())?;
    log.skip_to(next)?;
    if !damage.is_none() {
        tracing::warn!(bytes = damage.bytes, "the end of the journal was torn and is cut off");
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
        failing: false,
    };
    let faults = Faults::default();
    let watched = faults.watched("the journal's writer");
    let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || {
        let _watched = watched;
        writer.run(appended);
    })?;
    let journal = Journal { queue, budget, ledger: Arc::clone(ledger), is_durable: true };
    let reader = Reader::on_disk(tail, readers, read, Arc::clone(ledger));
    Ok(Opened { journal, reader, first, saved, faults, thread })
}

struct Writer {
    // As long as this writes, nobody else may: a server that is dropped does not wait for it.
    directory: Option<Arc<Directory>>,
    log: Log,
    budget: Arc<IntakeBudget>,
    tail: Arc<Tail>,
    saved: Arc<AtomicU64>,
    // The last entry that a snapshot had when a segment was begun for it.
    rolled: u64,
    ledger: Arc<Ledger>,
    wait: Duration,
    failing: bool,
}

// However it ends, its reader does not wait for more.
impl Drop for Writer {
    fn drop(&mut self) {
        // First: who sees the end of the journal may open it again.
        self.directory = None;
        self.tail.close();
    }
}

impl Writer {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Append>) {
        while let Some(first) = queue.blocking_recv() {
            if !self.wait.is_zero() {
                thread::park_timeout(self.wait);
            }
            // First, as the group may need the budget.
            self.trim();
            self.write(group(first, &mut queue));
        }
    }

    fn write(&mut self, mut group: Vec<Append>) {
        let size = group.iter().map(|append| append.size).sum();
        // Its sender is refused, and nobody else. No setting lets one in that is so long.
        group.retain(|append| append.record.len() <= LONGEST);
        let first = self.log.next();
        let records: Vec<&[u8]> = group.iter().map(|append| &*append.record).collect();
        let written = self.log.append(&records, true);
        self.report(written.as_ref().err());
        self.budget.set_usage(Holder::Journal, self.log.bytes());
        self.budget.wrote(!written.as_ref().is_err_and(is_full));
        self.budget.measure_if_old();
        if written.is_ok() {
            self.count(&group);
            let (entries, confirmed): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|append| ((append.entry, append.record.len()), append.durable))
                .unzip();
            self.tail.add(first, entries);
            for durable in confirmed.into_iter().flatten() {
                // Who does not wait for it need not be told.
                let _ = durable.send(());
            }
        }
        // Dropped, what is not written is not confirmed.
        self.budget.free(size);
    }

    // Before the reader can have them: whether a sender waits for its answer changes no count.
    fn count(&self, group: &[Append]) {
        for append in group {
            if let Entry::Input(input) = &append.entry {
                self.ledger.accepted(input.source, input.items);
                self.ledger.unknown(input.unknown);
            }
        }
    }

    fn report(&mut self, error: Option<&io::Error>) {
        match error {
            Some(error) => {
                self.ledger.journal_failed();
                if !self.failing {
                    tracing::error!(%error, "the journal can't be written: nothing is accepted");
                }
            }
            None if self.failing => tracing::info!("the journal can be written again"),
            None => {}
        }
        self.failing = error.is_some();
    }

    // What a snapshot has is dropped, the segment that is written to as well.
    fn trim(&mut self) {
        let saved = self.saved.load(Relaxed);
        let rolled = if saved > self.rolled { self.log.roll(saved) } else { Ok(()) };
        if rolled.is_ok() {
            self.rolled = saved;
        }
        if let Err(error) = rolled.and_then(|()| self.log.drop_until(saved)) {
            tracing::warn!(%error, "what the journal no longer needs can't be removed");
        }
        self.budget.set_usage(Holder::Journal, self.log.bytes());
    }
}

// What is there, and what comes while other threads want this core: a sync takes as much as many
// records do. Where no thread wants it, a yield returns at once.
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
