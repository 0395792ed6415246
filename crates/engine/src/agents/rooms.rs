//! Rooms that the server never reported, whose spans were inferred.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids;
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::semconv::span as name;
use livekit_otel_model::signal::{Span, SpanId};

// How long, and how many of, them are remembered.
const REMEMBERED: Duration = Duration::from_hours(48);
const MOST: usize = 100_000;

/// The ids of their spans.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct InferredRooms {
    known: BTreeSet<SpanId>,
    order: VecDeque<(Time, SpanId)>,
}

impl InferredRooms {
    /// Adds a room; returns whether it is new.
    pub(super) fn add(&mut self, room: &RoomSid, now: Time) -> bool {
        let id = ids::room(room);
        let is_new = self.known.insert(id);
        if is_new {
            self.order.push_back((now, id));
        }
        while let Some((at, id)) = self.order.front().copied()
            && (now.since(at) > REMEMBERED || self.order.len() > MOST)
        {
            self.known.remove(&id);
            self.order.pop_front();
        }
        is_new
    }

    /// Whether it is the span of one of them.
    pub(super) fn has(&self, span: &Span) -> bool {
        span.name == name::ROOM && self.known.contains(&span.span_id)
    }
}
