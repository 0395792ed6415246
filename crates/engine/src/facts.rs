//! What the sessions learn and the instruments count: the types that both use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{
    Identity, ParticipantSid, RoomName, RoomSid, Track, TrackKind, TrackSource, WorkKind,
};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::{event as name, key};
use livekit_otel_model::signal::{Attribute, Span, Value};

/// Something that ended or was answered, for [`crate::stats`].
#[derive(Debug, Clone)]
pub enum Fact {
    /// A room ended.
    RoomEnded {
        /// How long it was open.
        took: Duration,
    },
    /// A participant left.
    ParticipantEnded {
        /// How long it was in the room.
        took: Duration,
        /// Whether its media never connected.
        aborted: bool,
        /// Why it left.
        departure: Departure,
    },
    /// A participant's media connected, or failed to.
    Connected {
        /// The time since its signal connection.
        took: Duration,
        /// Whether it failed.
        aborted: bool,
    },
    /// A track was published.
    Published {
        /// The time since the request.
        took: Duration,
        /// The track.
        description: Description,
    },
    /// An attempt to subscribe was answered.
    Subscribed {
        /// The time since the request.
        took: Duration,
        /// Whether it failed.
        failed: bool,
        /// The track.
        description: Description,
    },
    /// A participant's spans were released: no more of its stats are expected.
    ParticipantReleased {
        /// Its room.
        room: RoomSid,
        /// The participant.
        participant: ParticipantSid,
        /// Whether it is an agent.
        is_agent: bool,
        /// Its identity.
        identity: Option<Identity>,
    },
    /// A participant's spans were released: what it used.
    ParticipantUsed(Box<ParticipantUsage>),
    /// A room's span was released.
    RoomReleased {
        /// The room.
        room: RoomSid,
    },
    /// The span of an operation beside a room's media was released.
    WorkReleased(Box<WorkDone>),
    /// A list of rooms disagreed with the reported events.
    Disagreement(Disagreement),
}

/// What a participant used, by the durations of its spans and of its subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantUsage {
    /// Its room.
    pub room: RoomSid,
    /// The room's name, if it is known.
    pub room_name: Option<RoomName>,
    /// Its kind, if that is known: one of LiveKit's.
    pub kind: Option<Name>,
    /// How long it was in the room.
    pub took: Duration,
    /// How long it published tracks.
    pub published: TrackTimes,
    /// How long it was subscribed to tracks.
    pub subscribed: TrackTimes,
}

/// Durations of tracks by kind: of audio, of video, and of all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackTimes([Duration; 3]);

impl TrackTimes {
    /// Adds the duration of a track.
    pub fn add(&mut self, kind: Option<TrackKind>, took: Duration) {
        let place = match kind {
            Some(TrackKind::Audio) => 0,
            Some(TrackKind::Video) => 1,
            _ => 2,
        };
        self.0[place] = self.0[place].saturating_add(took);
    }

    /// Each kind with its duration.
    pub(crate) fn each(self) -> impl Iterator<Item = (Option<Name>, Duration)> {
        [TrackKind::Audio.name(), TrackKind::Video.name(), None].into_iter().zip(self.0)
    }
}

/// An operation whose span was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkDone {
    /// Its kind.
    pub kind: WorkKind,
    /// Its room, if it has one.
    pub room: Option<RoomSid>,
    /// The room's name, if it is known.
    pub room_name: Option<RoomName>,
    /// The duration of its span.
    pub took: Duration,
    /// From its start to the first frame of an egress, to the answer of a SIP call, or to the agent's join; `None` if
    /// that did not happen, or its time is not known.
    pub first: Option<Duration>,
    /// Why it failed, if it did.
    pub error_type: Option<Arc<str>>,
    /// What divides its metrics into series.
    pub labels: Labels,
}

impl WorkDone {
    /// An operation in `room`, as `span` describes it.
    pub fn new(
        kind: WorkKind,
        room: Option<RoomSid>,
        span: &Span,
        first: Option<Duration>,
    ) -> Self {
        let text = |key| match &span.attributes.iter().find(|it| it.key == key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        Self {
            kind,
            room,
            room_name: text(key::ROOM_NAME).and_then(RoomName::from_shared),
            took: span.end.since(span.start),
            first,
            error_type: text(key::ERROR_TYPE).cloned(),
            labels: Labels::of(kind, &span.attributes),
        }
    }
}

/// The attributes of an operation that divide its metrics into series, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Labels(Vec<Label>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Label {
    #[serde(with = "livekit_otel_model::interned")]
    key: Name,
    value: LabelValue,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum LabelValue {
    Flag(bool),
    Text(Arc<str>),
}

impl Labels {
    /// Those of `attributes`, which are of an operation of this kind.
    pub fn of(kind: WorkKind, attributes: &[Attribute]) -> Self {
        let keys: &[Name] = match kind {
            WorkKind::Egress => &[key::EGRESS_STATUS, key::EGRESS_TYPE],
            WorkKind::Ingress => &[key::INGRESS_STATUS],
            WorkKind::SipCall => &[key::SIP_ANSWER, key::SIP_CALL_DIRECTION, key::SIP_TRUNK_ID],
            WorkKind::AgentDispatch => {
                &[key::AGENT_NAME, key::DISPATCH_AUTOMATIC, key::DISPATCH_OUTCOME]
            }
            WorkKind::SipTransfer
            | WorkKind::AgentJob
            | WorkKind::ApiCall
            | WorkKind::WebhookDelivery => &[],
        };
        let label = |key: &Name| {
            let attribute = attributes.iter().find(|attribute| attribute.key == *key)?;
            let value = match &attribute.value {
                Value::Text(text) => LabelValue::Text(Arc::clone(text)),
                Value::Bool(flag) => LabelValue::Flag(*flag),
                Value::Int(_) | Value::Float(_) => return None,
            };
            Some(Label { key, value })
        };
        Self(keys.iter().filter_map(label).collect())
    }

