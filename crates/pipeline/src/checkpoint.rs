//! Snapshots of the engine, and their restoration: a restart reads the last snapshot, and only the later
//! entries of the journal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use livekit_otel_durable::journal::{self, Entry, Holder, IntakeBudget, Ticker};
use livekit_otel_durable::store::{Directory, Reader};
use livekit_otel_engine::Engine;
use livekit_otel_engine::snapshot::{self, Part, Writer};
use livekit_otel_export::{self as export, Exporter};
use livekit_otel_ledger::{Ledger, Processed};
use livekit_otel_model::Source;

const NAME: &str = "snapshot";
const UNKNOWN: &str = "the state before it is unknown, and waiting records may be sent twice";
const MAX_AGE: Duration = Duration::from_mins(5);
// A restart reads less than this again in no time.
const WORTH_IT: u64 = 64 << 10;
// Between attempts after a failure.
const PAUSE: Duration = Duration::from_secs(2);
// Between snapshots while the disk is full: the last one may have freed enough, or rooms that ended since
// may make the next one smaller.
const FULL: Duration = Duration::from_secs(1);
const FULL_AND_LITTLE_TO_FREE: Duration = Duration::from_mins(1);

/// The first part of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    version: u32,
    /// The last entry of the journal that it covers.
    pub journal: u64,
    outputs: [export::Saved; 3],
    inputs: [Processed; 12],
}

/// The snapshots of one directory.
#[derive(Debug)]
pub struct Checkpoints {
    directory: Arc<Directory>,
    settings: journal::Settings,
    head: Option<Head>,
    // The rest of the snapshot, until it is restored.
    rest: Option<Reader>,
    is_whole: bool,
    is_missing: bool,
    ticker: Option<Ticker>,
    saved: Arc<AtomicU64>,
    applied: u64,
    unsaved: u64,
    size: u64,
    // How long before the start the last snapshot was written.
    age: Option<Duration>,
    since: Instant,
    failed: bool,
}

impl Checkpoints {
    /// Opens the last snapshot, if there is one.
    pub fn open(directory: &Arc<Directory>, settings: journal::Settings) -> Self {
        let mut checkpoints = Self {
            directory: Arc::clone(directory),
            settings,
            head: None,
            rest: None,
            is_whole: true,
            is_missing: false,
            ticker: None,
            saved: Arc::default(),
            applied: 0,
            unsaved: 0,
            size: 0,
            age: None,
            since: Instant::now(),
            failed: false,
        };
        let path = directory.path().join(NAME);
        if let Ok(file) = std::fs::metadata(&path) {
            checkpoints.size = file.len();
            // A clock that was set back since counts as no time.
            let age = |at: SystemTime| at.elapsed().unwrap_or_default();
            checkpoints.age = file.modified().ok().map(age);
        }
        let mut reader = match Reader::of_file(&path) {
            Ok(reader) => reader,
            Err(error) => {
                checkpoints.is_missing = error.kind() == io::ErrorKind::NotFound;
                if !checkpoints.is_missing {
                    let snapshot = path.display();
                    tracing::error!(%snapshot, %error, "the snapshot can't be read: {UNKNOWN}");
                    checkpoints.is_whole = false;
                }
                return checkpoints;
            }
        };
        let first = reader.next_of_file().ok().flatten();
        checkpoints.head = first.and_then(|record| match snapshot::part(&record) {
            Ok((Part::Head, content)) => snapshot::read(content).ok(),
            _ => None,
        });
        let is_known = |head: &Head| (snapshot::OLDEST..=snapshot::VERSION).contains(&head.version);
        checkpoints.head = checkpoints.head.filter(is_known);
        if checkpoints.head.is_none() {
            let snapshot = path.display();
            tracing::error!(%snapshot, "the snapshot is damaged or of another version: {UNKNOWN}");
            checkpoints.is_whole = false;
        }
        checkpoints.rest = Some(reader);
        checkpoints
    }

