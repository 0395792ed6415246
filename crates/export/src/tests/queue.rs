//! Random steps against a queue and its outbox: each record is sent once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use crate::outbox::{Outbox, OutboxSettings, Saved, Settled};
use crate::queue::{Batch, Queue};
use crate::record::{Record, Scope};
use crate::request::Assembler;
use livekit_otel_durable::store::{self, Directory, Files};
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;

#[derive(Debug, Clone)]
enum Step {
    // The engine creates records, with payloads of these sizes.
    Create(Vec<usize>),
    Take,
    // The nth of those in flight is answered; its first half alone where it is halved.
    Answer(usize, bool),
    Snapshot,
    // The process is killed.
    Restart,
    // This many bytes still fit on the disk.
    Capacity(usize),
}

#[derive(Debug)]
struct Small(AtomicUsize);

impl store::Disk for Small {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let capacity = self.0.load(Relaxed);
        if capacity == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = Files.write(file, &bytes[..bytes.len().min(capacity)])?;
        self.0.fetch_sub(written, Relaxed);
        Ok(written)
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::collection::vec(1usize..300, 1..12).prop_map(Step::Create),
        4 => Just(Step::Take),
        4 => (0usize..3, any::<bool>()).prop_map(|(nth, half)| Step::Answer(nth, half)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => prop_oneof![0usize..3000, Just(usize::MAX / 2)].prop_map(Step::Capacity),
    ]
}

struct Life<'a> {
    disk: Arc<Small>,
    directory: &'a Directory,
    assembler: Assembler,
    ledger: Arc<Ledger>,
    queue: Queue,
    in_flight: Vec<Batch>,
    // All that the engine ever created, and how much of it in this life.
    created: Vec<Record>,
    pushed: usize,
    saved: (Option<Saved>, usize),
    answered: BTreeSet<usize>,
}

fn queue(directory: &Directory, ledger: &Arc<Ledger>) -> Queue {
    let journal = livekit_otel_durable::journal::in_memory(1 << 20, ledger).0;
    let settings = OutboxSettings { directory, budget: journal.budget(), segment: 1 << 10 };
    // Little stays in memory.
    Queue::new(3000, Some(Outbox::open(Signal::Logs, settings, ledger).unwrap()))
}

fn index(record: &Record) -> usize {
    usize::from(u16::from_le_bytes([record.bytes[0], record.bytes[1]]))
}

impl Life<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Create(sizes) => {
                for size in sizes {
                    let index = u16::try_from(self.created.len()).unwrap();
                    let bytes = [&index.to_le_bytes()[..], &vec![0; size]].concat().into();
                    let scope = if size % 2 == 0 { Scope::LiveKit } else { Scope::Foreign };
                    self.created.push(Record { scope, items: 1, bytes, number: 0 });
                }
                self.push(usize::MAX);
            }
            // A replay continues meanwhile.
            Step::Take => {
                self.take();
                self.push(5);
            }
            Step::Answer(nth, half) => self.answer(nth, half),
            Step::Snapshot => {
                self.push(usize::MAX);
                // On a full disk the one before stays valid.
                if let Ok(saved) = self.queue.save() {
                    self.saved = (saved, self.pushed);
                }
            }
            Step::Capacity(bytes) => self.disk.0.store(bytes, Relaxed),
            Step::Restart => {
                self.in_flight.clear();
                self.ledger = Arc::default();
                self.queue = queue(self.directory, &self.ledger);
                self.queue.restore(self.saved.0, true);
                self.pushed = self.saved.1;
            }
        }
    }

    fn push(&mut self, most: usize) {
        let until = self.created.len().min(self.pushed.saturating_add(most));
        let (lost, _) = self.queue.push(self.created[self.pushed..until].iter().cloned());
        assert_eq!(lost, 0);
        self.pushed = until;
    }

    fn take(&mut self) {
        if self.in_flight.len() < 3 {
            let batch = self.queue.take(&self.assembler).unwrap();
            for record in batch.records() {
                assert!(!self.answered.contains(&index(record)), "{} again", index(record));
                let created = &self.created[index(record)];
                assert_eq!(*record, Record { number: record.number, ..created.clone() });
            }
            if !batch.records().is_empty() {
                self.in_flight.push(batch);
            }
        }
        assert_eq!(self.queue.take_damaged(), 0);
    }

    fn answer(&mut self, nth: usize, half: bool) {
        if nth >= self.in_flight.len() {
            return;
        }
        let mut batch = self.in_flight.remove(nth);
        if half && batch.records().len() > 1 {
            let second = batch.halve();
            self.in_flight.insert(nth, second);
        }
        self.queue.settle(&batch, Settled::Delivered { rejected: 0 });
        self.ledger.delivered(Signal::Logs, batch.records().len() as u64);
        for record in batch.records() {
            assert!(self.answered.insert(index(record)));
        }
    }
}

