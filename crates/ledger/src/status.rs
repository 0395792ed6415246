//! The ledger as JSON: the answer of `GET /status`, which `livekit-otel status` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::health::Report;
use crate::snapshot::Snapshot;

/// The ledger, and what the journal and the dead letters hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The counts.
    #[serde(flatten)]
    pub ledger: Snapshot,
    /// Records waiting for delivery, by signal.
    pub waiting: BTreeMap<String, u64>,
    /// Rows that do not add up, and by how much their outcomes exceed the accepted. Any entry means that a
    /// count is wrong.
    #[serde(default)]
    pub imbalances: BTreeMap<String, u64>,
    /// How much the journal and the waiting records take on disk, in bytes; none if they are in memory.
    pub disk_bytes: Option<u64>,
    /// How many dead letters are kept.
    #[serde(rename = "set_aside")]
    pub dead_letters: usize,
    /// What does not work now.
    #[serde(default)]
    pub health: Report,
}

impl Status {
    /// The status of a program with this ledger.
    pub fn new(
        ledger: Snapshot,
        health: Report,
        disk_bytes: Option<u64>,
        dead_letters: usize,
    ) -> Self {
        let waiting = ledger.outputs.iter();
        let waiting = waiting.map(|row| (row.signal.as_str().to_owned(), row.waiting()));
        let waiting = waiting.collect();
        let imbalances = ledger.imbalances();
        let imbalances = imbalances.map(|row| (row.row.to_owned(), row.settled - row.accepted));
        let imbalances = imbalances.collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, ledger, waiting, imbalances, disk_bytes, dead_letters, health }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Ledger;
    use crate::reason::{Lost, Refused};
    use livekit_otel_model::{Signal, Source};

    #[test]
    fn a_status_is_read_back_as_it_was_written() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Webhook, 3);
        ledger.refused(Source::Webhook, Refused::Busy);
        ledger.queued(Signal::Logs, 5);
        ledger.lost(Signal::Logs, Lost::Rejected, 2);
        ledger.delivered(Signal::Traces, 7);
        let status = Status::new(ledger.snapshot(), ledger.health().report(), Some(4096), 1);
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["inputs"][0]["refused"]["busy"], 1);
        assert_eq!(json["outputs"][1]["lost"]["rejected"], 2);
        assert_eq!((&json["set_aside"], &json["inputs"][0]["set_aside"]), (&1.into(), &0.into()));
        assert_eq!(json["waiting"]["logs"], 3);
        assert_eq!(json["imbalances"], serde_json::json!({"traces": 7}));
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }
}
