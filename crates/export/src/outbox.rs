//! The part of a signal's queue that is on disk, and the progress of its delivery.
//!
//! All records but the program's own metrics are numbered in the order in which the engine creates them. That order is a function of
//! the journal, so a number means the same record after a restart, and a replay does not queue again
//! what was delivered or is on disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::progress::Progress;
use crate::record::{Record, Scope};
use crate::request::Assembler;
use livekit_otel_durable::journal::{Holder, IntakeBudget};
use livekit_otel_durable::store::{Directory, Log, Reader, Slots, Unsynced};
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;

/// How far a signal's records are numbered. Snapshots store it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Saved {
    next: u64,
    items: u64,
}

/// Where outboxes are kept.
#[derive(Debug, Clone, Copy)]
pub struct OutboxSettings<'a> {
    /// The directory of the journal.
    pub directory: &'a Directory,
    /// The disk budget that outboxes share with the journal.
    pub budget: &'a Arc<IntakeBudget>,
    /// The size of a segment, in bytes.
    pub segment: u64,
}

/// The outcome of records that were in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Delivered { rejected: u64 },
    DeadLetters,
    Lost(Lost),
}

/// What an outbox has written but not synced: a loss of power would lose it. It is synced without the
/// outbox's lock.
#[derive(Debug)]
pub(super) struct Unsaved {
    log: Unsynced,
    slots: File,
}

impl Unsaved {
    /// Returns once it is synced.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync()?;
        self.slots.sync_data()
    }
}

/// The outbox of a signal.
#[derive(Debug)]
pub(super) struct Outbox {
    signal: Signal,
    path: PathBuf,
    // Whether the file with the progress could be read.
    is_known: bool,
    log: Log,
    reader: Option<Reader>,
    // Read from disk and not taken yet.
    ahead: VecDeque<Record>,
    // Records that could not be read.
    damaged: u64,
    // Those that the progress does not include yet: the number behind them, and how many.
    gaps: Vec<(u64, u64)>,
    slots: Slots,
    progress: Progress,
    budget: Arc<IntakeBudget>,
    ledger: Arc<Ledger>,
    // The items of all numbered records.
    items: u64,
    // The next number.
    next: u64,
    // The last number that was taken.
    taken: u64,
    // The ledger counts the records before it as accepted, though a replay may still create them again.
    counted: u64,
}

impl Outbox {
    pub(super) fn open(
        signal: Signal,
        settings: OutboxSettings<'_>,
        ledger: &Arc<Ledger>,
    ) -> io::Result<Self> {
        let OutboxSettings { directory, budget, segment } = settings;
        let path = directory.path().join("outbox").join(signal.as_str());
        let (log, damage) = Log::open(&path, Arc::clone(directory.disk()), segment)?;
        if !damage.is_none() {
            // A replay creates these records again, unless a snapshot was taken after them.
            tracing::warn!(
                signal = signal.as_str(),
                bytes = damage.bytes,
                "the outbox had an incomplete end, which was cut off"
            );
        }
        let (slots, value) = Slots::open(&slots_path(&path))?;
        let progress = value.and_then(|value| Progress::read(&value));
        let is_known = progress.is_some();
        let progress = progress.unwrap_or_default();
        ledger.queued(signal, progress.items);
        ledger.restore_output(signal, &progress.counts);
        budget.set_usage(Holder::Outbox(signal), log.bytes());
        Ok(Self {
            signal,
            path,
            is_known,
            log,
            reader: None,
            ahead: VecDeque::new(),
            damaged: 0,
            gaps: Vec::new(),
            slots,
            taken: progress.settled(),
            counted: progress.next,
            progress,
            budget: Arc::clone(budget),
            ledger: Arc::clone(ledger),
            items: 0,
            next: 1,
        })
    }

