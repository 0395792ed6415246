//! A call as it waits for its turn.

use crate::event::Caller;
use crate::proto::messages::{
    AnalyticsClientMeta, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo,
    IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, RtpStats,
    TrackInfo, VideoQuality, WebhookInfo,
};
use crate::stats::worker::{ReferenceGuard, StatsKey};
use crate::telemetry::Activation;

/// What to do, and in which span it was asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) call: Call,
    pub(super) caller: Option<Caller>,
}

#[derive(Debug)]
pub(super) enum Call {
    Stats(StatsKey, Box<AnalyticsStat>),
    RoomStarted(Box<Room>),
    RoomEnded(Box<Room>, RoomEndReason),
    Participant(Box<ParticipantCall>),
    Track(Box<TrackCall>),
    Egress(EgressStep, Box<EgressInfo>),
    Ingress(IngressStep, Box<IngressInfo>),
    LocalRoomState(Box<AnalyticsNodeRooms>),
    Report(Box<ReportInfo>),
    Api(Box<ApiCallInfo>),
    Webhook(Box<WebhookInfo>),
}

#[derive(Debug)]
pub(crate) struct ParticipantCall {
    pub(crate) room: Room,
    pub(crate) participant: ParticipantInfo,
    pub(crate) guard: Option<ReferenceGuard>,
    pub(crate) step: ParticipantStep,
}

#[derive(Debug)]
pub(crate) enum ParticipantStep {
    Joined {
        client_info: Option<Box<ClientInfo>>,
        client_meta: Option<Box<AnalyticsClientMeta>>,
        should_send_event: bool,
    },
    Active {
        client_meta: Option<Box<AnalyticsClientMeta>>,
        activation: Activation,
    },
    Resumed {
        node_id: String,
        reason: ReconnectReason,
    },
    Left {
        should_send_event: bool,
    },
}

#[derive(Debug)]
pub(crate) struct TrackCall {
    pub(crate) room: Room,
    pub(crate) participant_sid: String,
    pub(crate) identity: String,
    pub(crate) track: TrackInfo,
    pub(crate) should_send_event: bool,
    pub(crate) step: TrackStep,
}

#[derive(Debug)]
pub(crate) enum TrackStep {
    PublishRequested,
    Published,
    Unpublished { was_published_locally: bool },
    SubscribeRequested,
    Subscribed { publisher: Option<ParticipantInfo> },
    Unsubscribed,
    SubscribeFailed { error: String, is_user_error: bool },
    Muted,
    Unmuted,
    PublishedUpdate,
    MaxSubscribedVideoQuality { mime_type: String, max_quality: VideoQuality },
    PublishRtpStats { mime_type: String, layer: i32, stats: RtpStats },
    SubscribeRtpStats { mime_type: String, stats: RtpStats },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum EgressStep {
    Started,
    Updated,
    Ended,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum IngressStep {
    Created,
    Deleted,
    Started,
    Updated,
    Ended,
}

impl Call {
    /// What its order is kept by: the room's SID, or the id of what happens in none.
    pub(super) fn room(&self) -> &str {
        match self {
            Self::Stats(key, _) => key.room_sid(),
            Self::RoomStarted(room) | Self::RoomEnded(room, _) => &room.sid,
            Self::Participant(call) => &call.room.sid,
            Self::Track(call) => &call.room.sid,
            Self::Egress(_, info) if info.room_id.is_empty() => &info.egress_id,
            Self::Egress(_, info) => &info.room_id,
            Self::Ingress(_, info) => &info.ingress_id,
            Self::Webhook(info) => &info.room_id,
            Self::LocalRoomState(_) | Self::Report(_) | Self::Api(_) => "",
        }
    }
}
