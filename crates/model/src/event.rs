//! The domain's words: typed ids, what LiveKit tells of a room ([`Event`]) and of its
//! streams ([`StreamStat`]). Imports nothing of ours.

mod decoded;
mod ids;
pub mod report;
pub mod rooms;
mod work;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use crate::counts::{Counter, Counts};
pub use decoded::{Decoded, Unknown};
pub use ids::{Identity, NodeId, ParticipantSid, RoomName, RoomSid, TrackSid};
pub use work::{Failure, Work, WorkKind};

/// A point in time: nanoseconds since the Unix epoch.
///
/// LiveKit writes 1970 and 0001 for "unset"; such a time is never a `Time` here, it is a `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// From Unix nanoseconds; `None` where that is 0 (unset).
    pub fn from_nanos(nanos: u64) -> Option<Self> {
        (nanos > 0).then_some(Self(nanos))
    }

    /// From Unix milliseconds; `None` where they are not after 1970 (unset).
    pub fn from_millis(millis: i64) -> Option<Self> {
        let nanos = u64::try_from(millis).ok()?.checked_mul(1_000_000)?;
        Self::from_nanos(nanos)
    }

    /// From whole Unix seconds; `None` where they are not after 1970 (unset).
    pub fn from_secs(secs: i64) -> Option<Self> {
        Self::from_millis(secs.checked_mul(1000)?)
    }

    /// From the system's clock; a clock before 1970 reads as 1970.
    pub fn from_system(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the Unix epoch.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// How long `earlier` was before this; zero where it was not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Who told of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A signed webhook.
    Webhook,
    /// The analytics stream.
    Analytics,
}

/// What happened: LiveKit's `AnalyticsEventType`, and the webhooks that have no such type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // each is named as LiveKit names it
pub enum EventKind {
    RoomCreated,
    RoomEnded,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantConnectionAborted,
    TrackPublished,
    TrackPublishRequested,
    TrackUnpublished,
    TrackSubscribed,
    TrackSubscribeRequested,
    TrackSubscribeFailed,
    TrackUnsubscribed,
    TrackPublishedUpdate,
    TrackMuted,
    TrackUnmuted,
    TrackPublishStats,
    TrackSubscribeStats,
    ParticipantActive,
    ParticipantResumed,
    EgressStarted,
    EgressEnded,
    EgressUpdated,
    TrackMaxSubscribedVideoQuality,
    Reconnected,
    IngressCreated,
    IngressDeleted,
    IngressStarted,
    IngressEnded,
    IngressUpdated,
    SipInboundTrunkCreated,
    SipInboundTrunkDeleted,
    SipOutboundTrunkCreated,
    SipOutboundTrunkDeleted,
    SipDispatchRuleCreated,
    SipDispatchRuleDeleted,
    SipParticipantCreated,
    SipCallIncoming,
    SipCallStarted,
    SipCallEnded,
    SipTransferRequested,
    SipTransferComplete,
    SipCallUpdate,
    Report,
    ApiCall,
    Webhook,
    /// The webhook `agent_job_started`; analytics have no such type.
    AgentJobStarted,
    /// The webhook `agent_job_ended`; analytics have no such type.
    AgentJobEnded,
    /// `AnalyticsNodeRooms`: the rooms that a node holds.
    NodeRooms,
    /// A type that this version does not know, as the origin names or numbers it.
    Unknown(Arc<str>),
}

/// When a thing happened, as its origin says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedTime {
    /// The told time.
    pub at: Time,
    /// Whether it is cut to whole seconds (a webhook's `created_at`, `ROOM_CREATED`).
    pub whole_seconds: bool,
}

/// Something that LiveKit told, reduced to what may leave the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The origin's own id, `EV_…` or `AE_…`; empty where it sent none.
    pub id: Arc<str>,
    /// Who told it.
    pub origin: Origin,
    /// What happened.
    pub kind: EventKind,
    /// When, where the origin says so.
    pub told: Option<ReportedTime>,
    /// The LiveKit node that told it.
    pub node: Option<NodeId>,
    /// The room it happened in.
    pub room: Option<Room>,
    /// The participant it happened to.
    pub participant: Option<Participant>,
    /// The track it happened to.
    pub track: Option<Track>,
    /// Who publishes the track, where the participant is a subscriber.
    pub publisher: Option<ParticipantSid>,
    /// What the origin says went wrong; empty where nothing did.
    pub error: Option<Arc<str>>,
    /// A track's lifetime totals (`TRACK_PUBLISH_STATS`, `TRACK_SUBSCRIBE_STATS`).
    pub rtp: Option<Box<RtpTotals>>,
    /// What it tells of a thing that has a span of its own beside the room's media.
    pub work: Option<Box<Work>>,
    /// A webhook's delivery, for [`EventKind::Webhook`].
    pub delivery: Option<Box<Delivery>>,
    /// What else of the message is on the allowlist, for the log record.
    pub details: Vec<Detail>,
    /// The span that it was told in, of the process that tells it.
    pub caller: Option<Caller>,
}

/// A span of another trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Caller {
    /// Its trace; not all zero.
    pub trace_id: [u8; 16],
    /// Its id; not all zero.
    pub span_id: [u8; 8],
}

