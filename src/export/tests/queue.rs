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
use crate::store::{self, Directory, Files};

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
    let journal = crate::journal::in_memory(1 << 20, ledger).0;
    let disk = Disk { directory, room: journal.room(), segment: 1 << 10 };
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
