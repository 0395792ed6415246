//! A signal's queue: records in memory up to a number of bytes, and with a journal on disk the rest in the
//! outbox.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::outbox::{Outbox, Saved, Settled};
use crate::record::Record;
use crate::request::Assembler;
use livekit_otel_ledger::Lost;

/// The queue of a signal.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    // Notified when records are queued.
    more: Notify,
    // Notified when there may be capacity.
    less: Notify,
    max_bytes: usize,
    // The collector does not accept requests.
    is_failing: AtomicBool,
}

// How many bytes may wait before a flush pauses: enough that the next request is ready when the last one is
// taken.
const AHEAD: usize = 2 << 20;

#[derive(Debug, Default)]
struct Waiting {
    memory: VecDeque<Record>,
    bytes: usize,
    // Taken for delivery, in order, from the first that is not settled; `None` in place of settled ones.
    in_flight: VecDeque<Option<Record>>,
    // How many bytes of `in_flight` are not on disk.
    in_flight_unwritten: usize,
    // The place of the first in flight, among all records that were ever taken.
    place: u64,
    is_closed: bool,
    // Records over the limit could not be written to disk.
    is_stalled: bool,
    outbox: Option<Outbox>,
}

/// Records that were taken for delivery together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    // The place of the first record, among all that were ever taken.
    place: u64,
}

