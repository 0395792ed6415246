//! What the instruments learn from the sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::track::Description;
use livekit_otel_model::event::{ParticipantSid, RoomSid, TrackKind, TrackSource};
use livekit_otel_model::semconv::event as name;

/// Something that ended or was answered, for [`crate::stats`].
#[derive(Debug, Clone)]
pub enum Fact {
    /// A room ended.
    RoomEnded {
        /// How long it was open.
        took: Duration,
    },
    /// A participant ended.
    ParticipantEnded {
        /// How long it was there.
        took: Duration,
        /// Whether its media never connected.
        aborted: bool,
    },
    /// A participant's media connected, or never did.
    Connected {
        /// How long it took from its signal connection.
        took: Duration,
        /// Whether it never did.
        aborted: bool,
    },
    /// A track was published.
    Published {
        /// How long it took from the request.
        took: Duration,
        /// Which kind and source.
        description: Description,
    },
    /// An attempt to subscribe was answered.
    Subscribed {
        /// How long it took from the request.
        took: Duration,
        /// Whether it failed.
        failed: bool,
        /// Which kind and source.
        description: Description,
    },
    /// A participant's spans have left: no more of its stats are waited for.
    ParticipantReleased {
        /// Its room.
        room: RoomSid,
        /// Itself.
        participant: ParticipantSid,
    },
    /// A room's spans have left.
    RoomReleased {
        /// Itself.
        room: RoomSid,
    },
    /// A list of rooms had something else than what was told.
    Disagreement(Disagreement),
}

impl Description {
    /// The track's kind.
    pub fn kind(&self) -> Option<TrackKind> {
        self.kind
    }

    /// The track's source.
    pub fn source(&self) -> Option<TrackSource> {
        self.source
    }
}

/// What there is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Open rooms.
    pub rooms: u64,
    /// Participants in them.
    pub participants: u64,
    /// Tracks that they publish, by kind and source.
    pub tracks: std::collections::BTreeMap<(Option<TrackKind>, Option<TrackSource>), u64>,
}

/// What was forgotten before its time, as there was no more place for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ids of messages and of rooms.
    pub ids: u64,
    /// Rooms and participants that had ended.
    pub ended: u64,
}

/// What a list and what was told did not agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Disagreement {
    /// An open room that nobody told of.
    RoomMissing,
    /// A room whose end nobody told.
    RoomGone,
    /// A participant that nobody told of.
    ParticipantMissing,
    /// A participant whose leaving nobody told.
    ParticipantGone,
}

impl Disagreement {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoomMissing => "room_missing",
            Self::RoomGone => "room_gone",
            Self::ParticipantMissing => "participant_missing",
            Self::ParticipantGone => "participant_gone",
        }
    }

    pub(super) fn event_name(self) -> &'static str {
        match self {
            Self::RoomMissing => name::ROOM_MISSING,
            Self::RoomGone => name::ROOM_GONE,
            Self::ParticipantMissing => name::PARTICIPANT_MISSING,
            Self::ParticipantGone => name::PARTICIPANT_GONE,
        }
    }
}
