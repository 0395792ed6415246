//! What waits for delivery, in memory up to a number of bytes; where there is a journal on disk, the
//! rest of it is there.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::outbox::{Outbox, Saved, Settled};
use super::record::Record;
use super::request::Assembler;
use livekit_otel_ledger::Lost;

/// The queue of a signal.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    pub(super) more: Notify,
    less: Notify,
    max_bytes: usize,
    full: AtomicBool,
    // The collector does not take what is sent.
    failing: AtomicBool,
}

// What may wait before whoever makes a lot at once waits too: enough that the next request is there
// when the last was taken.
const AHEAD: usize = 2 << 20;

#[derive(Debug, Default)]
struct Waiting {
    memory: VecDeque<Record>,
    bytes: usize,
    // Taken for delivery, in its order, from the first that is not settled on; without those that are.
    in_flight: VecDeque<Option<Record>>,
    // How many bytes of them are not on disk.
    flying: usize,
    // The place of the first of them, among all that were ever taken.
    place: u64,
    closed: bool,
    // The disk could not take what is over the limit.
    stalled: bool,
    outbox: Option<Outbox>,
}

/// What was taken for delivery together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    // The first record's, among all that were ever taken.
    place: u64,
}

impl Batch {
    /// Parts it in the middle; gives the second half.
    pub(super) fn halve(&mut self) -> Self {
        let middle = self.records.len() / 2;
        Self { records: self.records.split_off(middle), place: self.place + middle as u64 }
    }
}

