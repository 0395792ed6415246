//! Times as tellers give them: exact ones win over those cut to the second.

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, Time};

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

/// Sets a time or makes it better: an exact one replaces a cut one, and the first stays otherwise.
pub(super) fn learn(known: &mut Option<Stamp>, stamp: Stamp) {
    if known.is_none_or(|known| stamp.exact && !known.exact) {
        *known = Some(stamp);
    }
}
