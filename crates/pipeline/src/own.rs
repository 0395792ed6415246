//! The metrics of the program itself, as instruments of the SDK and as text for Prometheus.

use std::sync::Arc;

use livekit_otel_durable::journal::IntakeBudget;
use livekit_otel_durable::memory;
use livekit_otel_ledger::status::JournalUse;
use livekit_otel_ledger::{Ledger, Snapshot};
use livekit_otel_model::semconv::{key, metric};

/// The sources of the counts.
#[derive(Debug, Clone)]
pub struct Own {
    ledger: Arc<Ledger>,
    budget: Option<Arc<IntakeBudget>>,
}

/// The counts at one moment.
#[derive(Debug)]
pub struct Observed {
    ledger: Snapshot,
    on_disk: Option<u64>,
    usage: Option<JournalUse>,
    resident: Option<u64>,
}

impl Own {
    /// Counts of a ledger, and of the disk if the journal is there.
    pub fn new(ledger: Arc<Ledger>, budget: Option<Arc<IntakeBudget>>) -> Self {
        Self { ledger, budget }
    }

    /// The names of all these metrics, as in OTLP.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|family| family.name)
    }

    /// Reads the counts now.
    pub fn observe(&self) -> Observed {
        Observed {
            ledger: self.ledger.snapshot(),
            on_disk: self.budget.as_ref().map(|budget| budget.on_disk()),
            usage: self.budget.as_ref().map(|budget| budget.usage()),
            resident: memory::resident(None),
        }
    }
}

impl From<Arc<Ledger>> for Own {
    fn from(ledger: Arc<Ledger>) -> Self {
        Self::new(ledger, None)
    }
}

/// How a metric's value changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    UpDown,
}

/// Receives a value with its attributes.
type Point<'a> = dyn FnMut(i64, &[(&'static str, &'static str)]) + 'a;

/// A metric of the program itself.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// Its description.
    pub brief: &'static str,
    /// How its value changes.
    pub kind: Kind,
    /// Passes its points to the callback.
    pub points: fn(&Observed, &mut Point<'_>),
}

/// All metrics of the program itself.
pub static FAMILIES: [Family; 16] = [
    Family {
        name: metric::LEDGER_ITEMS,
        unit: "{item}",
        brief: "What came in, by what became of it",
        kind: Kind::Counter,
        points: items,
    },
    Family {
        name: metric::LEDGER_RECORDS,
        unit: "{record}",
        brief: "What was made to be sent, by what became of it",
        kind: Kind::Counter,
        points: records,
    },
    Family {
        name: metric::LEDGER_WAITING,
        unit: "{record}",
        brief: "What waits for its delivery",
        kind: Kind::UpDown,
        points: waiting,
    },
    Family {
        name: metric::LEDGER_UNKNOWN,
        unit: "{item}",
        brief: "What this version did not know in what it accepted",
        kind: Kind::Counter,
        points: unknown,
    },
    Family {
        name: metric::FORGOTTEN_IDS,
        unit: "{id}",
        brief: "Ids that were forgotten before their time",
        kind: Kind::Counter,
        points: |observed, point| point(n(observed.ledger.forgotten_ids), &[]),
    },
    Family {
        name: metric::FORGOTTEN_ENDED,
        unit: "{entity}",
        brief: "Ended rooms and participants that were forgotten before their time",
        kind: Kind::Counter,
        points: |observed, point| point(n(observed.ledger.forgotten_ended), &[]),
    },
    Family {
        name: metric::JOURNAL_FAILURES,
        unit: "{failure}",
        brief: "How often the journal could not be written",
        kind: Kind::Counter,
        points: |observed, point| point(n(observed.ledger.journal_failures), &[]),
    },
    Family {
        name: metric::JOURNAL_DAMAGED,
        unit: "{entry}",
        brief: "Entries of the journal that could not be read",
        kind: Kind::Counter,
        points: |observed, point| point(n(observed.ledger.journal_damaged), &[]),
    },
    Family {
        name: metric::SNAPSHOT_DAMAGED,
        unit: "{part}",
        brief: "Parts of a snapshot that could not be read or were missing",
        kind: Kind::Counter,
        points: |observed, point| point(n(observed.ledger.snapshot_damaged), &[]),
    },
    Family {
        name: metric::JOURNAL_SIZE,
        unit: "By",
        brief: "What the journal and what waits for delivery take on disk",
        kind: Kind::UpDown,
        points: |observed, point| observed.on_disk.into_iter().for_each(|size| point(n(size), &[])),
    },
    Family {
        name: metric::JOURNAL_USED,
        unit: "By",
        brief: "How much of its limit the journal on disk uses, with what the next snapshot takes",
        kind: Kind::UpDown,
        points: |observed, point| observed.usage.into_iter().for_each(|of| point(n(of.used), &[])),
    },
    Family {
        name: metric::JOURNAL_LIMIT,
        unit: "By",
        brief: "How much the journal on disk may use: journal.max_bytes, or what the volume has for it",
        kind: Kind::UpDown,
        points: |observed, point| observed.usage.into_iter().for_each(|of| point(n(of.limit), &[])),
    },
    Family {
        name: metric::RECORDING_SIZE,
        unit: "By",
        brief: "Audio and history of the recordings that agents uploaded, by what became of them",
        kind: Kind::Counter,
        points: |observed, point| {
            for (outcome, bytes) in observed.ledger.recordings {
                point(n(bytes), &[(key::LEDGER_OUTCOME, outcome.as_str())]);
            }
        },
    },
    Family {
        name: metric::MEMORY,
        unit: "By",
        brief: "How much memory the process takes",
        kind: Kind::UpDown,
        points: |observed, point| {
            observed.resident.into_iter().for_each(|size| point(n(size), &[]));
        },
    },
    Family {
        name: metric::CONNECTION_COUNT,
        unit: "{connection}",
        brief: "Open connections to the listeners",
        kind: Kind::UpDown,
        points: |observed, point| {
            for row in &observed.ledger.connections {
                point(n(row.open), &[(key::LISTENER, row.listener.as_str())]);
            }
        },
    },
    Family {
        name: metric::CONNECTION_DISPLACED,
        unit: "{connection}",
        brief: "Connections that were closed at the cap to make place for others",
        kind: Kind::Counter,
        points: |observed, point| {
            for row in &observed.ledger.connections {
                point(n(row.displaced), &[(key::LISTENER, row.listener.as_str())]);
            }
        },
    },
];