    /// Those with these keys.
    pub(crate) fn only(&self, keys: &[Name]) -> Self {
        Self(self.0.iter().filter(|label| keys.contains(&label.key)).cloned().collect())
    }

    /// The same with one more, if it is known.
    pub(crate) fn with(mut self, key: Name, text: Option<Arc<str>>) -> Self {
        self.0.extend(text.map(|text| Label { key, value: LabelValue::Text(text) }));
        self
    }

    /// The text of a label.
    pub(crate) fn text(&self, key: Name) -> Option<&str> {
        match &self.0.iter().find(|label| label.key == key)?.value {
            LabelValue::Text(text) => Some(text),
            LabelValue::Flag(_) => None,
        }
    }

    /// As attributes of a series.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.0.iter().map(|label| match &label.value {
            LabelValue::Text(text) => Attribute::new(label.key, Arc::clone(text)),
            LabelValue::Flag(flag) => Attribute::new(label.key, *flag),
        })
    }
}

/// Why a participant left, in a bounded number of values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Departure {
    #[serde(with = "livekit_otel_model::interned")]
    pub(crate) reason: Name,
    #[serde(with = "livekit_otel_model::interned::option")]
    pub(crate) kind: Option<Name>,
    // Set if it is a failure.
    pub(crate) error_type: Option<Arc<str>>,
}

/// The description of a track.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Description {
    pub(crate) kind: Option<TrackKind>,
    pub(crate) source: Option<TrackSource>,
    pub(crate) mime_type: Option<Arc<str>>,
}

impl Description {
    /// A track of this kind and source.
    pub fn new(kind: Option<TrackKind>, source: Option<TrackSource>) -> Self {
        Self { kind, source, mime_type: None }
    }

    /// The track's kind.
    pub fn kind(&self) -> Option<TrackKind> {
        self.kind
    }

    /// The track's source.
    pub fn source(&self) -> Option<TrackSource> {
        self.source
    }

    /// Adds a message's description. What a short message leaves out stays as it is.
    pub(crate) fn update(&mut self, info: &Track) {
        self.kind = info.kind.or(self.kind);
        self.source = info.source.or(self.source);
        if let Some(mime_type) = &info.mime_type {
            self.mime_type = Some(Arc::clone(mime_type));
        }
    }
}

/// What the sessions know about the stream of a stats window.
#[derive(Debug, Clone, Default)]
pub struct StreamContext {
    /// The room's name.
    pub room_name: Option<RoomName>,
    /// The participant's identity.
    pub identity: Option<Identity>,
    /// The track, from its publication.
    pub description: Description,
    /// Whether the participant has a trace of its own; `None` if it has no span.
    pub own_trace: Option<bool>,
}

/// What is open now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Open rooms.
    pub rooms: u64,
    /// Participants in them.
    pub participants: u64,
    /// Tracks that they publish, by kind and source.
    pub tracks: BTreeMap<(Option<TrackKind>, Option<TrackSource>), u64>,
    /// Operations that are running.
    pub works: BTreeMap<(WorkKind, Labels), u64>,
    /// Egresses that are stuck, by the reason.
    pub stuck_egresses: BTreeMap<Name, u64>,
}

/// How much was forgotten early because a limit was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ids of messages and of rooms.
    pub ids: u64,
    /// Rooms and participants that had ended.
    pub ended: u64,
}

/// A difference between a list of rooms and the reported events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Disagreement {
    /// An open room that was never reported.
    RoomMissing,
    /// A room whose end was never reported.
    RoomGone,
    /// A participant that was never reported.
    ParticipantMissing,
    /// A participant whose leaving was never reported.
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

    pub(crate) fn event_name(self) -> &'static str {
        match self {
            Self::RoomMissing => name::ROOM_MISSING,
            Self::RoomGone => name::ROOM_GONE,
            Self::ParticipantMissing => name::PARTICIPANT_MISSING,
            Self::ParticipantGone => name::PARTICIPANT_GONE,
        }
    }
}