impl Queue {
    pub(super) fn new(max_bytes: usize, outbox: Option<Outbox>) -> Self {
        let waiting = Waiting { outbox, ..Waiting::default() };
        Self {
            waiting: Mutex::new(waiting),
            more: Notify::new(),
            less: Notify::new(),
            max_bytes,
            full: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    /// Queues records in their order; gives how many items found no room, and why.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Record>) -> (u64, Lost) {
        let mut waiting = self.waiting();
        let (mut lost, is_closed) = (0, waiting.closed);
        for mut record in records {
            if is_closed && (waiting.outbox.is_none() || record.is_own()) {
                lost += record.items;
                continue;
            }
            if waiting.bytes + record.bytes.len() > self.max_bytes && !waiting.stalled {
                // Where that fails whoever made them has to wait until it succeeds.
                let _ = waiting.spill();
            }
            let is_kept = waiting.outbox.as_mut().is_some_and(|outbox| outbox.number(&mut record));
            if !is_kept && waiting.outbox.is_some() && !record.is_own() {
                // It was delivered, or is on disk, since before a restart.
                continue;
            }
            if !is_kept && waiting.bytes + record.bytes.len() > self.max_bytes {
                lost += record.items;
                continue;
            }
            waiting.bytes += record.bytes.len();
            waiting.memory.push_back(record);
        }
        waiting.note();
        drop(waiting);
        self.more.notify_one();
        (lost, if is_closed { Lost::Shutdown } else { Lost::QueueFull })
    }

    /// How many items of these records are counted as accepted by whoever pushes them: on disk that is
    /// done as they are numbered, since a replay makes some again.
    pub(super) fn uncounted(&self, records: &[Record]) -> u64 {
        let on_disk = self.waiting().outbox.is_some();
        let uncounted = records.iter().filter(|record| !on_disk || record.is_own());
        uncounted.map(|record| record.items).sum()
    }

    /// Returns once little waits, or what waits does not become less.
    pub(super) async fn wait_for_capacity(&self) {
        loop {
            let less = self.less.notified();
            let waits = {
                let waiting = self.waiting();
                waiting.bytes > AHEAD && !waiting.closed && !self.is_failing()
            };
            if !waits {
                return;
            }
            less.await;
        }
    }

    /// Whether the collector does not take what is sent.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    /// Whether the collector does not take what is sent.
    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Relaxed);
        self.less.notify_waiters();
    }

    /// Takes out what the program told of itself and still waits; gives how many items that are.
    pub(super) fn supersede_own(&self) -> u64 {
        let mut waiting = self.waiting();
        let own = waiting.memory.iter().filter(|record| record.is_own());
        let items = own.map(|record| record.items).sum();
        waiting.memory.retain(|record| !record.is_own());
        waiting.bytes = waiting.memory.iter().map(|record| record.bytes.len()).sum();
        items
    }

    /// Whether this is the first push after one that fitted which did not: worth a line in the log.
    pub(super) fn is_newly_full(&self, full: bool) -> bool {
        !self.full.swap(full, Relaxed) && full
    }

    /// Whether there is more than fits, and the disk could not take it. Tries it again.
    pub(super) fn is_stalled(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.stalled && waiting.spill().is_err()
    }

    /// Closes the queue and gives how many items are lost by that: all, or where there is a disk
    /// those that were never to be there.
    pub(super) fn abandon(&self) -> u64 {
        let mut waiting = self.waiting();
        waiting.closed = true;
        self.less.notify_waiters();
        let lost = |record: &Record| record.number == 0;
        let waiting = &mut *waiting;
        let both = waiting.memory.iter().chain(waiting.in_flight.iter().flatten());
        let left = both.filter(|record| lost(record)).map(|record| record.items).sum();
        waiting.memory.retain(|record| !lost(record));
        for flying in &mut waiting.in_flight {
            flying.take_if(|record| lost(record));
        }
        waiting.bytes = waiting.memory.iter().map(|record| record.bytes.len()).sum();
        left
    }

    /// Takes what fits into a request. It stays in flight until it is settled.
    pub(super) fn take(&self, assembler: &Assembler) -> io::Result<Batch> {
        let mut waiting = self.waiting();
        let waiting = &mut *waiting;
        let from_disk = match &mut waiting.outbox {
            Some(outbox) => outbox.read(assembler)?,
            None => None,
        };
        let batch = from_disk.unwrap_or_else(|| {
            let count = assembler.fits(&waiting.memory);
            let batch: Vec<Record> =
                waiting.memory.drain(..count.min(waiting.memory.len())).collect();
            waiting.bytes -= batch.iter().map(|record| record.bytes.len()).sum::<usize>();
            batch
        });
        if let (Some(outbox), Some(last)) =
            (&mut waiting.outbox, batch.iter().rfind(|one| one.number > 0))
        {
            outbox.taken(last.number);
        }
        let place = waiting.place + waiting.in_flight.len() as u64;
        waiting.in_flight.extend(batch.iter().cloned().map(Some));
        waiting.note_flying();
        self.less.notify_waiters();
        Ok(Batch { records: batch, place })
    }

    /// How many items could not be read from the disk since the last time that this was asked.
    pub(super) fn take_damaged(&self) -> u64 {
        self.waiting().outbox.as_mut().map_or(0, Outbox::take_damaged)
    }

    /// These records are no longer in flight, though some before them may be.
    pub(super) fn settle(&self, batch: &Batch, how: Settled) {
        let mut waiting = self.waiting();
        let waiting = &mut *waiting;
        let places = batch.place..batch.place + batch.records.len() as u64;
        for (place, flying) in (waiting.place..).zip(&mut waiting.in_flight) {
            flying.take_if(|_| places.contains(&place));
        }
        while let Some(None) = waiting.in_flight.front() {
            waiting.in_flight.pop_front();
            waiting.place += 1;
        }
        let in_flight = waiting.in_flight.iter().flatten().map(|record| record.number);
        let unsettled = in_flight.filter(|number| *number > 0).min();
        if let Some(outbox) = &mut waiting.outbox {
            outbox.settle(&batch.records, how, unsettled);
        }
        waiting.note_flying();
    }

    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        let on_disk = waiting.outbox.as_ref().is_some_and(Outbox::has_unread);
        waiting.memory.is_empty() && !on_disk
    }

    pub(super) fn has_a_request(&self, assembler: &Assembler) -> bool {
        let waiting = self.waiting();
        let on_disk = waiting.outbox.as_ref().is_some_and(Outbox::has_unread);
        on_disk || assembler.fits(&waiting.memory) < waiting.memory.len()
    }

    /// Whether something made by a flush still waits.
    pub(super) fn is_backlogged(&self) -> bool {
        let waiting = self.waiting();
        let of_livekit = |record: &Record| !record.is_own();
        waiting.memory.iter().any(of_livekit)
            || waiting.in_flight.iter().flatten().any(of_livekit)
            || waiting.outbox.as_ref().is_some_and(Outbox::has_unread)
    }

    /// Puts all that waits on disk; gives what a snapshot has to know of it. Blocking; nobody else
    /// waits for it.
    pub(super) fn save(&self) -> io::Result<Option<Saved>> {
        let (saved, unsaved) = {
            let mut waiting = self.waiting();
            if waiting.outbox.is_none() {
                return Ok(None);
            }
            waiting.spill()?;
            let Some(outbox) = &mut waiting.outbox else { return Ok(None) };
            outbox.save()?
        };
        let synced = unsaved.sync();
        if let (Err(_), Some(outbox)) = (&synced, &mut self.waiting().outbox) {
            outbox.put_back(unsaved);
        }
        synced.map(|()| Some(saved))
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&self, saved: Option<Saved>, is_whole: bool) {
        if let Some(outbox) = &mut self.waiting().outbox {
            outbox.restore(saved, is_whole);
        }
    }

    /// How far records are numbered.
    pub(super) fn numbered(&self) -> Saved {
        self.waiting().outbox.as_ref().map(Outbox::numbered).unwrap_or_default()
    }

    /// Leaves out the numbers before these.
    pub(super) fn skip_to(&self, numbered: Saved) {
        if let Some(outbox) = &mut self.waiting().outbox {
            outbox.skip_to(numbered);
        }
    }

    #[cfg(test)]
    pub(super) fn is_drained(&self) -> bool {
        self.is_empty() && !self.waiting().in_flight.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

impl Waiting {
    // Writes what is only in memory to the disk, and reads it from there when its turn comes.
    fn spill(&mut self) -> io::Result<()> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let written = outbox.write(self.in_flight.iter().flatten().chain(&self.memory));
        self.stalled = written.is_err();
        // Of what could not be written as a whole the part that was is read from there too.
        self.memory.retain(|record| record.number == 0 || !outbox.has(record));
        self.bytes = self.memory.iter().map(|record| record.bytes.len()).sum();
        self.note_flying();
        written
    }

    fn note_flying(&mut self) {
        if let Some(outbox) = &self.outbox {
            let unwritten = self.in_flight.iter().flatten().filter(|record| !outbox.has(record));
            self.flying = unwritten.map(|record| record.bytes.len()).sum();
            self.note();
        }
    }

    // A snapshot has to find room for what is not on disk.
    fn note(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.unwritten(self.bytes + self.flying);
        }
    }
}
