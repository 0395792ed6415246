//! Times as tellers give them: exact ones win over those cut to the second.

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{Event, EventKind, Time};

/// When something happened, and how well that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) at: Time,
    pub(super) exact: bool,
}

impl Stamp {
    /// The best time that an event gives of itself. Best first: `creation_time_ms` and
    /// `joined_at_ms` for what they are the time of; a time with a fraction; a whole second,
    /// raised to `newest`, the newest time known of the entity.
    pub(super) fn of(event: &Event, newest: Option<Time>, now: Time) -> Self {
        let own = match event.kind {
            EventKind::RoomCreated => event.room.as_ref().and_then(|room| room.created),
            EventKind::ParticipantJoined => event.participant.as_ref().and_then(|who| who.joined),
            _ => None,
        };
        match (own, event.told) {
            (Some(at), _) => Self { at, exact: true },
            (None, Some(told)) if !told.whole_seconds => Self { at: told.at, exact: true },
            (None, Some(told)) => {
                Self { at: newest.map_or(told.at, |newest| newest.max(told.at)), exact: false }
            }
            (None, None) => Self { at: now, exact: false },
        }
    }

    pub(super) fn exact(at: Time) -> Self {
        Self { at, exact: true }
    }
}

/// Learns when something began: an exact time is better than a cut one, an earlier than a later.
pub(super) fn began(known: &mut Option<Stamp>, stamp: Stamp) {
    let is_better = |known: Stamp| match (stamp.exact, known.exact) {
        (true, false) => true,
        (false, true) => false,
        _ => stamp.at < known.at,
    };
    if known.is_none_or(is_better) {
        *known = Some(stamp);
    }
}

/// Learns when something ended: an exact time is better than a cut one, a later than an earlier.
pub(super) fn ended(known: &mut Option<Stamp>, stamp: Stamp) {
    let is_better = |known: Stamp| match (stamp.exact, known.exact) {
        (true, false) => true,
        (false, true) => false,
        _ => stamp.at > known.at,
    };
    if known.is_none_or(is_better) {
        *known = Some(stamp);
    }
}
