//! Rooms that were closed and forgotten, so that no later message makes a second span of one.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids;
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::signal::SpanId;

/// The ids of their spans.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Gone {
    #[serde(serialize_with = "crate::snapshot::set_in_order")]
    known: HashSet<SpanId>,
    order: VecDeque<(Time, SpanId)>,
}

impl Gone {
    /// Whether that room is one of them.
    pub(super) fn has(&mut self, sid: &RoomSid, now: Time, keep: Duration) -> bool {
        while let Some((_, id)) = self.order.pop_front_if(|(at, _)| *at + keep <= now) {
            self.known.remove(&id);
        }
        !self.known.is_empty() && self.known.contains(&ids::room(sid))
    }

    /// Whether that room was added, and not removed since.
    pub(super) fn knows(&self, sid: &RoomSid) -> bool {
        self.known.contains(&ids::room(sid))
    }

    /// Removes a room that was added before that time; returns whether it was.
    pub(super) fn take(&mut self, sid: &RoomSid, before: Time) -> bool {
        let id = ids::room(sid);
        let place = self.order.iter().position(|(at, known)| *known == id && *at < before);
        place.and_then(|place| self.order.remove(place)).is_some_and(|_| self.known.remove(&id))
    }

    /// Adds a room. Keeps at most `most` of them; returns how many were dropped for that.
    pub(super) fn add(&mut self, sid: &RoomSid, now: Time, most: usize) -> u64 {
        let id = ids::room(sid);
        if self.known.insert(id) {
            self.order.push_back((now, id));
        }
        let mut early = 0;
        while self.order.len() > most
            && let Some((_, id)) = self.order.pop_front()
        {
            self.known.remove(&id);
            early += 1;
        }
        early
    }
}
