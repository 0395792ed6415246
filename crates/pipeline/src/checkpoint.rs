//! Snapshots of the engine, and the way back from them: a restart reads the last one, and of the
//! journal only what came after it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

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
const UNKNOWN: &str = "the state before it is not known, and what waits may be sent twice";
const MAX_AGE: Duration = Duration::from_mins(5);
// Less than this is read again in no time.
const WORTH_IT: u64 = 64 << 10;
// After one that failed.
const PAUSE: Duration = Duration::from_secs(2);
// Between two where nothing is accepted for want of room: the last may have freed enough, and what has
// ended meanwhile may make the next one smaller.
const FULL: Duration = Duration::from_secs(1);
const FULL_AND_LITTLE_TO_FREE: Duration = Duration::from_mins(1);

/// What a snapshot begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    version: u32,
    /// The last entry of the journal that it has.
    pub journal: u64,
    outputs: [export::Saved; 3],
    inputs: [Processed; 5],
}

/// The snapshots of one directory.
#[derive(Debug)]
pub struct Checkpoints {
    directory: Arc<Directory>,
    settings: journal::Settings,
    head: Option<Head>,
    // The rest of the snapshot that a restart begins with.
    rest: Option<Reader>,
    is_whole: bool,
    is_missing: bool,
    ticker: Option<Ticker>,
    saved: Arc<AtomicU64>,
    applied: u64,
    unsaved: u64,
    size: u64,
    since: Instant,
    failed: bool,
}

impl Checkpoints {
    /// Looks for a snapshot.
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
            since: Instant::now(),
            failed: false,
        };
        let path = directory.path().join(NAME);
        checkpoints.size = std::fs::metadata(&path).map_or(0, |file| file.len());
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

    /// The number of the entry that follows the snapshot.
    pub fn next(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.journal) + 1
    }

    /// Goes on with the journal, whose first entry is `first`; `saved` tells it what is in a
    /// snapshot.
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

    /// Where they are.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The last entry of the journal that a snapshot of this process has; 0 before there is one.
    pub(super) fn saved(&self) -> u64 {
        self.saved.load(Relaxed)
    }

    /// Brings all back to the snapshot; gives the last entry of the journal that it has.
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
        for (source, processed) in Source::ALL.into_iter().zip(head.inputs) {
            ledger.restore_input(source, processed);
        }
        let loaded = load(engine, rest);
        let missing = loaded.missing();
        if missing > 0 {
            let snapshot = self.directory.path().join(NAME);
            let rooms = loaded.missing_rooms();
            tracing::error!(
                snapshot = %snapshot.display(), parts = missing, rooms, is_cut = !loaded.ended,
                "a part of the snapshot is missing, and with it the state of rooms; the rest is kept"
            );
            ledger.snapshot_damaged(missing);
        }
        // What the journal makes of another state has other numbers.
        exporter.restore(Some(head.outputs), missing == 0);
        self.applied = head.journal;
        head.journal
    }

    /// Puts a tick or a flush into the journal.
    pub(super) fn post(&self, entry: Entry) {
        if let Some(ticker) = &self.ticker {
            // It comes back by the journal, or not at all.
            drop(ticker.post(entry));
        }
    }

    /// Whether nothing was applied yet, now or before.
    pub(super) fn is_new(&self) -> bool {
        self.applied == 0
    }

    /// The entry `number` was applied.
    pub(super) fn applied(&mut self, number: u64, bytes: usize) {
        self.applied = number;
        self.unsaved += bytes as u64;
    }

    /// What there is room for.
    pub(super) fn budget(&self) -> Option<&Arc<IntakeBudget>> {
        self.ticker.as_ref().map(Ticker::budget)
    }

    pub(super) fn is_due(&self) -> bool {
        let age = self.since.elapsed();
        if self.unsaved == 0 || (self.failed && age < PAUSE) {
            return false;
        }
        // A large state is written less often, so that it is not most of what is written.
        let long = self.settings.snapshot.max(self.size);
        // But never so late that the journal is full before.
        let long = long.min(self.settings.max_bytes / 4);
        self.unsaved >= long || (self.unsaved >= WORTH_IT && age >= MAX_AGE) || self.frees(age)
    }

    // Whether room is short, and a snapshot frees some.
    fn frees(&self, age: Duration) -> bool {
        let Some(budget) = self.budget().filter(|budget| budget.is_short()) else { return false };
        let worth_it = WORTH_IT.min(self.settings.max_bytes / 16);
        if self.unsaved >= worth_it.max(self.size / 4) {
            return true;
        }
        let pause = if self.unsaved >= worth_it { FULL } else { FULL_AND_LITTLE_TO_FREE };
        budget.is_full() && age >= pause
    }

    /// Writes a snapshot. Where that fails the journal keeps what the one before does not have.
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
                tracing::debug!(size, entries = self.applied, "a snapshot is written");
            }
            Err(error) if !had_failed => {
                tracing::error!(%error, "no snapshot can be written; trying again");
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

/// What was read of a snapshot.
#[derive(Debug, Default)]
struct Loaded {
    damaged: u64,
    rooms: u64,
    // As it says itself, where it does.
    all_rooms: Option<u64>,
    ended: bool,
}

impl Loaded {
    fn missing_rooms(&self) -> u64 {
        self.all_rooms.map_or(0, |all| all.saturating_sub(self.rooms))
    }

    // Parts; of what is cut off the rooms are known, and it is one at least.
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
