//! Whether something is there, by what was told of it and by lists of what is open.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

/// A webhook is retried for 15 s, and a list may be of a moment before: only what is older counts.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// When a room or a participant was told of, and when it was listed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Presence {
    // When something last came of it.
    told: Option<Time>,
    // The newest list that has it.
    listed: Option<Time>,
    // The first list after both that does not have it.
    absent: Option<Time>,
    /// Whether it is known because it was listed.
    pub(super) reconciled: bool,
}

impl Presence {
    /// Something came of it.
    pub(super) fn tell(&mut self, now: Time) {
        self.told = Some(now);
        self.absent = None;
    }

    /// The newest time that it is known to have been there, where it was told of until `told`.
    pub(super) fn newest(&self, told: Time) -> Time {
        self.listed.map_or(told, |listed| listed.max(told))
    }

    /// The list of `at` has it.
    pub(super) fn list(&mut self, at: Time) {
        self.listed = self.listed.max(Some(at));
        self.absent = None;
    }

    /// The list of `at` does not have it; whether it was not in the one before either, and nothing
    /// was told of it for long.
    pub(super) fn miss(&mut self, at: Time) -> bool {
        if self.listed.is_some_and(|listed| listed >= at) {
            return false;
        }
        let first = *self.absent.get_or_insert(at);
        first < at && self.told.is_none_or(|told| told + GRACE <= at)
    }
}
