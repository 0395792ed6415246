//! What keeps messages from being accepted.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::store;
use livekit_otel_ledger::health::NotReady;

/// What to do where the volume is full: what waits for delivery may be what fills it.
pub(super) const ENLARGE: &str =
    "Is the collector reachable? If it is, free space on the volume, or use a larger one";

/// What keeps a message from being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The process is near its memory limit.
    Process,
    /// The disk, or the journal's share of it, has too little space.
    Disk,
    /// Too much waits in memory.
    Queue,
}

/// The memory of the process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// What it takes.
    pub(super) resident: u64,
    /// The setting `memory_limit`.
    pub(super) limit: u64,
}

impl Process {
    // The rest is for requests in progress when intake is paused.
    pub(super) fn bound(self) -> u64 {
        self.limit - self.limit / 8
    }

    /// Whether nothing more may be accepted.
    pub(super) fn is_over(self) -> bool {
        self.resident > self.bound()
    }
}

/// Why the journal can't be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unwritable {
    /// The volume or the quota is full.
    Full(String),
    /// The file system's error.
    Failed(String),
    /// The write in progress began this long ago.
    Stuck(Duration),
}

impl Unwritable {
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    pub(super) fn reason(&self) -> NotReady {
        if self.is_full() { NotReady::DiskFull } else { NotReady::JournalFailing }
    }
}

impl From<&io::Error> for Unwritable {
    fn from(error: &io::Error) -> Self {
        if store::is_full(error) {
            Self::Full(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => {
                write!(f, "the volume of journal.dir refuses writes: {error}. {ENLARGE}")
            }
            Self::Failed(error) => {
                write!(f, "the journal can't be written: {error}. Check the disk of journal.dir")
            }
            Self::Stuck(taken) => write!(
                f,
                "a write of the journal has not ended for {} s. Check the disk of journal.dir",
                taken.as_secs()
            ),
        }
    }
}
