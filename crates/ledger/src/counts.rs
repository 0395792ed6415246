//! The counters of the process.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use livekit_otel_model::event::Unknown;
use livekit_otel_model::{Signal, Source};

use crate::connections::{self, Listener};
use crate::health::Health;
use crate::reason::{Lost, RecordingOutcome, Refused};
use crate::snapshot::{Delivered, Input, Output, Processed, Snapshot};

#[derive(Debug, Default)]
struct InputCounts {
    accepted: AtomicU64,
    processed: AtomicU64,
    duplicates: AtomicU64,
    merged: AtomicU64,
    dead_letters: AtomicU64,
    unusable: AtomicU64,
    refused: [AtomicU64; 13],
}

#[derive(Debug, Default)]
struct OutputCounts {
    accepted: AtomicU64,
    delivered: AtomicU64,
    dead_letters: AtomicU64,
    lost: [AtomicU64; 7],
}

/// The counts of the process, shared by all that accept, process or deliver.
#[derive(Debug, Default)]
pub struct Ledger {
    inputs: [InputCounts; 12],
    outputs: [OutputCounts; 3],
    connections: [connections::Counts; 4],
    recordings: [AtomicU64; 3],
    unknown_event_types: AtomicU64,
    unknown_enum_values: AtomicU64,
    unknown_fields: AtomicU64,
    forgotten_ids: AtomicU64,
    forgotten_ended: AtomicU64,
    journal_damaged: AtomicU64,
    snapshot_damaged: AtomicU64,
    journal_failures: AtomicU64,
    durable: AtomicBool,
    health: Health,
}

impl Ledger {
    /// What does not work now.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// `n` items of `source` (webhooks, events, stats, lists of rooms) are in the journal. To be counted
    /// before they can be processed.
    pub fn accepted(&self, source: Source, n: u64) {
        self.inputs[source as usize].accepted.fetch_add(n, Release);
    }

    /// Takes back `n` accepted items that did not reach the journal.
    pub fn withdrawn(&self, source: Source, n: u64) {
        self.inputs[source as usize].accepted.fetch_sub(n, Release);
    }

    /// `n` accepted items were processed.
    pub fn processed(&self, source: Source, n: u64) {
        self.inputs[source as usize].processed.fetch_add(n, Release);
    }

    /// `n` of the processed items had the id of an earlier one and changed nothing.
    pub fn duplicates(&self, source: Source, n: u64) {
        self.inputs[source as usize].duplicates.fetch_add(n, Release);
    }

    /// `n` of the processed items were reported by the other origin too, and merged with its record.
    pub fn merged(&self, source: Source, n: u64) {
        self.inputs[source as usize].merged.fetch_add(n, Release);
    }

    /// `n` accepted items could not be processed and became dead letters.
    pub fn input_dead_lettered(&self, source: Source, n: u64) {
        self.inputs[source as usize].dead_letters.fetch_add(n, Release);
    }

    /// `n` items of an accepted message do not name their room, participant or track.
    pub fn unusable(&self, source: Source, n: u64) {
        self.inputs[source as usize].unusable.fetch_add(n, Release);
    }

    /// A request or a stream of `source` was refused.
    pub fn refused(&self, source: Source, why: Refused) {
        self.inputs[source as usize].refused[why as usize].fetch_add(1, Release);
    }

    /// How many requests and streams of all sources were refused for this reason.
    pub fn refused_for(&self, why: Refused) -> u64 {
        self.inputs.iter().map(|row| row.refused[why as usize].load(Relaxed)).sum()
    }

    /// A recording's audio and history of that size were received.
    pub fn recorded(&self, outcome: RecordingOutcome, bytes: u64) {
        self.recordings[outcome as usize].fetch_add(bytes, Relaxed);
    }

    /// A connection to `listener` was opened.
    pub fn connected(&self, listener: Listener) {
        self.connections[listener as usize].opened();
    }

    /// A connection to `listener` was closed.
    pub fn disconnected(&self, listener: Listener) {
        self.connections[listener as usize].closed();
    }

    /// A connection was closed because `listener` was at its cap.
    pub fn displaced(&self, listener: Listener) {
        self.connections[listener as usize].displaced();
    }

    /// So many ids, and ended rooms and participants, were forgotten early.
    pub fn forgotten(&self, ids: u64, ended: u64) {
        self.forgotten_ids.fetch_add(ids, Relaxed);
        self.forgotten_ended.fetch_add(ended, Relaxed);
    }