    /// Resumes from a snapshot. Unless it is whole, earlier numbers mean nothing, and records get new ones from
    /// here on.
    pub(super) fn restore(&mut self, saved: Option<Saved>, is_whole: bool) {
        if let Some(saved) = saved {
            // 0 where the signal was disabled.
            self.next = saved.next.max(1);
            self.items = saved.items;
            if saved.next > self.counted {
                self.ledger.queued(self.signal, saved.items - self.progress.items);
                self.counted = saved.next;
            }
            self.find_missing(saved);
        }
        if !is_whole {
            let used = self.progress.last() + 1;
            self.next = self.next.max(used).max(self.log.next()).max(self.counted);
            self.counted = self.next;
            self.items = self.items.max(self.progress.items);
        }
        if !self.is_known && (saved.is_some_and(|saved| saved.next > 1) || !self.log.is_empty()) {
            let file = slots_path(&self.path);
            tracing::error!(
                signal = self.signal.as_str(), file = %file.display(),
                "the file with the progress of delivery is missing or damaged: the records on disk are sent again"
            );
        }
    }

    // Every record that the snapshot numbered is settled or on disk, unless files were removed.
    fn find_missing(&mut self, saved: Saved) {
        let settled = self.progress.settled();
        let before = (settled + 1, self.log.first().min(saved.next));
        let behind = (self.log.next().max(settled + 1), saved.next);
        let gaps = [before, behind].map(|(first, next)| (first, next.max(first)));
        let records: u64 = gaps.iter().map(|gap| self.progress.unsettled(gap.0, gap.1)).sum();
        if records == 0 {
            return;
        }
        let known = self.progress.counts.sum() + self.items_on_disk(saved.next);
        // If records behind the snapshot are settled, `known` includes them: then count records, not items.
        let is_exact = self.progress.last() < saved.next;
        let items = if is_exact { saved.items.saturating_sub(known) } else { records };
        let directory = self.path.display();
        tracing::error!(
            signal = self.signal.as_str(), %directory, records, items,
            "files of the outbox were removed: their records are lost, unless they were delivered"
        );
        self.ledger.lost(self.signal, Lost::Damaged, items);
        self.progress.counts.lost[Lost::Damaged as usize] += items;
        for (first, next) in gaps.into_iter().filter(|(first, next)| first < next) {
            self.progress.settle(first, next - 1, 0);
        }
        self.taken = self.taken.max(self.progress.settled());
        if let Err(error) = self.write_progress() {
            tracing::warn!(%error, signal = self.signal.as_str(), "lost records can't be noted on disk");
        }
    }

    // How many items before `next` are on disk and not settled.
    fn items_on_disk(&self, next: u64) -> u64 {
        let last = self.log.next().min(next) - 1;
        let mut reader = self.log.readers().from(self.progress.settled() + 1);
        let mut items = 0;
        while let Ok(Some((number, record))) = reader.next(last) {
            if !self.progress.is_settled(number) {
                items += decode(number, &record).map_or(0, |record| record.items);
            }
        }
        items
    }

    /// Numbers a record, and counts it as accepted where it is new. Returns whether it has to be queued.
    pub(super) fn number(&mut self, record: &mut Record) -> bool {
        if record.is_own() {
            return false;
        }
        record.number = self.next;
        self.next += 1;
        self.items += record.items;
        if record.number >= self.counted {
            self.ledger.queued(self.signal, record.items);
        }
        // Numbers before the log's next one were written or skipped.
        record.number >= self.log.next() && !self.progress.is_settled(record.number)
    }

