//! What is answered in any order is sent once, across restarts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::super::outbox::{Disk, Outbox, Saved, Settled};
use super::super::queue::{Batch, Queue};
use super::super::record::{Record, Scope};
use super::super::request::Assembler;
use super::*;
use livekit_otel_durable::store::{self, Directory, Files};
use livekit_otel_ledger::Lost;

#[derive(Debug, Clone)]
enum Step {
    // The engine makes records, each with a payload of so many bytes.
    Make(Vec<usize>),
    Take,
    // The nth of those in flight is answered; its first half alone where it is halved.
    Answer(usize, bool),
    Snapshot,
    // The process is killed.
    Restart,
    // So many bytes still fit on the disk.
    Room(usize),
}

#[derive(Debug)]
struct Small(AtomicUsize);

impl store::Disk for Small {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let room = self.0.load(Relaxed);
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = Files.write(file, &bytes[..bytes.len().min(room)])?;
        self.0.fetch_sub(written, Relaxed);
        Ok(written)
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::collection::vec(1usize..300, 1..12).prop_map(Step::Make),
        4 => Just(Step::Take),
        4 => (0usize..3, any::<bool>()).prop_map(|(nth, half)| Step::Answer(nth, half)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => prop_oneof![0usize..3000, Just(usize::MAX / 2)].prop_map(Step::Room),
    ]
}

struct Life<'a> {
    disk: Arc<Small>,
    directory: &'a Directory,
    assembler: Assembler,
    ledger: Arc<Ledger>,
    queue: Queue,
    in_flight: Vec<Batch>,
    // All that the engine ever made, and how much of it in this life.
    made: Vec<Record>,
    pushed: usize,
    saved: (Option<Saved>, usize),
    answered: BTreeSet<usize>,
}

fn queue(directory: &Directory, ledger: &Arc<Ledger>) -> Queue {
    let journal = livekit_otel_durable::journal::in_memory(1 << 20, ledger).0;
    let disk = Disk { directory, room: journal.budget(), segment: 1 << 10 };
    // Little stays in memory.
    Queue::new(3000, Some(Outbox::open(Signal::Logs, disk, ledger).unwrap()))
}

fn index(record: &Record) -> usize {
    usize::from(u16::from_le_bytes([record.bytes[0], record.bytes[1]]))
}

impl Life<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Make(sizes) => {
                for size in sizes {
                    let index = u16::try_from(self.made.len()).unwrap();
                    let bytes = [&index.to_le_bytes()[..], &vec![0; size]].concat().into();
                    self.made.push(Record { scope: Scope::LiveKit, items: 1, bytes, number: 0 });
                }
                self.push(usize::MAX);
            }
            // A replay goes on beside it.
            Step::Take => {
                self.take();
                self.push(5);
            }
            Step::Answer(nth, half) => self.answer(nth, half),
            Step::Snapshot => {
                self.push(usize::MAX);
                // On a full disk the one before holds.
                if let Ok(saved) = self.queue.save() {
                    self.saved = (saved, self.pushed);
                }
            }
            Step::Room(bytes) => self.disk.0.store(bytes, Relaxed),
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
        let until = self.made.len().min(self.pushed.saturating_add(most));
        let (lost, _) = self.queue.push(self.made[self.pushed..until].iter().cloned());
        assert_eq!(lost, 0);
        self.pushed = until;
    }

    fn take(&mut self) {
        if self.in_flight.len() < 3 {
            let batch = self.queue.take(&self.assembler).unwrap();
            for record in &batch.records {
                assert!(!self.answered.contains(&index(record)), "{} again", index(record));
            }
            if !batch.records.is_empty() {
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
        if half && batch.records.len() > 1 {
            let second = batch.halve();
            self.in_flight.insert(nth, second);
        }
        self.queue.settle(&batch, Settled::Delivered { rejected: 0 });
        self.ledger.delivered(Signal::Logs, batch.records.len() as u64);
        for record in &batch.records {
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
        made: Vec::new(),
        pushed: 0,
        saved: (None, 0),
        answered: BTreeSet::new(),
    };
    for step in steps {
        life.step(step);
        assert_eq!(life.ledger.snapshot().check(), Ok(()));
    }
    life.step(Step::Room(usize::MAX / 2));
    life.push(usize::MAX);
    while !life.queue.is_empty() || !life.in_flight.is_empty() {
        life.take();
        life.answer(0, false);
    }
    assert_eq!(life.answered.len(), life.made.len());
    // The ledger's own count of them is the courier's: the outbox restores it.
    life.step(Step::Restart);
    let output = life.ledger.snapshot().outputs[Signal::Logs as usize].clone();
    assert_eq!(output.delivered, life.made.len() as u64);
    life.push(usize::MAX);
    let output = life.ledger.snapshot().outputs[Signal::Logs as usize].clone();
    assert_eq!((output.accepted, output.waiting()), (life.made.len() as u64, 0));
}

#[test]
fn what_was_answered_before_it_was_on_disk_is_not_missed_there() {
    use Step::{Answer, Make, Restart, Snapshot, Take};
    let made = [Make(vec![178, 224]), Make(vec![101, 191, 211]), Snapshot, Take, Take, Take];
    let answered = [Answer(0, false), Make(vec![1, 1]), Take, Answer(0, false), Answer(1, true)];
    let after = [Restart, Take, Answer(0, false), Snapshot];
    plays(made.into_iter().chain(answered).chain(after).collect());
}

#[test]
fn what_a_full_disk_took_a_part_of_is_sent_once() {
    use Step::{Make, Room, Snapshot, Take};
    plays(vec![Make(vec![300; 9]), Room(1500), Snapshot, Take, Take, Take]);
}

proptest! {
    #[test]
    fn what_is_answered_in_any_order_is_sent_once_across_restarts_and_full_disks(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        plays(steps);
    }
}

// Ten records, of which a snapshot knows; four of them are delivered. Then `damage` is done.
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
    assert_eq!(batch.records.len(), 4);
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
            taken += queue.take(&assembler).unwrap().records.len() as u64 * 3;
        }
        assert_eq!((taken, queue.take_damaged()), (left, 0));
    }
}

#[test]
fn an_outbox_that_is_gone_is_lost_and_waits_for_nothing() {
    let of_one = |outbox: &std::path::Path| std::fs::remove_dir_all(outbox.join("logs")).unwrap();
    restarts_after(of_one, 18, 0);
    let of_all = |outbox: &std::path::Path| std::fs::remove_dir_all(outbox).unwrap();
    restarts_after(of_all, 30, 0);
    let nothing = |_: &std::path::Path| {};
    restarts_after(nothing, 0, 18);
}

#[test]
fn where_it_is_not_known_how_far_was_delivered_the_rest_is_sent_and_counted_once() {
    let slots =
        |outbox: &std::path::Path| std::fs::remove_file(outbox.join("logs.delivered")).unwrap();
    restarts_after(slots, 12, 18);
}

#[test]
fn after_a_snapshot_in_parts_no_number_of_before_is_used_for_another_record() {
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
    assert_eq!(batch.records.len(), 3, "they are taken for others that were delivered");
}
