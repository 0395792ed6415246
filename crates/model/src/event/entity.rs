//! The rooms, participants and tracks that events happen to.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{Identity, ParticipantSid, RoomName, RoomSid, TrackSid};
use super::sip::SipCall;
use super::time::Time;

/// A room, as far as a message describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Its session id; some messages contain only the name.
    pub sid: Option<RoomSid>,
    /// Its name.
    pub name: Option<RoomName>,
    /// `creation_time_ms`.
    pub created: Option<Time>,
}

/// A participant, as far as a message describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Its session id.
    pub sid: ParticipantSid,
    /// Its identity.
    pub identity: Option<Identity>,
    /// `ParticipantInfo.Kind`: `STANDARD`, `INGRESS`, `EGRESS`, `SIP`, `AGENT`, …; only from a full
    /// description, as proto3 leaves out `STANDARD`.
    pub kind: Option<Arc<str>>,
    /// `joined_at_ms`: when its signal connection was made.
    pub joined: Option<Time>,
    /// When LiveKit received its join request, or the INVITE or the answer of its SIP call, as far as
    /// its attributes say so.
    pub requested: Vec<Time>,
    /// Its state: `JOINING`, `JOINED` (it has answered), `ACTIVE` (its media is connected) or
    /// `DISCONNECTED`; only from a full description.
    pub state: Option<Arc<str>>,
    /// The span that its client or the issuer of its token put into its attributes or metadata, as a
    /// W3C `traceparent`.
    pub client_span: Option<Caller>,
    /// Why it left, as LiveKit names it (`CLIENT_INITIATED`, …).
    pub disconnect_reason: Option<Arc<str>>,
    /// Its SIP call, as far as its attributes describe one; only of kind `SIP`.
    pub sip: Option<Box<SipCall>>,
}

impl Participant {
    /// A participant of whom a message has only the SID.
    pub fn new(sid: ParticipantSid) -> Self {
        Self {
            sid,
            identity: None,
            kind: None,
            joined: None,
            requested: Vec::new(),
            state: None,
            client_span: None,
            disconnect_reason: None,
            sip: None,
        }
    }
}

/// A track, as far as a message describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Its session id.
    pub sid: TrackSid,
    /// audio, video or data; `None` if the message contains only the SID, as proto3 leaves out
    /// audio.
    pub kind: Option<TrackKind>,
    /// Where it comes from; `None` if the message does not say.
    pub source: Option<TrackSource>,
    /// Its codec, `audio/opus`.
    pub mime_type: Option<Arc<str>>,
    /// Whether it was muted when the message was written.
    pub muted: bool,
}

/// `TrackType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum TrackKind {
    Audio,
    Video,
    Data,
}

impl TrackKind {
    /// The emitted value; `None` for data, which LiveKit's registry has no value for.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Audio => Some("audio"),
            Self::Video => Some("video"),
            Self::Data => None,
        }
    }
}

/// `TrackSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum TrackSource {
    Camera,
    Microphone,
    ScreenShare,
    ScreenShareAudio,
}

impl TrackSource {
    /// The emitted value, as LiveKit's clients and agents name it, which is not the protobuf's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Camera => "SOURCE_CAMERA",
            Self::Microphone => "SOURCE_MICROPHONE",
            Self::ScreenShare => "SOURCE_SCREENSHARE",
            Self::ScreenShareAudio => "SOURCE_SCREENSHARE_AUDIO",
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
    /// Packets that never arrived.
    pub packets_lost: u64,
    /// Packets that arrived late.
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

/// A span of another trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Caller {
    /// Its trace; not all zero.
    pub trace_id: [u8; 16],
    /// Its id; not all zero.
    pub span_id: [u8; 8],
}
