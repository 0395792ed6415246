//! The part of a signal's queue that is on disk, and how far it was delivered.
//!
//! LiveKit's records are numbered in the order in which the engine makes them. That is a function of
//! the journal, so a number means the same record in each life of the process, and what was delivered
//! or is on disk is not queued again by a replay.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{Record, Scope};
use super::request::Assembler;
use livekit_otel_durable::journal::{Holder, IntakeBudget};
use livekit_otel_durable::store::{Directory, Log, Reader, Slots, Unsynced};
use livekit_otel_ledger::{Delivered, Ledger, Lost};
use livekit_otel_model::Signal;

/// What a snapshot has to know of a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Saved {
    next: u64,
    items: u64,
}

/// Where what waits is kept.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Where.
    pub directory: &'a Directory,
    /// How much room there is.
    pub room: &'a Arc<IntakeBudget>,
    /// How large a segment is.
    pub segment: u64,
}

/// How far a signal was delivered, and what became of it until there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    // All until here.
    settled: u64,
    counts: Delivered,
    // Ranges behind it that were answered before it: few, as requests in flight are.
    beyond: Vec<(u64, u64)>,
    // The next number that was not given yet, and how many items all before it have: what is on disk or
    // answered is among them.
    next: u64,
    items: u64,
}

impl Progress {
    // One without the last two is of a version before them.
    fn read(value: &[u8]) -> Option<Self> {
        postcard::from_bytes(value).ok().or_else(|| {
            let (settled, counts, beyond) = postcard::from_bytes(value).ok()?;
            let mut progress = Self { settled, counts, beyond, next: 0, items: 0 };
            progress.next = progress.last() + 1;
            progress.items = progress.counts.sum();
            Some(progress)
        })
    }

    // How many numbers from `first` to before `next` were not answered.
    fn unsettled(&self, first: u64, next: u64) -> u64 {
        let within = |from: u64, until: u64| until.min(next).saturating_sub(from.max(first));
        let beyond = self.beyond.iter().map(|(from, last)| within(*from, last + 1));
        within(first, next) - within(0, self.settled + 1) - beyond.sum::<u64>()
    }

    fn is_settled(&self, number: u64) -> bool {
        let is_within = |(first, last): &(u64, u64)| (*first..=*last).contains(&number);
        number <= self.settled || self.beyond.iter().any(is_within)
    }

    fn last(&self) -> u64 {
        self.beyond.last().map_or(self.settled, |(_, last)| *last)
    }

    // What is below `unsettled` is settled, or never was.
    fn settle(&mut self, first: u64, last: u64, unsettled: u64) {
        let at = self.beyond.partition_point(|(other, _)| *other < first);
        self.beyond.insert(at, (first, last));
        self.beyond.dedup_by(|next, before| {
            let adjoins = next.0 <= before.1 + 1;
            if adjoins {
                before.1 = before.1.max(next.1);
            }
            adjoins
        });
        let done = self.beyond.partition_point(|(first, last)| {
            let is_next = *first <= self.settled + 1;
            is_next || *last < unsettled
        });
        let until = self.beyond.drain(..done).next_back().map_or(0, |(_, last)| last);
        self.settled = self.settled.max(until);
    }
}

/// What became of records that were in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Delivered { rejected: u64 },
    DeadLetters,
    Lost(Lost),
}

/// What of an outbox would not survive a loss of power: to be synced without the outbox.
#[derive(Debug)]
pub(super) struct Unsaved {
    log: Unsynced,
    slots: File,
}

impl Unsaved {
    /// Returns once it would.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync()?;
        self.slots.sync_data()
    }
}