fn plays(steps: Vec<Step>) {
    let path = tempfile::tempdir().unwrap();
    let disk = Arc::new(Small(AtomicUsize::new(usize::MAX / 2)));
    let directory = Directory::open(path.path(), Arc::<Small>::clone(&disk)).unwrap();
    let ledger = Arc::default();
    let mut life = Life {
        disk,
        directory: &directory,
        assembler: Assembler::new(&[], 700),
        queue: queue(&directory, &ledger),
        ledger,
        in_flight: Vec::new(),
        created: Vec::new(),
        pushed: 0,
        saved: (None, 0),
        answered: BTreeSet::new(),
    };
    for step in steps {
        life.step(step);
        assert_eq!(life.ledger.snapshot().check(), Ok(()));
    }
    life.step(Step::Capacity(usize::MAX / 2));
    life.push(usize::MAX);
    while !life.queue.is_empty() || !life.in_flight.is_empty() {
        life.take();
        life.answer(0, false);
    }
    assert_eq!(life.answered.len(), life.created.len());
    // The sender counts them in the ledger; after a restart the outbox does.
    life.step(Step::Restart);
    let output = life.ledger.snapshot().outputs[Signal::Logs as usize].clone();
    assert_eq!(output.delivered, life.created.len() as u64);
    life.push(usize::MAX);
    let output = life.ledger.snapshot().outputs[Signal::Logs as usize].clone();
    assert_eq!((output.accepted, output.waiting()), (life.created.len() as u64, 0));
}

#[test]
fn records_settled_before_they_were_on_disk_are_not_missing_there() {
    use Step::{Answer, Create, Restart, Snapshot, Take};
    let created = [Create(vec![178, 224]), Create(vec![101, 191, 211]), Snapshot, Take, Take, Take];
    let answered = [Answer(0, false), Create(vec![1, 1]), Take, Answer(0, false), Answer(1, true)];
    let after = [Restart, Take, Answer(0, false), Snapshot];
    plays(created.into_iter().chain(answered).chain(after).collect());
}

#[test]
fn records_partly_written_to_a_full_disk_are_sent_once() {
    use Step::{Capacity, Create, Snapshot, Take};
    plays(vec![Create(vec![300; 9]), Capacity(1500), Snapshot, Take, Take, Take]);
}

proptest! {
    #[test]
    fn records_answered_in_any_order_are_sent_once_across_restarts_and_full_disks(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        plays(steps);
    }
}

// Ten records in a snapshot, four of them delivered. Then `damage` is done.
fn restarts_after(damage: impl Fn(&std::path::Path), lost: u64, left: u64) {
    let path = tempfile::tempdir().unwrap();
    let directory = Directory::open(path.path(), Arc::new(Files)).unwrap();
    let assembler = Assembler::new(&[], 700);
    let ledger = Arc::default();
    let before = queue(&directory, &ledger);
    let record =
        || Record { scope: Scope::LiveKit, items: 3, bytes: vec![0; 120].into(), number: 0 };
    before.push((0..10).map(|_| record()));
    let batch = before.take(&assembler).unwrap();
    assert_eq!(batch.records().len(), 4);
    before.settle(&batch, Settled::Delivered { rejected: 0 });
    let saved = before.save().unwrap();
    drop(before);
    damage(&path.path().join("outbox"));
    for _ in 0..2 {
        let ledger = Arc::default();
        let queue = queue(&directory, &ledger);
        queue.restore(saved, true);
        let row = ledger.snapshot().outputs[Signal::Logs as usize].clone();
        assert_eq!((row.accepted, row.lost_sum(), row.waiting()), (30, lost, left));
        assert!(row.lost.contains(&(Lost::Damaged, lost)), "{row:?}");
        let mut taken = 0;
        while !queue.is_empty() {
            taken += queue.take(&assembler).unwrap().records().len() as u64 * 3;
        }
        assert_eq!((taken, queue.take_damaged()), (left, 0));
    }
}

#[test]
fn a_removed_outbox_is_lost_and_nothing_of_it_waits() {
    let of_one = |outbox: &std::path::Path| std::fs::remove_dir_all(outbox.join("logs")).unwrap();
    restarts_after(of_one, 18, 0);
    let of_all = |outbox: &std::path::Path| std::fs::remove_dir_all(outbox).unwrap();
    restarts_after(of_all, 30, 0);
    let nothing = |_: &std::path::Path| {};
    restarts_after(nothing, 0, 18);
}

#[test]
fn without_the_progress_file_records_on_disk_are_sent_and_counted_once() {
    let slots =
        |outbox: &std::path::Path| std::fs::remove_file(outbox.join("logs.delivered")).unwrap();
    restarts_after(slots, 12, 18);
}

#[test]
fn after_a_damaged_snapshot_no_earlier_number_is_used_for_another_record() {
    let path = tempfile::tempdir().unwrap();
    let directory = Directory::open(path.path(), Arc::new(Files)).unwrap();
    let assembler = Assembler::new(&[], 4000);
    let record =
        || Record { scope: Scope::LiveKit, items: 1, bytes: vec![0; 20].into(), number: 0 };
    let ledger = Arc::default();
    let before = queue(&directory, &ledger);
    before.push((0..5).map(|_| record()));
    let saved = before.save().unwrap();
    before.push((0..5).map(|_| record()));
    while !before.is_empty() {
        let batch = before.take(&assembler).unwrap();
        before.settle(&batch, Settled::Delivered { rejected: 0 });
    }
    drop(before);
    let after = queue(&directory, &Arc::default());
    after.restore(saved, false);
    after.push((0..3).map(|_| record()));
    let batch = after.take(&assembler).unwrap();
    assert_eq!(batch.records().len(), 3, "they are mistaken for delivered ones");
}
