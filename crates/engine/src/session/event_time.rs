//! The times of events: exact ones win over those that are cut to the second.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{Event, EventKind, Time};

/// What is cut off of a time at most.
pub(super) const CUT: Duration = Duration::from_nanos(999_999_999);

/// Keeps the earlier of what is known and another time.
pub(super) fn earliest(known: &mut Option<Time>, time: impl Into<Option<Time>>) {
    *known = known.iter().copied().chain(time.into()).min();
}

/// When something happened, and how exactly that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventTime {
    pub(super) at: Time,
    pub(super) exact: bool,
}

impl EventTime {
    /// The best time of an event. Best first: `creation_time_ms` and `joined_at_ms` for the events that
    /// they are the time of; a time with a fraction; a whole second, raised to `newest`, the newest time
    /// known of the room or participant.
    pub(super) fn of(event: &Event, newest: Option<Time>, now: Time) -> Self {
        let own = match event.kind {
            EventKind::RoomCreated => event.room.as_ref().and_then(|room| room.created),
            EventKind::ParticipantJoined => event.participant.as_ref().and_then(|who| who.joined),
            _ => None,
        };
        match (own, event.reported) {
            (Some(at), _) => Self { at, exact: true },
            (None, Some(reported)) if !reported.whole_seconds => {
                Self { at: reported.at, exact: true }
            }
            (None, Some(reported)) => {
                let cut = Self { at: reported.at, exact: false };
                Self { at: newest.map_or(cut.at, |newest| cut.raised(newest)), exact: false }
            }
            (None, None) => Self { at: now, exact: false },
        }
    }

    /// An exact time is returned as it is. A time that is cut to the second is raised to `newest`, but at
    /// most to the end of its second: it can't be later.
    pub(super) fn raised(self, newest: Time) -> Time {
        if self.exact { self.at } else { self.at.max(newest.min(self.at + CUT)) }
    }

    pub(super) fn exact(at: Time) -> Self {
        Self { at, exact: true }
    }
}

/// Updates when something began: an exact time wins over a cut one, then the earlier wins.
pub(super) fn began(known: &mut Option<EventTime>, time: EventTime) {
    let is_better = |known: EventTime| match (time.exact, known.exact) {
        (true, false) => true,
        (false, true) => false,
        _ => time.at < known.at,
    };
    if known.is_none_or(is_better) {
        *known = Some(time);
    }
}

/// Updates when something ended: an exact time wins over a cut one, then the later wins.
pub(super) fn ended(known: &mut Option<EventTime>, time: EventTime) {
    let is_better = |known: EventTime| match (time.exact, known.exact) {
        (true, false) => true,
        (false, true) => false,
        _ => time.at > known.at,
    };
    if known.is_none_or(is_better) {
        *known = Some(time);
    }
}
