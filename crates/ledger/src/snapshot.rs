//! The ledger at one moment, and the parts of it that are stored.

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Unknown;
use livekit_otel_model::{Signal, Source};

use crate::connections::Connections;
use crate::reason::{self, Lost, RecordingOutcome, Refused};

/// The ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// What was received, by source.
    pub inputs: [Input; 12],
    /// What was produced, by signal.
    pub outputs: [Output; 3],
    /// Connections, by listener.
    pub connections: [Connections; 4],
    /// Audio and history of recordings, in bytes, by what became of them.
    #[serde(with = "reason", default = "none")]
    pub recordings: [(RecordingOutcome, u64); 3],
    /// What this version did not know in the accepted messages.
    pub unknown: Unknown,
    /// Ids that were forgotten early: copies of their messages may be processed again.
    #[serde(default)]
    pub forgotten_ids: u64,
    /// Ended rooms and participants that were forgotten early.
    #[serde(default)]
    pub forgotten_ended: u64,
    /// Entries of the journal that could not be read.
    pub journal_damaged: u64,
    /// Parts of the snapshot, rooms among them, that could not be read at the start.
    #[serde(default)]
    pub snapshot_damaged: u64,
    /// How often the journal could not be written.
    pub journal_failures: u64,
    /// Whether waiting records survive the process.
    pub is_durable: bool,
}

fn none() -> [(RecordingOutcome, u64); 3] {
    RecordingOutcome::ALL.map(|outcome| (outcome, 0))
}

/// A source's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Input {
    /// Which source.
    pub source: Source,
    /// Acknowledged.
    pub accepted: u64,
    /// Of the accepted: read and applied, duplicates and twins included.
    pub processed: u64,
    /// Of the processed: seen before.
    pub duplicates: u64,
    /// Of the processed: reported by the other origin too.
    pub merged: u64,
    /// Of the accepted: kept as dead letters.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Of the accepted: held only by the memory of a process that ended. 0 while it runs.
    #[serde(default)]
    pub lost: u64,
    /// Beside the accepted: items that do not name their room, participant or track.
    pub unusable: u64,
    /// Not accepted, by reason.
    #[serde(with = "reason")]
    pub refused: [(Refused, u64); 13],
}

impl Input {
    /// Whether the row is shown to people: that of uploads once something was counted.
    pub fn is_shown(&self) -> bool {
        let refused = self.refused.iter().map(|(_, n)| n).sum::<u64>();
        !self.source.is_upload() || self.accepted + self.unusable + refused > 0
    }
}

/// A signal's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Output {
    /// Which signal.
    pub signal: Signal,
    /// Produced and queued.
    pub accepted: u64,
    /// Accepted by the collector.
    pub delivered: u64,
    /// Refused permanently, and kept as dead letters.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Lost, by reason.
    #[serde(with = "reason")]
    pub lost: [(Lost, u64); 7],
}

/// What became of a signal's records, as stored in a journal's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Accepted by the collector.
    pub delivered: u64,
    /// Refused permanently, and kept as dead letters.
    #[serde(rename = "set_aside")]
    pub dead_letters: u64,
    /// Lost, in the order of [`Lost::ALL`].
    pub lost: [u64; 7],
}

impl Delivered {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.delivered + self.dead_letters + self.lost.iter().sum::<u64>()
    }
}

/// What became of a source's items, as stored in a snapshot of the engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processed {
    pub(crate) processed: u64,
    pub(crate) duplicates: u64,
    pub(crate) merged: u64,
    pub(crate) dead_letters: u64,
    pub(crate) unusable: u64,
}