    /// How old the last snapshot was at the start; `None` if there was none.
    pub(super) fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The number of the first entry after the snapshot.
    pub fn next(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.journal) + 1
    }

    /// Attaches the journal, whose first entry is `first`. `saved` is set to the last entry that a snapshot
    /// covers.
    #[must_use]
    pub fn attach(mut self, ticker: Ticker, first: u64, saved: Arc<AtomicU64>) -> Self {
        if self.is_missing && first != 1 {
            let snapshot = self.directory.path().join(NAME);
            tracing::error!(snapshot = %snapshot.display(), "the snapshot is missing: {UNKNOWN}");
        }
        self.is_whole &= first == 1;
        ticker.budget().set_usage(Holder::Snapshot, self.size);
        self.ticker = Some(ticker);
        self.saved = saved;
        self
    }

    /// The directory of the snapshots.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The last entry that a snapshot of this process covers; 0 before there is one.
    pub(super) fn saved(&self) -> u64 {
        self.saved.load(Relaxed)
    }

    /// Restores the counts of inputs, which are known without the rest of the snapshot.
    pub(super) fn restore_inputs(&self, ledger: &Ledger) {
        let inputs = self.head.iter().flat_map(|head| head.inputs);
        for (source, processed) in Source::ALL.into_iter().zip(inputs) {
            ledger.restore_input(source, processed);
        }
    }

    /// Restores the state. Returns the last entry of the journal that it covers.
    pub(super) fn restore(
        &mut self,
        engine: &mut Engine,
        exporter: &Exporter,
        ledger: &Ledger,
    ) -> u64 {
        let Some((head, rest)) = self.head.take().zip(self.rest.take()) else {
            exporter.restore(None, self.is_whole);
            return 0;
        };
        let loaded = load(engine, rest);
        let missing = loaded.missing();
        if missing > 0 {
            let snapshot = self.directory.path().join(NAME);
            let rooms = loaded.missing_rooms();
            tracing::error!(
                snapshot = %snapshot.display(), parts = missing, rooms, is_cut = !loaded.ended,
                "parts of the snapshot are missing, and with them the state of rooms; the rest is restored"
            );
            ledger.snapshot_damaged(missing);
        }
        // A replay onto an incomplete state produces other outputs, so their numbers don't match.
        exporter.restore(Some(head.outputs), missing == 0);
        self.applied = head.journal;
        head.journal
    }

    /// Appends a tick or a flush to the journal.
    pub(super) fn post(&self, entry: Entry) {
        if let Some(ticker) = &self.ticker {
            // It is applied when it is read from the journal.
            drop(ticker.post(entry));
        }
    }

    /// Whether no entry was ever applied.
    pub(super) fn is_new(&self) -> bool {
        self.applied == 0
    }

    /// Notes that the entry `number` was applied.
    pub(super) fn applied(&mut self, number: u64, bytes: usize) {
        self.applied = number;
        self.unsaved += bytes as u64;
    }

    /// The limits of memory and disk.
    pub(super) fn budget(&self) -> Option<&Arc<IntakeBudget>> {
        self.ticker.as_ref().map(Ticker::budget)
    }

    pub(super) fn is_due(&self) -> bool {
        let age = self.since.elapsed();
        if self.unsaved == 0 || (self.failed && age < PAUSE) {
            return false;
        }
        // A large state is written less often, so that snapshots are not most of the writes.
        let enough = self.settings.snapshot.max(self.size);
        // But before the journal is full.
        let enough = enough.min(self.settings.max_bytes / 4);
        self.unsaved >= enough
            || (self.unsaved >= WORTH_IT && age >= MAX_AGE)
            || self.would_free_space(age)
    }

    // Whether the disk is nearly full, and a snapshot would free space.
    fn would_free_space(&self, age: Duration) -> bool {
        let Some(budget) = self.budget().filter(|budget| budget.is_short()) else { return false };
        let worth_it = WORTH_IT.min(self.settings.max_bytes / 16);
        if self.unsaved >= worth_it.max(self.size / 4) {
            return true;
        }
        let pause = if self.unsaved >= worth_it { FULL } else { FULL_AND_LITTLE_TO_FREE };
        budget.is_full() && age >= pause
    }

    /// Writes a snapshot. If that fails, the journal keeps all entries that the last one does not cover.
    pub(super) fn save(&mut self, engine: &Engine, exporter: &Exporter, ledger: &Ledger) {
        self.since = Instant::now();
        if self.unsaved == 0 {
            return;
        }
        let written = self.write(engine, exporter, ledger);
        let had_failed = std::mem::replace(&mut self.failed, written.is_err());
        match written {
            Ok(size) => {
                self.size = size;
                self.unsaved = 0;
                self.saved.store(self.applied, Relaxed);
                if let Some(budget) = self.budget() {
                    budget.set_usage(Holder::Snapshot, size);
                }
                if had_failed {
                    tracing::info!("snapshots can be written again");
                }
                tracing::debug!(size, entries = self.applied, "a snapshot was written");
            }
            Err(error) if !had_failed => {
                tracing::error!(%error, "no snapshot can be written; retrying");
            }
            Err(error) => tracing::debug!(%error, "no snapshot can be written"),
        }
    }

    fn write(
        &self,
        engine: &Engine,
        exporter: &Exporter,
        ledger: &Ledger,
    ) -> Result<u64, snapshot::Error> {
        let head = Head {
            version: snapshot::VERSION,
            journal: self.applied,
            outputs: exporter.save()?,
            inputs: Source::ALL.map(|source| ledger.processed_of(source)),
        };
        let size = self.directory.replace(NAME, |records| {
            let mut put = |part: &[u8]| records.put(part);
            let mut to = Writer::new(&mut put);
            let written = to.put(Part::Head, &head);
            let written = written.and_then(|()| to.put(Part::Rooms, &engine.rooms()));
            let written = written.and_then(|()| engine.save(&mut to));
            written.and_then(|()| to.put(Part::End, &())).map_err(std::io::Error::other)
        })?;
        Ok(size)
    }
}

