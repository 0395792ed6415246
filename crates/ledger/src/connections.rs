//! The connections of the listeners, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Listener {
    Webhooks,
    Streams,
    Admin,
    /// The page of rooms.
    Page,
}

impl Listener {
    /// All, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Webhooks, Self::Streams, Self::Admin, Self::Page];

    /// What it is called where its accept loop breaks off.
    pub fn place(self) -> &'static str {
        match self {
            Self::Webhooks => "the listener for webhooks",
            Self::Streams => "the listener for streams",
            Self::Admin => "the listener for the operator",
            Self::Page => "the listener for the page of rooms",
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
pub(super) struct Counts {
    open: AtomicU64,
    displaced: AtomicU64,
}

impl Counts {
    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn displaced(&self) {
        self.displaced.fetch_add(1, Relaxed);
    }

    pub(super) fn of(&self, listener: Listener) -> Connections {
        let (open, displaced) = (self.open.load(Relaxed), self.displaced.load(Relaxed));
        Connections { listener, open, displaced }
    }
}

/// A listener's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Which listener.
    pub listener: Listener,
    /// Open connections.
    pub open: u64,
    /// Connections that were closed at the cap, to make place for others.
    pub displaced: u64,
}
