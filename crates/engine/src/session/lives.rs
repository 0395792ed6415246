//! The reported starts of a room.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event_time::EventTime;
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::SpanId;

/// Reports of one start, by both sources, are closer together than this.
pub(super) const ONE_START: Duration = Duration::from_secs(5);

/// The reported starts of a room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lives {
    // The earliest, which may be the room's creation, and the newest.
    first: Option<Time>,
    newest: Option<EventTime>,
    /// The life after one whose span was emitted.
    pub(super) again: Option<Life>,
}

/// A life of a room that has a span of its own, after its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) since: Time,
    /// The span of the life before.
    pub(super) before: SpanId,
}

impl Lives {
    /// The newest start, if it is not the first.
    pub(super) fn restart(&self) -> Option<EventTime> {
        self.newest.filter(|newest| self.first.is_some_and(|at| newest.at.since(at) > ONE_START))
    }

    /// Adds a start of a room that was created then.
    pub(super) fn start(&mut self, at: EventTime, created: Option<Time>) {
        self.first = self.first.into_iter().chain(created).chain([at.at]).min();
        if self.newest.is_none_or(|newest| newest.at < at.at) {
            self.newest = Some(at);
        }
    }
}