#[derive(Debug)]
pub(super) struct Outbox {
    signal: Signal,
    path: PathBuf,
    // Whether it was noted how far was delivered.
    is_known: bool,
    log: Log,
    reader: Option<Reader>,
    // Read from the disk and not taken yet.
    ahead: VecDeque<Record>,
    damaged: u64,
    // What of it is to be noted with the progress, each with the number behind it.
    gaps: Vec<(u64, u64)>,
    slots: Slots,
    progress: Progress,
    room: Arc<IntakeBudget>,
    ledger: Arc<Ledger>,
    // Of all records that were numbered.
    items: u64,
    next: u64,
    taken: u64,
    // Those before it are accepted in the ledger, though a replay may be about to make them again.
    counted: u64,
}

impl Outbox {
    pub(super) fn open(signal: Signal, disk: Disk<'_>, ledger: &Arc<Ledger>) -> io::Result<Self> {
        let Disk { directory, room, segment } = disk;
        let path = directory.path().join("outbox").join(signal.as_str());
        let (log, damage) = Log::open(&path, Arc::clone(directory.disk()), segment)?;
        if !damage.is_none() {
            // What is missing is made again from the journal, unless the disk lost it later.
            tracing::warn!(signal = signal.as_str(), bytes = damage.bytes, "a torn end is cut off");
        }
        let (slots, value) = Slots::open(&slots_path(&path))?;
        let progress = value.and_then(|value| Progress::read(&value));
        let is_known = progress.is_some();
        let progress = progress.unwrap_or_default();
        ledger.queued(signal, progress.items);
        ledger.restore_output(signal, &progress.counts);
        room.set_usage(Holder::Outbox(signal), log.bytes());
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
            taken: progress.settled,
            counted: progress.next,
            progress,
            room: Arc::clone(room),
            ledger: Arc::clone(ledger),
            items: 0,
            next: 1,
        })
    }

    /// Goes on from a snapshot. Without one that is whole the numbers of before mean nothing: what
    /// is made from here on gets new ones.
    pub(super) fn restore(&mut self, saved: Option<Saved>, is_whole: bool) {
        if let Some(saved) = saved {
            // None, where the signal was not sent.
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
                "how far was delivered is not known: the file is missing or damaged, and what is on \
                 disk is sent again"
            );
        }
    }

    // What a snapshot knows of is answered or on disk, unless files are gone.
    fn find_missing(&mut self, saved: Saved) {
        let settled = self.progress.settled;
        let before = (settled + 1, self.log.first().min(saved.next));
        let behind = (self.log.next().max(settled + 1), saved.next);
        let gaps = [before, behind].map(|(first, next)| (first, next.max(first)));
        let records: u64 = gaps.iter().map(|gap| self.progress.unsettled(gap.0, gap.1)).sum();
        if records == 0 {
            return;
        }
        let known = self.progress.counts.sum() + self.items_on_disk(saved.next);
        // What was answered behind the snapshot is among the known: then records stand for items.
        let is_exact = self.progress.last() < saved.next;
        let items = if is_exact { saved.items.saturating_sub(known) } else { records };
        let directory = self.path.display();
        tracing::error!(
            signal = self.signal.as_str(), %directory, records, items,
            "files of what waited are gone: it is lost, where it was not delivered"
        );
        self.ledger.lost(self.signal, Lost::Damaged, items);
        self.progress.counts.lost[Lost::Damaged as usize] += items;
        for (first, next) in gaps.into_iter().filter(|(first, next)| first < next) {
            self.progress.settle(first, next - 1, 0);
        }
        self.taken = self.taken.max(self.progress.settled);
        if let Err(error) = self.note() {
            tracing::warn!(%error, signal = self.signal.as_str(), "what is lost can't be noted");
        }
    }

    // How many items before `next` are on disk and not answered.
    fn items_on_disk(&self, next: u64) -> u64 {
        let last = self.log.next().min(next) - 1;
        let mut reader = self.log.readers().from(self.progress.settled + 1);
        let mut items = 0;
        while let Ok(Some((number, record))) = reader.next(last) {
            if !self.progress.is_settled(number) {
                items += decode(number, &record).map_or(0, |record| record.items);
            }
        }
        items
    }

    /// Numbers a record, and counts it as accepted where it is made for the first time; whether it has
    /// to be queued.
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
        // What is in no part of the log was never put there.
        record.number >= self.log.next() && !self.progress.is_settled(record.number)
    }

    /// Whether there is something on disk that was not taken.
    pub(super) fn has_unread(&self) -> bool {
        !self.ahead.is_empty() || self.taken + 1 < self.log.next()
    }

    /// What fits into a request, from the disk; `None` where all there was taken.
    pub(super) fn read(&mut self, assembler: &Assembler) -> io::Result<Option<Vec<Record>>> {
        let mut bytes: usize = self.ahead.iter().map(|record| record.bytes.len()).sum();
        let mut from = self.ahead.back().map_or(self.taken, |record| record.number);
        let last = self.log.next() - 1;
        while from < last && bytes < assembler.max_bytes() {
            let reader = self.reader.get_or_insert_with(|| self.log.readers().from(from + 1));
            let read = reader.next(last);
            let read = read?;
            // Where all behind is damaged there is none.
            let number = read.as_ref().map_or(last + 1, |(number, _)| *number);
            self.miss(from + 1, number);
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
                None => self.miss(number, number + 1),
            }
        }
        if self.ahead.is_empty() {
            self.reader = None;
            return Ok(None);
        }
        let count = assembler.fits(&self.ahead);
        Ok(Some(self.ahead.drain(..count).collect()))
    }

    // What is damaged from `first` to before `next`. What was answered is not missed.
    fn miss(&mut self, first: u64, next: u64) {
        let missing = self.progress.unsettled(first, next);
        if missing > 0 {
            self.damaged += missing;
            self.gaps.push((next, missing));
        }
    }

    pub(super) fn taken(&mut self, number: u64) {
        self.taken = self.taken.max(number);
        if self.taken + 1 >= self.log.next() {
            self.reader = None;
        }
    }

    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Writes those of `records` that are not there. Where that fails some of them may be.
    pub(super) fn write<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> io::Result<()> {
        let mut group: Vec<Vec<u8>> = Vec::new();
        let new = records.filter(|record| record.number >= self.log.next().max(1));
        let new: Vec<&Record> = new.filter(|record| record.number > 0).collect();
        let Some(first) = new.first() else { return Ok(()) };
        if self.log.next() <= self.progress.settled + 1 {
            self.log.skip_to(first.number)?;
        }
        // First, so that nothing is on disk that a restart does not count.
        if let Err(error) = self.note() {
            tracing::warn!(%error, signal = self.signal.as_str(), "what waits can't be noted");
        }
        let mut bytes = 0;
        for record in &new {
            let next = self.log.next() + group.len() as u64;
            // Those between were answered, though some before them were not: of them, only the places.
            group.extend((next..record.number).map(|_| encode(0, &[])));
            if bytes > GROUP {
                self.append(&group)?;
                group.clear();
                bytes = 0;
            }
            bytes += record.bytes.len();
            group.push(encode(record.items, &record.bytes));
        }
        self.append(&group)
    }

    fn append(&mut self, group: &[Vec<u8>]) -> io::Result<()> {
        let appended = self.log.append(group, false);
        self.room.set_usage(Holder::Outbox(self.signal), self.log.bytes());
        appended
    }

    /// Notes what became of `settled`; `in_flight` is the first of all that still are.
    pub(super) fn settle(&mut self, settled: &[Record], how: Settled, in_flight: Option<u64>) {
        let kept: Vec<&Record> = settled.iter().filter(|record| record.number > 0).collect();
        let Some((first, last)) = kept.first().zip(kept.last()) else { return };
        let untaken = self.ahead.front().map_or(self.taken + 1, |record| record.number);
        let unsettled = in_flight.map_or(untaken, |number| number.min(untaken));
        self.progress.settle(first.number, last.number, unsettled);
        // What was answered before it was ever on disk is not looked for there.
        self.taken = self.taken.max(self.progress.settled);
        let n = kept.iter().map(|record| record.items).sum::<u64>();
        let counts = &mut self.progress.counts;
        match how {
            Settled::Delivered { rejected } => {
                let rejected = rejected.min(n);
                counts.delivered += n - rejected;
                counts.lost[Lost::Rejected as usize] += rejected;
            }
            Settled::DeadLetters => counts.dead_letters += n,
            Settled::Lost(why) => counts.lost[why as usize] += n,
        }
        let settled = self.progress.settled;
        // What is behind it is read again after a restart, and missed again.
        self.gaps.retain(|(next, missing)| {
            let is_passed = *next <= settled + 1;
            if is_passed {
                self.progress.counts.lost[Lost::Damaged as usize] += missing;
            }
            !is_passed
        });
        if let Err(error) = self.note() {
            // After a restart it would be sent again.
            tracing::warn!(%error, signal = self.signal.as_str(), "what was delivered can't be noted");
        }
        if let Err(error) = self.trim() {
            tracing::warn!(%error, signal = self.signal.as_str(), "what was delivered can't be removed");
        }
    }

    fn note(&mut self) -> io::Result<()> {
        (self.progress.next, self.progress.items) =
            (self.next.max(self.counted), self.items.max(self.progress.items));
        let value = postcard::to_stdvec(&self.progress).map_err(io::Error::other)?;
        self.slots.write(&value)
    }

    /// What a snapshot has to know, once the rest of what is given is synced.
    pub(super) fn save(&mut self) -> io::Result<(Saved, Unsaved)> {
        let slots = self.slots.file()?;
        let unsaved = Unsaved { log: self.log.take_unsynced()?, slots };
        Ok((self.numbered(), unsaved))
    }

    /// How far records are numbered.
    pub(super) fn numbered(&self) -> Saved {
        Saved { next: self.next, items: self.items }
    }

    /// Leaves out the numbers before these.
    pub(super) fn skip_to(&mut self, numbered: Saved) {
        if numbered.next > self.next {
            (self.next, self.items) = (numbered.next, numbered.items);
        }
    }

    /// Has what could not be synced synced with the next.
    pub(super) fn put_back(&mut self, unsaved: Unsaved) {
        self.log.put_back(unsaved.log);
    }

    /// Whether a record is on disk, or never will be.
    pub(super) fn has(&self, record: &Record) -> bool {
        record.number < self.log.next()
    }

    /// Notes how many bytes wait that are not on disk.
    pub(super) fn unwritten(&self, bytes: usize) {
        self.room.set_usage(Holder::Unwritten(self.signal), bytes as u64);
    }

    fn trim(&mut self) -> io::Result<()> {
        let settled = self.progress.settled;
        // The file that is written to as well, where nothing in it is needed.
        if settled + 1 >= self.log.next() && (self.log.bytes() >= WORTH_IT || self.room.is_short())
        {
            self.log.roll(settled)?;
        }
        self.log.drop_until(settled)?;
        self.room.set_usage(Holder::Outbox(self.signal), self.log.bytes());
        Ok(())
    }
}

// What is begun anew for less costs more than it frees.
const WORTH_IT: u64 = 64 << 10;
// What is written at once. Of tests little, so that a full disk takes a part of what waits.
const GROUP: usize = if cfg!(test) { 500 } else { 4 << 20 };

fn slots_path(path: &Path) -> std::path::PathBuf {
    path.with_extension("delivered")
}

fn encode(items: u64, record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + record.len());
    bytes.extend(items.to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

fn decode(number: u64, record: &Bytes) -> Option<Record> {
    let items = record.get(..8)?.try_into().ok()?;
    let items = u64::from_le_bytes(items);
    Some(Record { scope: Scope::LiveKit, items, bytes: record.slice(8..), number })
}
