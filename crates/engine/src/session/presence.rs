//! Whether a room or a participant is still there, by its events and by lists of open rooms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

/// A list says nothing about what is younger than this: webhooks are retried for 15 s, and a list may
/// be slightly older than the events.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// The rule for what is no longer listed.
pub(super) const END_BY_LIST: &str = "reconciled";

/// When a room or a participant was last reported, and when it was listed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Presence {
    // When a message about it was last received.
    reported: Option<Time>,
    // The newest list that contains it.
    listed: Option<Time>,
    // The first list after both that does not contain it.
    absent: Option<Time>,
    /// Whether it became known by a list.
    pub(super) reconciled: bool,
}

impl Presence {
    /// Notes that an event or window of it was received.
    pub(super) fn report(&mut self, now: Time) {
        self.reported = Some(now);
        self.absent = None;
    }

    /// The newest time at which it is known to have been there; `reported` is that of its events.
    pub(super) fn newest(&self, reported: Time) -> Time {
        self.listed.map_or(reported, |listed| listed.max(reported))
    }

    /// Notes that the list of `at` contains it.
    pub(super) fn list(&mut self, at: Time) {
        self.listed = self.listed.max(Some(at));
        self.absent = None;
    }

    /// Notes that the list of `at` does not contain it. Returns whether the list before did not either,
    /// and no message about it was received during the grace period.
    pub(super) fn miss(&mut self, at: Time) -> bool {
        if self.listed.is_some_and(|listed| listed >= at) {
            return false;
        }
        let first = *self.absent.get_or_insert(at);
        first < at && self.reported.is_none_or(|reported| reported + GRACE <= at)
    }
}
