//! A call as it waits for its turn.

use crate::Activation;
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo,
    IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, RtpStats,
    TrackInfo, VideoQuality, WebhookInfo,
};
use livekit_otel_model::event::Caller;

/// What to do, and in which span it was asked for.
#[derive(Debug)]
pub struct Job {
    pub call: Call,
    pub caller: Option<Caller>,
}

#[derive(Debug)]
pub enum Call {
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
pub struct ParticipantCall {
    pub room: Room,
    pub participant: ParticipantInfo,
    pub guard: Option<ReferenceGuard>,
    pub step: ParticipantStep,
}

#[derive(Debug)]
pub enum ParticipantStep {
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
pub struct TrackCall {
    pub room: Room,
    pub participant_sid: String,
    pub identity: String,
    pub track: TrackInfo,
    pub should_send_event: bool,
    pub step: TrackStep,
}

#[derive(Debug)]
pub enum TrackStep {
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
pub enum EgressStep {
    Started,
    Updated,
    Ended,
}

#[derive(Debug, Clone, Copy)]
pub enum IngressStep {
    Created,
    Deleted,
    Started,
    Updated,
    Ended,
}

impl Call {
    /// What its order is kept by: the room's SID, or the id of what happens in none.
    pub fn room(&self) -> &str {
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