/// One more allowlisted field of a message, under its emitted name.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// The attribute's key (see [`crate::semconv`]).
    pub key: &'static str,
    /// Its value.
    pub value: DetailValue,
}

/// A [`Detail`]'s value.
#[derive(Debug, Clone, PartialEq)]
pub enum DetailValue {
    /// Text.
    Text(Arc<str>),
    /// A count, or a time in Unix nanoseconds.
    Int(i64),
    /// A measure, in the unit that the key's documentation gives.
    Float(f64),
    /// A flag.
    Bool(bool),
}

/// A room, as far as a message tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// Its session id; some messages only know the name.
    pub sid: Option<RoomSid>,
    /// Its name.
    pub name: Option<RoomName>,
    /// `creation_time_ms`.
    pub created: Option<Time>,
}

/// A participant, as far as a message tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Participant {
    /// Its session id.
    pub sid: ParticipantSid,
    /// Its identity.
    pub identity: Option<Identity>,
    /// `ParticipantInfo.Kind` in lower case: standard, ingress, egress, sip, agent, …; only from
    /// a full description, as proto3 leaves out standard.
    pub kind: Option<Arc<str>>,
    /// `joined_at_ms`: when its signal connection was made.
    pub joined: Option<Time>,
    /// How far it is: joining, joined (it has answered), active (its media is connected) or
    /// disconnected; only from a full description.
    pub state: Option<Arc<str>>,
    /// The span that its client, or who made its token, says it belongs to: a W3C `traceparent` in
    /// its attributes or its metadata.
    pub client_span: Option<Caller>,
    /// Why it left, in lower case as LiveKit names it (`client_initiated`, …).
    pub disconnect_reason: Option<Arc<str>>,
}

/// A track, as far as a message tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its session id.
    pub sid: TrackSid,
    /// audio, video or data; `None` where a message has nothing but the SID, as proto3 leaves out
    /// audio.
    pub kind: Option<TrackKind>,
    /// Where it comes from; `None` where the message does not say.
    pub source: Option<TrackSource>,
    /// Its codec, `audio/opus`.
    pub mime_type: Option<Arc<str>>,
    /// Whether it was muted as the message was written.
    pub muted: bool,
}

/// `TrackType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TrackKind {
    Audio,
    Video,
    Data,
}

impl TrackKind {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Data => "data",
        }
    }
}

/// `TrackSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TrackSource {
    Camera,
    Microphone,
    ScreenShare,
    ScreenShareAudio,
}

impl TrackSource {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::ScreenShare => "screen_share",
            Self::ScreenShareAudio => "screen_share_audio",
        }
    }
}

/// Lifetime totals of one RTP stream: the part of `RTPStats` that leaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RtpTotals {
    /// Packets, without duplicates and padding.
    pub packets: u64,
    /// Bytes of payload of those packets.
    pub bytes: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets that came late.
    pub packets_out_of_order: u64,
    /// Frames.
    pub frames: u64,
    /// NACKs.
    pub nacks: u64,
    /// Picture loss indications.
    pub plis: u64,
    /// Full intra requests.
    pub firs: u64,
    /// Key frames.
    pub key_frames: u64,
    /// Highest jitter.
    pub jitter_max: Duration,
    /// Highest round trip.
    pub rtt_max: Duration,
}

/// How a webhook was delivered: the part of `WebhookInfo` that leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The webhook's own id, `EV_…`.
    pub event_id: Arc<str>,
    /// When it was queued: the exact time of what it tells.
    pub queued: Option<Time>,
}

/// Which way a stream flows, seen from the participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// From the participant to the server.
    Upstream,
    /// From the server to the participant.
    Downstream,
}

impl Direction {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }
}

/// One finished window of one of upstream's stats workers (`AnalyticsStat`), its streams summed.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStat {
    /// `AS_…`; empty where the origin sent none.
    pub id: Arc<str>,
    /// When the window was flushed.
    pub at: Option<Time>,
    /// The LiveKit node.
    pub node: Option<NodeId>,
    /// The room.
    pub room: RoomSid,
    /// The room's name, where the message has it.
    pub room_name: Option<RoomName>,
    /// Whose worker it was.
    pub participant: ParticipantSid,
    /// Which track.
    pub track: TrackSid,
    /// Which way.
    pub direction: Direction,
    /// The codec; signalling has none.
    pub mime_type: Option<Arc<str>>,
    /// Average quality score, 1 to 5; `None` where none was measured.
    pub score: Option<f32>,
    /// Lowest quality score, 1 to 5.
    pub min_score: Option<f32>,
    /// First packet of the window; unset for signalling.
    pub start: Option<Time>,
    /// Last packet of the window; unset for signalling.
    pub end: Option<Time>,
    /// The window's counts.
    pub counts: Counts,
    /// Highest round trip of the window; `None` where none was measured.
    pub rtt: Option<Duration>,
    /// Highest jitter of the window; `None` where none was measured.
    pub jitter: Option<Duration>,
}

impl StreamStat {
    /// Whether this is media. A participant's signalling (`TR_SG…`) and data (`TR_DT…`) are not:
    /// they count in packets and bytes, never in quality.
    pub fn is_media(&self) -> bool {
        !self.track.as_str().starts_with("TR_SG") && !self.track.as_str().starts_with("TR_DT")
    }
}