fn n(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn items(observed: &Observed, point: &mut Point<'_>) {
    for row in &observed.ledger.inputs {
        let source = (key::LEDGER_SOURCE, row.source.as_str());
        for (outcome, count) in [
            ("accepted", row.accepted),
            ("processed", row.processed),
            ("duplicates", row.duplicates),
            ("merged", row.merged),
            ("set_aside", row.dead_letters),
        ] {
            point(n(count), &[source, (key::LEDGER_OUTCOME, outcome)]);
        }
        for (why, count) in row.refused {
            let reason = (key::LEDGER_REASON, why.as_str());
            point(n(count), &[source, (key::LEDGER_OUTCOME, "refused"), reason]);
        }
    }
}

fn records(observed: &Observed, point: &mut Point<'_>) {
    for row in &observed.ledger.outputs {
        let signal = (key::LEDGER_SIGNAL, row.signal.as_str());
        for (outcome, count) in [
            ("accepted", row.accepted),
            ("delivered", row.delivered),
            ("set_aside", row.dead_letters),
        ] {
            point(n(count), &[signal, (key::LEDGER_OUTCOME, outcome)]);
        }
        for (why, count) in row.lost {
            let reason = (key::LEDGER_REASON, why.as_str());
            point(n(count), &[signal, (key::LEDGER_OUTCOME, "lost"), reason]);
        }
    }
}

fn waiting(observed: &Observed, point: &mut Point<'_>) {
    for row in &observed.ledger.outputs {
        // Negative if a row does not add up, so that the error shows.
        let waiting = row.balance().map_or_else(|wrong| -n(wrong.settled - wrong.accepted), n);
        point(waiting, &[(key::LEDGER_SIGNAL, row.signal.as_str())]);
    }
}

fn unknown(observed: &Observed, point: &mut Point<'_>) {
    let found = observed.ledger.unknown;
    for (what, count) in [
        ("event_type", found.event_types),
        ("enum_value", found.enum_values),
        ("field", found.fields),
    ] {
        point(n(count), &[(key::LEDGER_REASON, what)]);
    }
}