    /// An accepted message had contents that this version does not know.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown_event_types.fetch_add(unknown.event_types, Release);
        self.unknown_enum_values.fetch_add(unknown.enum_values, Release);
        self.unknown_fields.fetch_add(unknown.fields, Release);
    }

    /// `n` records of `signal` (spans, log records, metric points) were produced and queued.
    pub fn queued(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].accepted.fetch_add(n, Release);
    }

    /// The collector accepted `n` records.
    pub fn delivered(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].delivered.fetch_add(n, Release);
    }

    /// The collector refused `n` records permanently; they became dead letters.
    pub fn output_dead_lettered(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].dead_letters.fetch_add(n, Release);
    }

    /// `n` queued records were lost.
    pub fn lost(&self, signal: Signal, why: Lost, n: u64) {
        self.outputs[signal as usize].lost[why as usize].fetch_add(n, Release);
    }

    /// `n` parts of the snapshot, rooms among them, are damaged or missing.
    pub fn snapshot_damaged(&self, n: u64) {
        self.snapshot_damaged.fetch_add(n, Release);
    }

    /// `n` entries of the journal could not be read.
    pub fn damaged(&self, n: u64) {
        self.journal_damaged.fetch_add(n, Release);
    }

    /// Waiting records survive the process.
    pub fn set_durable(&self) {
        self.durable.store(true, Relaxed);
    }

    /// The journal could not be written, and its inputs were not accepted.
    pub fn journal_failed(&self) {
        self.journal_failures.fetch_add(1, Release);
    }

    /// The counts of `source` that a snapshot stores. Nothing may be processed meanwhile.
    pub fn processed_of(&self, source: Source) -> Processed {
        let row = &self.inputs[source as usize];
        Processed {
            processed: row.processed.load(Acquire),
            duplicates: row.duplicates.load(Acquire),
            merged: row.merged.load(Acquire),
            dead_letters: row.dead_letters.load(Acquire),
            unusable: row.unusable.load(Acquire),
        }
    }

    /// Resumes the counts of a snapshot.
    pub fn restore_input(&self, source: Source, stored: Processed) {
        self.accepted(source, stored.processed + stored.dead_letters);
        self.processed(source, stored.processed);
        self.duplicates(source, stored.duplicates);
        self.merged(source, stored.merged);
        self.input_dead_lettered(source, stored.dead_letters);
        self.unusable(source, stored.unusable);
    }

    /// Resumes the counts of the last process.
    pub fn restore_output(&self, signal: Signal, stored: &Delivered) {
        self.delivered(signal, stored.delivered);
        self.output_dead_lettered(signal, stored.dead_letters);
        for (why, n) in Lost::ALL.into_iter().zip(stored.lost) {
            self.lost(signal, why, n);
        }
    }

    /// All counts now. Outcomes are read before the accepted, so that no row has more outcomes than
    /// accepted records.
    pub fn snapshot(&self) -> Snapshot {
        let get = |count: &AtomicU64| count.load(Acquire);
        let inputs = Source::ALL.map(|source| {
            let row = &self.inputs[source as usize];
            let (duplicates, merged) = (get(&row.duplicates), get(&row.merged));
            let (processed, dead_letters) = (get(&row.processed), get(&row.dead_letters));
            Input {
                source,
                accepted: get(&row.accepted),
                processed,
                duplicates,
                merged,
                dead_letters,
                lost: 0,
                unusable: get(&row.unusable),
                refused: Refused::ALL.map(|why| (why, get(&row.refused[why as usize]))),
            }
        });
        let outputs = Signal::ALL.map(|signal| {
            let row = &self.outputs[signal as usize];
            let lost = Lost::ALL.map(|why| (why, get(&row.lost[why as usize])));
            let (delivered, dead_letters) = (get(&row.delivered), get(&row.dead_letters));
            Output { signal, accepted: get(&row.accepted), delivered, dead_letters, lost }
        });
        Snapshot {
            inputs,
            outputs,
            connections: Listener::ALL
                .map(|listener| self.connections[listener as usize].row(listener)),
            recordings: RecordingOutcome::ALL
                .map(|outcome| (outcome, get(&self.recordings[outcome as usize]))),
            unknown: Unknown {
                event_types: get(&self.unknown_event_types),
                enum_values: get(&self.unknown_enum_values),
                fields: get(&self.unknown_fields),
            },
            forgotten_ids: get(&self.forgotten_ids),
            forgotten_ended: get(&self.forgotten_ended),
            journal_damaged: get(&self.journal_damaged),
            snapshot_damaged: get(&self.snapshot_damaged),
            journal_failures: get(&self.journal_failures),
            is_durable: self.durable.load(Relaxed),
        }
    }
}
