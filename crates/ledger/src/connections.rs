//! Connections, by listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Listener {
    Webhooks,
    Streams,
    Admin,
    /// The live view (`--ui`).
    Page,
}

impl Listener {
    /// All, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Webhooks, Self::Streams, Self::Admin, Self::Page];

    /// Its name in a report of a panic.
    pub fn place(self) -> &'static str {
        match self {
            Self::Webhooks => "the listener for webhooks",
            Self::Streams => "the listener for streams",
            Self::Admin => "the admin listener",
            Self::Page => "the listener for the live view",
        }
    }

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Streams => "streams",
            Self::Admin => "admin",
            Self::Page => "page",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    open: AtomicU64,
    displaced: AtomicU64,
}

impl Counts {
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn displaced(&self) {
        self.displaced.fetch_add(1, Relaxed);
    }

    pub(crate) fn row(&self, listener: Listener) -> Connections {
        let (open, displaced) = (self.open.load(Relaxed), self.displaced.load(Relaxed));
        Connections { listener, open, displaced }
    }
}

/// A listener's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connections {
    /// Which listener.
    pub listener: Listener,
    /// Open connections.
    pub open: u64,
    /// Connections that were closed at the cap, in favor of newer ones.
    pub displaced: u64,
}
