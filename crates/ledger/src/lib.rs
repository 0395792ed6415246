//! What came in, what went out, and what became of the rest: every record is in one column.
//!
//! For what comes in: `accepted = processed + waiting + set aside + lost`, and what was refused is
//! counted by its reason. For what goes out: `accepted = delivered + waiting + set aside +
//! lost(reason)`. [`Snapshot::check`] holds that at each moment: a record is counted as accepted before
//! anybody can count what becomes of it. Only atomics: nobody waits for a count.

mod balance;
mod connections;
pub mod faults;
pub mod report;
pub mod status;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::{Deserialize, Serialize};

pub use balance::Imbalance;
pub use connections::{Connections, Listener};

use livekit_otel_model::event::Unknown;
use livekit_otel_model::{Signal, Source};

/// Why an input was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No token, a wrong one, an expired one, an unknown key, or a body that it does not sign.
    Unauthorized,
    /// Over the size limit.
    TooLarge,
    /// A protobuf message that cannot be read, or a body that broke off.
    Malformed,
    /// The journal is full; the sender was told to come back.
    Busy,
    /// LiveKit's API could not be asked, or answered with an error.
    Unavailable,
}

impl Refused {
    /// All, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::Unauthorized, Self::TooLarge, Self::Malformed, Self::Busy, Self::Unavailable];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a record was lost on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The collector took the request but not this record (partial success).
    Rejected,
    /// The queue was full: the collector was away too long for the memory allowed.
    QueueFull,
    /// The program ended before it could be delivered.
    Shutdown,
    /// It had to be set aside, and there was no room left for it.
    DeadLettersFull,
    /// It waited until a later point of its series had as much to say.
    Superseded,
    /// The disk gave back something else than what it was given.
    Damaged,
    /// Sending is switched off (`OTEL_SDK_DISABLED`, or the signal's exporter is `none`).
    Disabled,
}

impl Lost {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Rejected,
        Self::QueueFull,
        Self::Shutdown,
        Self::DeadLettersFull,
        Self::Superseded,
        Self::Damaged,
        Self::Disabled,
    ];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::QueueFull => "queue_full",
            Self::Shutdown => "shutdown",
            Self::DeadLettersFull => "set_aside_full",
            Self::Superseded => "superseded",
            Self::Damaged => "damaged",
            Self::Disabled => "disabled",
        }
    }
}

#[derive(Debug, Default)]
struct InputCounts {
    accepted: AtomicU64,
    processed: AtomicU64,
    duplicates: AtomicU64,
    merged: AtomicU64,
    dead_letters: AtomicU64,
    unusable: AtomicU64,
    refused: [AtomicU64; 5],
}

#[derive(Debug, Default)]
struct OutputCounts {
    accepted: AtomicU64,
    delivered: AtomicU64,
    dead_letters: AtomicU64,
    lost: [AtomicU64; 7],
}

/// The process's counts, shared by all who accept and all who deliver.
#[derive(Debug, Default)]
pub struct Ledger {
    inputs: [InputCounts; 5],
    outputs: [OutputCounts; 3],
    connections: [connections::Counts; 4],
    unknown_event_types: AtomicU64,
    unknown_enum_values: AtomicU64,
    unknown_fields: AtomicU64,
    forgotten_ids: AtomicU64,
    forgotten_ended: AtomicU64,
    journal_damaged: AtomicU64,
    snapshot_damaged: AtomicU64,
    journal_failures: AtomicU64,
    durable: AtomicBool,
}

/// What became of a signal's records, as a directory remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Taken by the collector.
    pub delivered: u64,
    /// Refused for good and kept.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Gone, in the order of [`Lost::ALL`].
    pub lost: [u64; 7],
}

impl Delivered {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.delivered + self.dead_letters + self.lost.iter().sum::<u64>()
    }
}

/// What became of a source's items, as a snapshot remembers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processed {
    processed: u64,
    duplicates: u64,
    merged: u64,
    dead_letters: u64,
    unusable: u64,
}

impl Ledger {
    /// `n` items of `source` are in the journal: a webhook, an event, a stat, a node's rooms. To be
    /// counted before they can be processed.
    pub fn accepted(&self, source: Source, n: u64) {
        self.inputs[source as usize].accepted.fetch_add(n, Release);
    }

    /// `n` items that were counted as accepted are not in the journal after all.
    pub fn withdrawn(&self, source: Source, n: u64) {
        self.inputs[source as usize].accepted.fetch_sub(n, Release);
    }

    /// `n` accepted items were processed.
    pub fn processed(&self, source: Source, n: u64) {
        self.inputs[source as usize].processed.fetch_add(n, Release);
    }

    /// Of the processed, `n` had the id of one before them and changed nothing.
    pub fn duplicates(&self, source: Source, n: u64) {
        self.inputs[source as usize].duplicates.fetch_add(n, Release);
    }

    /// Of the processed, `n` told what the other origin told too: one record for both.
    pub fn merged(&self, source: Source, n: u64) {
        self.inputs[source as usize].merged.fetch_add(n, Release);
    }

    /// `n` accepted items could not be read and were kept as they came.
    pub fn input_dead_lettered(&self, source: Source, n: u64) {
        self.inputs[source as usize].dead_letters.fetch_add(n, Release);
    }

    /// `n` items of an accepted message did not say whose they are; nothing can be made of them.
    pub fn unusable(&self, source: Source, n: u64) {
        self.inputs[source as usize].unusable.fetch_add(n, Release);
    }