    /// Whether records on disk were not taken yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.ahead.is_empty() || self.taken + 1 < self.log.next()
    }

    /// The records on disk that fit into a request; `None` where all were taken.
    pub(super) fn read(&mut self, assembler: &Assembler) -> io::Result<Option<Vec<Record>>> {
        let mut bytes: usize = self.ahead.iter().map(|record| record.bytes.len()).sum();
        let mut from = self.ahead.back().map_or(self.taken, |record| record.number);
        let last = self.log.next() - 1;
        while from < last && bytes < assembler.max_bytes() {
            let reader = self.reader.get_or_insert_with(|| self.log.readers().from(from + 1));
            let read = reader.next(last)?;
            // `None` where all the rest is damaged.
            let number = read.as_ref().map_or(last + 1, |(number, _)| *number);
            self.note_missing(from + 1, number);
            let Some((number, record)) = read else {
                self.taken = self.taken.max(last);
                break;
            };
            from = number;
            if self.progress.is_settled(number) {
                self.taken = self.taken.max(number);
                continue;
            }
            match decode(number, &record) {
                Some(record) => {
                    bytes += record.bytes.len();
                    self.ahead.push_back(record);
                }
                None => self.note_missing(number, number + 1),
            }
        }
        if self.ahead.is_empty() {
            self.reader = None;
            return Ok(None);
        }
        let count = assembler.fits(&self.ahead);
        Ok(Some(self.ahead.drain(..count).collect()))
    }

    // Notes as damaged what is not settled from `first` to before `next`.
    fn note_missing(&mut self, first: u64, next: u64) {
        let missing = self.progress.unsettled(first, next);
        if missing > 0 {
            self.damaged += missing;
            self.gaps.push((next, missing));
        }
    }

    /// Notes that the records up to `number` were taken.
    pub(super) fn set_taken(&mut self, number: u64) {
        self.taken = self.taken.max(number);
        if self.taken + 1 >= self.log.next() {
            self.reader = None;
        }
    }

    /// How many records could not be read since the last call.
    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Writes those of `records` that are not on disk yet. On an error, some of them may be written.
    pub(super) fn write<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> io::Result<()> {
        let mut group: Vec<Vec<u8>> = Vec::new();
        let new = records.filter(|record| record.number >= self.log.next().max(1));
        let new: Vec<&Record> = new.filter(|record| record.number > 0).collect();
        let Some(first) = new.first() else { return Ok(()) };
        if self.log.next() <= self.progress.settled() + 1 {
            self.log.skip_to(first.number)?;
        }
        // First, so that a restart counts all that is on disk.
        if let Err(error) = self.write_progress() {
            tracing::warn!(%error, signal = self.signal.as_str(), "the outbox's progress can't be written");
        }
        let mut bytes = 0;
        for record in &new {
            let next = self.log.next() + group.len() as u64;
            // The records between were settled out of order: they are written empty.
            group.extend((next..record.number).map(|_| NOTHING.to_vec()));
            if bytes > GROUP {
                self.append(&group)?;
                group.clear();
                bytes = 0;
            }
            bytes += record.bytes.len();
            group.push(encode(record));
        }
        self.append(&group)
    }

    fn append(&mut self, group: &[Vec<u8>]) -> io::Result<()> {
        let appended = self.log.append(group, false);
        self.budget.set_usage(Holder::Outbox(self.signal), self.log.bytes());
        appended
    }

    /// Notes the outcome of `records`; `in_flight` is the first number that is still in flight.
    pub(super) fn settle(&mut self, records: &[Record], outcome: Settled, in_flight: Option<u64>) {
        let numbered: Vec<&Record> = records.iter().filter(|record| record.number > 0).collect();
        let Some((first, last)) = numbered.first().zip(numbered.last()) else { return };
        let untaken = self.ahead.front().map_or(self.taken + 1, |record| record.number);
        let unsettled = in_flight.map_or(untaken, |number| number.min(untaken));
        self.progress.settle(first.number, last.number, unsettled);
        // Records that were settled before they were written are not read from disk.
        self.taken = self.taken.max(self.progress.settled());
        let n = numbered.iter().map(|record| record.items).sum::<u64>();
        let counts = &mut self.progress.counts;
        match outcome {
            Settled::Delivered { rejected } => {
                let rejected = rejected.min(n);
                counts.delivered += n - rejected;
                counts.lost[Lost::Rejected as usize] += rejected;
            }
            Settled::DeadLetters => counts.dead_letters += n,
            Settled::Lost(why) => counts.lost[why as usize] += n,
        }
        let settled = self.progress.settled();
        // Gaps behind it are found again after a restart.
        self.gaps.retain(|(next, missing)| {
            let is_passed = *next <= settled + 1;
            if is_passed {
                self.progress.counts.lost[Lost::Damaged as usize] += missing;
            }
            !is_passed
        });
        if let Err(error) = self.write_progress() {
            // After a restart it would be sent again.
            tracing::warn!(%error, signal = self.signal.as_str(), "delivered records can't be noted on disk");
        }
        if let Err(error) = self.trim() {
            tracing::warn!(%error, signal = self.signal.as_str(), "delivered records can't be removed from disk");
        }
    }

    fn write_progress(&mut self) -> io::Result<()> {
        (self.progress.next, self.progress.items) =
            (self.next.max(self.counted), self.items.max(self.progress.items));
        let value = postcard::to_stdvec(&self.progress).map_err(io::Error::other)?;
        self.slots.write(&value)
    }

    /// What a snapshot stores, valid once the second value is synced.
    pub(super) fn save(&mut self) -> io::Result<(Saved, Unsaved)> {
        let slots = self.slots.file()?;
        let unsaved = Unsaved { log: self.log.take_unsynced()?, slots };
        Ok((self.numbered(), unsaved))
    }

    /// The position behind the last numbered record.
    pub(super) fn numbered(&self) -> Saved {
        Saved { next: self.next, items: self.items }
    }

    /// Continues numbering from here, unless it is further already.
    pub(super) fn skip_to(&mut self, position: Saved) {
        if position.next > self.next {
            (self.next, self.items) = (position.next, position.items);
        }
    }

    /// Has `unsaved` synced with the next save.
    pub(super) fn put_back(&mut self, unsaved: Unsaved) {
        self.log.put_back(unsaved.log);
    }

    /// Whether a record is on disk, or will never be written there.
    pub(super) fn has(&self, record: &Record) -> bool {
        record.number < self.log.next()
    }

    /// Adds to the budget how many waiting bytes are not on disk.
    pub(super) fn set_unwritten(&self, bytes: usize) {
        self.budget.set_usage(Holder::Unwritten(self.signal), bytes as u64);
    }

    fn trim(&mut self) -> io::Result<()> {
        let settled = self.progress.settled();
        // The current segment too, where nothing in it is needed.
        let is_empty = settled + 1 >= self.log.next();
        if is_empty && (self.log.bytes() >= WORTH_IT || self.budget.is_short()) {
            self.log.roll(settled)?;
        }
        self.log.drop_until(settled)?;
        self.budget.set_usage(Holder::Outbox(self.signal), self.log.bytes());
        Ok(())
    }
}

