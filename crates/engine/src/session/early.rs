//! Events that name no room and whose participant, track or SIP call is not known yet: their room's other
//! events may arrive later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::places::{Key, keys};
use livekit_otel_model::event::{Event, Time};

// As late as an event may arrive without changing its spans.
const WAIT: Duration = Duration::from_secs(30);
const MOST: usize = 10_000;

/// An event that waits for its room.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    until: Time,
    pub(super) received: Time,
    pub(super) twin_expected: bool,
    pub(super) event: Event,
}

/// The events that wait, in the order in which they were received.
#[derive(Debug, Default)]
pub(super) struct Early {
    events: BTreeMap<u64, Waiting>,
    // The same by the SIDs that they name.
    by_key: BTreeSet<(Key, u64)>,
    next: u64,
}

impl Early {
    /// Keeps an event that was received at `now`. Returns the oldest if there are too many.
    pub(super) fn wait(&mut self, event: Event, now: Time, twin_expected: bool) -> Option<Waiting> {
        self.insert(Waiting { until: now + WAIT, received: now, twin_expected, event });
        let is_full = self.events.len() > MOST;
        is_full.then(|| self.first()).flatten().and_then(|nth| self.remove(nth))
    }

    fn insert(&mut self, waiting: Waiting) {
        self.by_key.extend(keys(&waiting.event).map(|key| (key, self.next)));
        self.events.insert(self.next, waiting);
        self.next += 1;
    }

    fn first(&self) -> Option<u64> {
        self.events.first_key_value().map(|(nth, _)| *nth)
    }

    fn remove(&mut self, nth: u64) -> Option<Waiting> {
        let waiting = self.events.remove(&nth)?;
        for key in keys(&waiting.event) {
            self.by_key.remove(&(key, nth));
        }
        Some(waiting)
    }

    /// The events that name one of these participants, tracks and SIP calls.
    pub(super) fn of(&mut self, added: &[Key]) -> Vec<Waiting> {
        if self.events.is_empty() {
            return Vec::new();
        }
        let named = |key: &Key| self.by_key.range((*key, 0)..=(*key, u64::MAX));
        let named: BTreeSet<u64> = added.iter().flat_map(named).map(|(_, nth)| *nth).collect();
        named.into_iter().filter_map(|nth| self.remove(nth)).collect()
    }

    /// The events that have waited long enough; all of them without a `now`.
    pub(super) fn due(&mut self, now: Option<Time>) -> Vec<Waiting> {
        let is_due = |waiting: &&Waiting| now.is_none_or(|now| waiting.until <= now);
        let count = self.events.values().take_while(is_due).count();
        (0..count).filter_map(|_| self.first().and_then(|nth| self.remove(nth))).collect()
    }

    /// When the next event has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.events.first_key_value().map(|(_, waiting)| waiting.until)
    }

    /// The events for a snapshot.
    pub(super) fn saved(&self) -> Vec<&Waiting> {
        self.events.values().collect()
    }

    /// Adds the events that [`Early::saved`] returned.
    pub(super) fn restore(&mut self, events: Vec<Waiting>) {
        for waiting in events {
            self.insert(waiting);
        }
    }
}