impl Batch {
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Splits the batch in the middle and returns the second half.
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
            is_failing: AtomicBool::new(false),
        }
    }

    /// Queues records in order. Returns how many items found no capacity, and why.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Record>) -> (u64, Lost) {
        let mut waiting = self.waiting();
        let (mut lost, is_closed) = (0, waiting.is_closed);
        for mut record in records {
            if is_closed && (waiting.outbox.is_none() || record.is_own()) {
                lost += record.items;
                continue;
            }
            if waiting.bytes + record.bytes.len() > self.max_bytes && !waiting.is_stalled {
                // Where this fails, the engine pauses until it succeeds (`is_stalled`).
                let _ = waiting.spill();
            }
            let must_queue =
                waiting.outbox.as_mut().is_some_and(|outbox| outbox.number(&mut record));
            if !must_queue && waiting.outbox.is_some() && !record.is_own() {
                // Before a restart it was delivered or written to disk.
                continue;
            }
            if !must_queue && waiting.bytes + record.bytes.len() > self.max_bytes {
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

    /// How many items of `records` the caller has to count as accepted. With an outbox they are counted as they
    /// are numbered, since a replay creates some of them again.
    pub(super) fn uncounted(&self, records: &[Record]) -> u64 {
        let on_disk = self.waiting().outbox.is_some();
        let uncounted = records.iter().filter(|record| !on_disk || record.is_own());
        uncounted.map(|record| record.items).sum()
    }

    /// Returns once records are queued.
    pub(super) async fn wait_for_records(&self) {
        self.more.notified().await;
    }

    /// Returns once little waits, or when waiting would not help.
    pub(super) async fn wait_for_capacity(&self) {
        loop {
            let less = self.less.notified();
            let waits = {
                let waiting = self.waiting();
                waiting.bytes > AHEAD && !waiting.is_closed && !self.is_failing()
            };
            if !waits {
                return;
            }
            less.await;
        }
    }

    /// Whether the collector does not accept requests.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Relaxed)
    }

    pub(super) fn set_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Relaxed);
        self.less.notify_waiters();
    }

    /// Removes the program's own metrics that still wait, and returns how many items they were.
    pub(super) fn supersede_own(&self) -> u64 {
        let mut waiting = self.waiting();
        let own = waiting.memory.iter().filter(|record| record.is_own());
        let items = own.map(|record| record.items).sum();
        waiting.memory.retain(|record| !record.is_own());
        waiting.bytes = waiting.memory.iter().map(|record| record.bytes.len()).sum();
        items
    }

    /// How many bytes wait in memory, and how many may; `None` if the rest waits on disk.
    pub(super) fn memory_use(&self) -> Option<(u64, u64)> {
        let waiting = self.waiting();
        waiting.outbox.is_none().then_some((waiting.bytes as u64, self.max_bytes as u64))
    }

    /// Whether records over the limit can't be written to disk. Tries again.
    pub(super) fn is_stalled(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.is_stalled && waiting.spill().is_err()
    }

    /// Closes the queue and returns how many items are lost: all, or with an outbox those that are never
    /// written there.
    pub(super) fn abandon(&self) -> u64 {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        self.less.notify_waiters();
        let is_lost = |record: &Record| record.number == 0;
        let waiting = &mut *waiting;
        let both = waiting.memory.iter().chain(waiting.in_flight.iter().flatten());
        let left = both.filter(|record| is_lost(record)).map(|record| record.items).sum();
        waiting.memory.retain(|record| !is_lost(record));
        for record in &mut waiting.in_flight {
            record.take_if(|record| is_lost(record));
        }
        waiting.bytes = waiting.memory.iter().map(|record| record.bytes.len()).sum();
        left
    }

    /// Takes the records that fit into a request. They stay in flight until they are settled.
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
            outbox.set_taken(last.number);
        }
        let place = waiting.place + waiting.in_flight.len() as u64;
        waiting.in_flight.extend(batch.iter().cloned().map(Some));
        waiting.note_in_flight();
        self.less.notify_waiters();
        Ok(Batch { records: batch, place })
    }

    /// How many items could not be read from disk since the last call.
    pub(super) fn take_damaged(&self) -> u64 {
        self.waiting().outbox.as_mut().map_or(0, Outbox::take_damaged)
    }

    /// Removes `batch` from the records in flight; earlier ones may stay there.
    pub(super) fn settle(&self, batch: &Batch, outcome: Settled) {
        let mut waiting = self.waiting();
        let waiting = &mut *waiting;
        let places = batch.place..batch.place + batch.records.len() as u64;
        for (place, record) in (waiting.place..).zip(&mut waiting.in_flight) {
            record.take_if(|_| places.contains(&place));
        }
        while let Some(None) = waiting.in_flight.front() {
            waiting.in_flight.pop_front();
            waiting.place += 1;
        }
        let in_flight = waiting.in_flight.iter().flatten().map(|record| record.number);
        let unsettled = in_flight.filter(|number| *number > 0).min();
        if let Some(outbox) = &mut waiting.outbox {
            outbox.settle(&batch.records, outcome, unsettled);
        }
        waiting.note_in_flight();
    }

    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        let on_disk = waiting.outbox.as_ref().is_some_and(Outbox::has_unread);
        waiting.memory.is_empty() && !on_disk
    }

    /// Whether the queue fills a request.
    pub(super) fn has_whole_request(&self, assembler: &Assembler) -> bool {
        let waiting = self.waiting();
        let on_disk = waiting.outbox.as_ref().is_some_and(Outbox::has_unread);
        on_disk || assembler.fits(&waiting.memory) < waiting.memory.len()
    }

    /// Whether LiveKit's records still wait or are in flight.
    pub(super) fn is_backlogged(&self) -> bool {
        let waiting = self.waiting();
        let is_livekits = |record: &Record| !record.is_own();
        waiting.memory.iter().any(is_livekits)
            || waiting.in_flight.iter().flatten().any(is_livekits)
            || waiting.outbox.as_ref().is_some_and(Outbox::has_unread)
    }

    /// Writes all waiting records to disk and returns what a snapshot stores of the queue; `None` without an
    /// outbox. Blocks, but holds no lock while it syncs.
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

    /// Resumes from a snapshot.
    pub(super) fn restore(&self, saved: Option<Saved>, is_whole: bool) {
        if let Some(outbox) = &mut self.waiting().outbox {
            outbox.restore(saved, is_whole);
        }
    }

    /// The position behind the last numbered record.
    pub(super) fn numbered(&self) -> Saved {
        self.waiting().outbox.as_ref().map(Outbox::numbered).unwrap_or_default()
    }

    /// Continues numbering from here, unless it is further already.
    pub(super) fn skip_to(&self, position: Saved) {
        if let Some(outbox) = &mut self.waiting().outbox {
            outbox.skip_to(position);
        }
    }

    #[cfg(test)]
    pub(super) fn is_in_flight(&self) -> bool {
        self.is_empty() && !self.waiting().in_flight.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

impl Waiting {
    // Writes to disk what is in memory alone; it is read back when its turn comes.
    fn spill(&mut self) -> io::Result<()> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let written = outbox.write(self.in_flight.iter().flatten().chain(&self.memory));
        self.is_stalled = written.is_err();
        // Where a part alone was written, that part is read from there too.
        self.memory.retain(|record| record.number == 0 || !outbox.has(record));
        self.bytes = self.memory.iter().map(|record| record.bytes.len()).sum();
        self.note_in_flight();
        written
    }

    fn note_in_flight(&mut self) {
        if let Some(outbox) = &self.outbox {
            let unwritten = self.in_flight.iter().flatten().filter(|record| !outbox.has(record));
            self.in_flight_unwritten = unwritten.map(|record| record.bytes.len()).sum();
            self.note();
        }
    }

    // The budget includes what a snapshot would still have to write.
    fn note(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.set_unwritten(self.bytes + self.in_flight_unwritten);
        }
    }
}