// A new segment for less costs more than it frees.
const WORTH_IT: u64 = 64 << 10;
// Bytes written at once. Few in tests, so that a full disk takes a part of a write.
const GROUP: usize = if cfg!(test) { 500 } else { 4 << 20 };

fn slots_path(path: &Path) -> std::path::PathBuf {
    path.with_extension("delivered")
}

// A record has 8 bytes before its own: its items, little-endian in 7, and its scope.
const HEAD: usize = 8;
const LIVEKIT: u8 = 0;
const FOREIGN: u8 = 1;
// A record of no items.
const NOTHING: [u8; HEAD] = [0; HEAD];

fn encode(record: &Record) -> Vec<u8> {
    let mut head = record.items.to_le_bytes();
    head[HEAD - 1] = if record.scope == Scope::Foreign { FOREIGN } else { LIVEKIT };
    [&head, &record.bytes[..]].concat()
}

fn decode(number: u64, record: &Bytes) -> Option<Record> {
    let mut head: [u8; HEAD] = record.get(..HEAD)?.try_into().ok()?;
    let scope = match std::mem::take(&mut head[HEAD - 1]) {
        LIVEKIT => Scope::LiveKit,
        FOREIGN => Scope::Foreign,
        _ => return None,
    };
    let items = u64::from_le_bytes(head);
    Some(Record { scope, items, bytes: record.slice(HEAD..), number })
}