/// The result of loading a snapshot.
#[derive(Debug, Default)]
struct Loaded {
    damaged: u64,
    rooms: u64,
    // The number of rooms that the snapshot states.
    all_rooms: Option<u64>,
    ended: bool,
}

impl Loaded {
    fn missing_rooms(&self) -> u64 {
        self.all_rooms.map_or(0, |all| all.saturating_sub(self.rooms))
    }

    // How many parts. Of a snapshot that is cut off, only the number of rooms is known: at least one part.
    fn missing(&self) -> u64 {
        self.damaged.max(self.missing_rooms()).max(u64::from(!self.ended))
    }
}

fn part(record: &[u8]) -> Result<(Part, &[u8]), snapshot::Error> {
    #[cfg(feature = "fuzzing")]
    crate::panics::panic_if_asked(record, crate::panics::PANICS_AT_LOAD);
    snapshot::part(record)
}

fn load(engine: &mut Engine, mut rest: Reader) -> Loaded {
    let mut loaded = Loaded::default();
    loop {
        match rest.next_of_file() {
            Ok(Some(record)) => match part(&record) {
                Ok((Part::End, _)) => loaded.ended = true,
                Ok((Part::Rooms, content)) => loaded.all_rooms = snapshot::read(content).ok(),
                Ok((part, content)) => match engine.load(part, content) {
                    Ok(()) => loaded.rooms += u64::from(part == Part::Room),
                    Err(_) => loaded.damaged += 1,
                },
                Err(_) => loaded.damaged += 1,
            },
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "the snapshot can't be read to its end");
                break;
            }
        }
    }
    loaded.damaged += rest.take_damage().records;
    loaded
}
