//! The ledger as JSON: the answer of `GET /status`, which `livekit-otel status` reads.

use std::collections::BTreeMap;
use std::fmt;

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
    /// How much of its limit intake uses; none from a server of an earlier version.
    #[serde(default)]
    pub journal: Option<JournalUse>,
    /// What does not work now.
    #[serde(default)]
    pub health: Report,
}

/// How much of its limit intake uses. At the limit nothing is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalUse {
    /// What is used now, in bytes: on disk, with the space that the next snapshot takes; without a journal
    /// on disk, in memory.
    pub used: u64,
    /// The limit, in bytes.
    pub limit: u64,
    /// The most that was used since the start, in bytes.
    pub highest: u64,
    /// What sets the limit.
    pub limited_by: LimitedBy,
}

impl JournalUse {
    /// Whether more than 3/4 of the limit is used.
    pub fn is_high(&self) -> bool {
        self.used > self.limit / 4 * 3
    }
}

/// What limits how much may be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitedBy {
    /// The setting `journal.max_bytes`.
    #[serde(rename = "journal.max_bytes")]
    MaxBytes,
    /// The free space of the volume.
    #[serde(rename = "volume")]
    Volume,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxBytes => "journal.max_bytes",
            Self::Volume => "the volume of journal.dir",
        })
    }
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
        Self {
            version,
            ledger,
            waiting,
            imbalances,
            disk_bytes,
            dead_letters,
            journal: None,
            health,
        }
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
        let mut status = Status::new(ledger.snapshot(), ledger.health().report(), Some(4096), 1);
        let limited_by = LimitedBy::MaxBytes;
        status.journal = Some(JournalUse { used: 1, limit: 4, highest: 2, limited_by });
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["inputs"][0]["refused"]["busy"], 1);
        assert_eq!(json["outputs"][1]["lost"]["rejected"], 2);
        assert_eq!((&json["set_aside"], &json["inputs"][0]["set_aside"]), (&1.into(), &0.into()));
        assert_eq!(json["waiting"]["logs"], 3);
        assert_eq!(json["journal"]["limited_by"], "journal.max_bytes");
        assert_eq!(json["imbalances"], serde_json::json!({"traces": 7}));
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }
}
