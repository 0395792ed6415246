//! A call of the service while it waits in its room's queue.

use super::service::Activation;
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::encode::{EgressStep, IngressStep, TrackCall};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo,
    IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, WebhookInfo,
};
use livekit_otel_model::event::Caller;

/// A call, and the span that it was made in.
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
    Track { call: Box<TrackCall>, should_send_event: bool },
    Egress(EgressStep, Box<EgressInfo>),
    Ingress(IngressStep, Box<IngressInfo>),
    LocalRoomState(Box<AnalyticsNodeRooms>),
    Report(Box<ReportInfo>),
    Api(Box<ApiCallInfo>),
    Webhook(Box<WebhookInfo>),
}

#[derive(Debug)]
pub(super) struct ParticipantCall {
    pub(super) room: Room,
    pub(super) participant: ParticipantInfo,
    pub(super) guard: Option<ReferenceGuard>,
    pub(super) step: ParticipantStep,
}

#[derive(Debug)]
pub(super) enum ParticipantStep {
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

impl Call {
    /// Calls with the same key keep their order: the room's SID, or the id of something outside of
    /// rooms.
    pub(super) fn order_key(&self) -> &str {
        match self {
            Self::Stats(key, _) => key.room_sid(),
            Self::RoomStarted(room) | Self::RoomEnded(room, _) => &room.sid,
            Self::Participant(call) => &call.room.sid,
            Self::Track { call, .. } => &call.room.sid,
            Self::Egress(_, info) if info.room_id.is_empty() => &info.egress_id,
            Self::Egress(_, info) => &info.room_id,
            Self::Ingress(_, info) => &info.ingress_id,
            Self::Webhook(info) => &info.room_id,
            Self::LocalRoomState(_) | Self::Report(_) | Self::Api(_) => "",
        }
    }
}