    /// A request or a stream of `source` was refused.
    pub fn refused(&self, source: Source, why: Refused) {
        self.inputs[source as usize].refused[why as usize].fetch_add(1, Release);
    }

    /// A listener has a connection more.
    pub fn connected(&self, listener: Listener) {
        self.connections[listener as usize].opened();
    }

    /// A connection of a listener has ended.
    pub fn disconnected(&self, listener: Listener) {
        self.connections[listener as usize].closed();
    }

    /// A connection of a listener at its cap makes place for another.
    pub fn displaced(&self, listener: Listener) {
        self.connections[listener as usize].displaced();
    }

    /// So many ids, and ended rooms and participants, were forgotten before their time.
    pub fn forgotten(&self, ids: u64, ended: u64) {
        self.forgotten_ids.fetch_add(ids, Relaxed);
        self.forgotten_ended.fetch_add(ended, Relaxed);
    }

    /// An accepted message had something in it that this version does not know.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown_event_types.fetch_add(unknown.event_types, Release);
        self.unknown_enum_values.fetch_add(unknown.enum_values, Release);
        self.unknown_fields.fetch_add(unknown.fields, Release);
    }

    /// `n` records of `signal` were made and queued: spans, log records, metric points.
    pub fn queued(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].accepted.fetch_add(n, Release);
    }

    /// The collector took `n` records.
    pub fn delivered(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].delivered.fetch_add(n, Release);
    }

    /// The collector refused `n` records for good; they are kept.
    pub fn output_dead_lettered(&self, signal: Signal, n: u64) {
        self.outputs[signal as usize].dead_letters.fetch_add(n, Release);
    }

    /// `n` queued records are gone.
    pub fn lost(&self, signal: Signal, why: Lost, n: u64) {
        self.outputs[signal as usize].lost[why as usize].fetch_add(n, Release);
    }

    /// `n` parts of the snapshot, rooms among them, could not be read or are missing.
    pub fn snapshot_damaged(&self, n: u64) {
        self.snapshot_damaged.fetch_add(n, Release);
    }

    /// `n` entries of the journal could not be read.
    pub fn damaged(&self, n: u64) {
        self.journal_damaged.fetch_add(n, Release);
    }

    /// What waits is on disk, or will be.
    pub fn set_durable(&self) {
        self.durable.store(true, Relaxed);
    }

    /// The journal could not be written: what it was given was not accepted.
    pub fn journal_failed(&self) {
        self.journal_failures.fetch_add(1, Release);
    }

    /// What a snapshot has to know of a source. Only where nothing is processed meanwhile.
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

    /// Goes on from a snapshot.
    pub fn restore_input(&self, source: Source, of: Processed) {
        self.accepted(source, of.processed + of.dead_letters);
        self.processed(source, of.processed);
        self.duplicates(source, of.duplicates);
        self.merged(source, of.merged);
        self.input_dead_lettered(source, of.dead_letters);
        self.unusable(source, of.unusable);
    }

    /// Goes on from what was delivered before.
    pub fn restore_output(&self, signal: Signal, of: &Delivered) {
        self.delivered(signal, of.delivered);
        self.output_dead_lettered(signal, of.dead_letters);
        for (why, n) in Lost::ALL.into_iter().zip(of.lost) {
            self.lost(signal, why, n);
        }
    }

    /// All counts as they stand. What became of records is read before how many there are, so that the
    /// rows add up while records move.
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
                .map(|listener| self.connections[listener as usize].of(listener)),
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

/// The ledger at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What came in, by source.
    pub inputs: [Input; 5],
    /// What went out, by signal.
    pub outputs: [Output; 3],
    /// Who is connected, by listener.
    pub connections: [Connections; 4],
    /// What in it was unknown.
    pub unknown: Unknown,
    /// Ids that were forgotten before their time: copies of their messages may be processed again.
    #[serde(default)]
    pub forgotten_ids: u64,
    /// Ended rooms and participants that were forgotten before their time.
    #[serde(default)]
    pub forgotten_ended: u64,
    /// Entries of the journal that could not be read.
    pub journal_damaged: u64,
    /// Parts of the snapshot that the start could not read, rooms among them.
    #[serde(default)]
    pub snapshot_damaged: u64,
    /// How often the journal could not be written.
    pub journal_failures: u64,
    /// Whether what waits outlives the process.
    pub is_durable: bool,
}

/// A source's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Which source.
    pub source: Source,
    /// Acknowledged.
    pub accepted: u64,
    /// Of those: read and applied, duplicates and twins among them.
    pub processed: u64,
    /// Of the processed: seen before.
    pub duplicates: u64,
    /// Of the processed: also told by the other origin.
    pub merged: u64,
    /// Of the accepted: kept unread.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Of the accepted: only in the memory of a process that ended. None while it runs.
    #[serde(default)]
    pub lost: u64,
    /// Beside the accepted: items of their messages that did not say whose they are.
    pub unusable: u64,
    /// Not accepted, by reason.
    #[serde(with = "status")]
    pub refused: [(Refused, u64); 5],
}

/// A signal's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Which signal.
    pub signal: Signal,
    /// Made and queued.
    pub accepted: u64,
    /// Taken by the collector.
    pub delivered: u64,
    /// Refused for good and kept.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Gone, by reason.
    #[serde(with = "status")]
    pub lost: [(Lost, u64); 7],
}
