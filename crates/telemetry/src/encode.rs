//! The messages that calls become: analytics events and webhooks, as upstream makes them (livekit
//! pkg/telemetry/events.go).

use pbjson_types::Timestamp;

use super::call::{
    EgressStep, IngressStep, ParticipantCall, ParticipantStep, TrackCall, TrackStep,
};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsEventType as Type, EgressInfo, IngressInfo,
    ParticipantInfo, Room, TrackInfo, WebhookConfig, WebhookEvent, egress_info::Request,
};
use livekit_otel_model::event::Time;

/// A webhook's name (livekit protocol, webhook/consts.go).
pub mod webhook {
    pub const ROOM_STARTED: &str = "room_started";
    pub const ROOM_FINISHED: &str = "room_finished";
    pub const PARTICIPANT_JOINED: &str = "participant_joined";
    pub const PARTICIPANT_LEFT: &str = "participant_left";
    pub const PARTICIPANT_CONNECTION_ABORTED: &str = "participant_connection_aborted";
    pub(crate) const TRACK_PUBLISHED: &str = "track_published";
    pub(crate) const TRACK_UNPUBLISHED: &str = "track_unpublished";
    pub(super) const EGRESS_STARTED: &str = "egress_started";
    pub(super) const EGRESS_UPDATED: &str = "egress_updated";
    pub(super) const EGRESS_ENDED: &str = "egress_ended";
    pub(super) const INGRESS_STARTED: &str = "ingress_started";
    pub(super) const INGRESS_ENDED: &str = "ingress_ended";
}

/// A time as a message has it.
pub fn timestamp(at: Time) -> Timestamp {
    let (seconds, nanos) = (at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// An event of nothing in particular.
pub fn event(kind: Type, now: Time) -> AnalyticsEvent {
    AnalyticsEvent {
        r#type: kind as i32,
        timestamp: Some(timestamp(now)),
        ..AnalyticsEvent::default()
    }
}

/// A room was created: told with its creation in whole seconds, and by its SID only in the room.
pub fn room_created(room: Room) -> AnalyticsEvent {
    let timestamp = Timestamp { seconds: room.creation_time, nanos: 0 };
    AnalyticsEvent {
        r#type: Type::RoomCreated as i32,
        timestamp: Some(timestamp),
        room: Some(room),
        ..AnalyticsEvent::default()
    }
}

/// An event of a room.
pub fn of_room(kind: Type, room: Room, now: Time) -> AnalyticsEvent {
    AnalyticsEvent { room_id: room.sid.clone(), room: Some(room), ..event(kind, now) }
}

fn of_participant(
    kind: Type,
    room: Room,
    participant: ParticipantInfo,
    now: Time,
) -> AnalyticsEvent {
    AnalyticsEvent {
        participant_id: participant.sid.clone(),
        participant: Some(participant),
        ..of_room(kind, room, now)
    }
}

/// The event of a call about a participant.
pub fn of_participant_call(kind: Type, call: ParticipantCall, now: Time) -> AnalyticsEvent {
    let ParticipantCall { room, participant, step, .. } = call;
    let (client_info, client_meta) = match step {
        ParticipantStep::Joined { client_info, client_meta, .. } => (client_info, client_meta),
        ParticipantStep::Active { client_meta, .. } => (None, client_meta),
        ParticipantStep::Resumed { node_id, reason } => {
            let meta = AnalyticsClientMeta {
                node: node_id,
                reconnect_reason: reason as i32,
                ..AnalyticsClientMeta::default()
            };
            (None, Some(Box::new(meta)))
        }
        ParticipantStep::Left { .. } => (None, None),
    };
    AnalyticsEvent {
        client_info: client_info.map(|info| *info),
        client_meta: client_meta.map(|meta| *meta),
        ..of_participant(kind, room, participant, now)
    }
}

/// A participant of which no more is known.
fn minimal(sid: &str, identity: &str) -> ParticipantInfo {
    ParticipantInfo {
        sid: sid.to_owned(),
        identity: identity.to_owned(),
        ..ParticipantInfo::default()
    }
}

/// The webhook of a call about a track, where it has one.
pub fn track_webhook(call: &TrackCall) -> Option<WebhookEvent> {
    let name = match call.step {
        TrackStep::Published => webhook::TRACK_PUBLISHED,
        TrackStep::Unpublished { .. } => webhook::TRACK_UNPUBLISHED,
        _ => return None,
    };
    Some(WebhookEvent {
        event: name.to_owned(),
        room: Some(call.room.clone()),
        participant: Some(minimal(&call.participant_sid, &call.identity)),
        track: Some(call.track.clone()),
        ..WebhookEvent::default()
    })
}

/// The event of a call about a track.
pub fn of_track(call: TrackCall, now: Time) -> AnalyticsEvent {
    let kind = track_event(&call.step);
    let TrackCall { room, participant_sid: sid, identity, track, step, .. } = call;
    let mut event = match step {
        // Totals name their participant and track by SID alone.
        TrackStep::PublishRtpStats { .. } | TrackStep::SubscribeRtpStats { .. } => {
            AnalyticsEvent { participant_id: sid, track_id: track.sid, ..of_room(kind, room, now) }
        }
        _ => {
            let is_publishing = matches!(step, TrackStep::PublishRequested | TrackStep::Published);
            let identity = if is_publishing { &*identity } else { "" };
            let track = match step {
                TrackStep::SubscribeFailed { .. } => {
                    TrackInfo { sid: track.sid, ..TrackInfo::default() }
                }
                _ => track,
            };
            AnalyticsEvent {
                track_id: track.sid.clone(),
                track: Some(track),
                ..of_participant(kind, room, minimal(&sid, identity), now)
            }
        }
    };
    match step {
        TrackStep::Subscribed { publisher } => event.publisher = publisher,
        TrackStep::SubscribeFailed { error, .. } => event.error = error,
        TrackStep::MaxSubscribedVideoQuality { mime_type, max_quality } => {
            event.max_subscribed_video_quality = max_quality as i32;
            event.mime = mime_type;
        }
        TrackStep::PublishRtpStats { mime_type, layer, stats } => {
            event.mime = mime_type;
            event.video_layer = layer;
            event.rtp_stats = Some(stats);
        }
        TrackStep::SubscribeRtpStats { mime_type, stats } => {
            event.mime = mime_type;
            event.rtp_stats = Some(stats);
        }
        _ => {}
    }
    event
}

fn track_event(step: &TrackStep) -> Type {
    match step {
        TrackStep::PublishRequested => Type::TrackPublishRequested,
        TrackStep::Published => Type::TrackPublished,
        TrackStep::Unpublished { .. } => Type::TrackUnpublished,
        TrackStep::SubscribeRequested => Type::TrackSubscribeRequested,
        TrackStep::Subscribed { .. } => Type::TrackSubscribed,
        TrackStep::Unsubscribed => Type::TrackUnsubscribed,
        TrackStep::SubscribeFailed { .. } => Type::TrackSubscribeFailed,
        TrackStep::Muted => Type::TrackMuted,
        TrackStep::Unmuted => Type::TrackUnmuted,
        TrackStep::PublishedUpdate => Type::TrackPublishedUpdate,
        TrackStep::MaxSubscribedVideoQuality { .. } => Type::TrackMaxSubscribedVideoQuality,
        TrackStep::PublishRtpStats { .. } => Type::TrackPublishStats,
        TrackStep::SubscribeRtpStats { .. } => Type::TrackSubscribeStats,
    }
}

/// The event of an egress.
pub(super) fn of_egress(step: EgressStep, info: EgressInfo, now: Time) -> AnalyticsEvent {
    let kind = match step {
        EgressStep::Started => Type::EgressStarted,
        EgressStep::Updated => Type::EgressUpdated,
        EgressStep::Ended => Type::EgressEnded,
    };
    AnalyticsEvent {
        egress_id: info.egress_id.clone(),
        room_id: info.room_id.clone(),
        egress: Some(info),
        ..event(kind, now)
    }
}

/// The name of an egress's webhook.
pub(super) fn egress_webhook(step: EgressStep) -> &'static str {
    match step {
        EgressStep::Started => webhook::EGRESS_STARTED,
        EgressStep::Updated => webhook::EGRESS_UPDATED,
        EgressStep::Ended => webhook::EGRESS_ENDED,
    }
}

/// The webhooks that an egress's request brought along (livekit protocol,
/// egress/notify_options.go).
pub(super) fn extra_webhooks(info: &EgressInfo) -> &[WebhookConfig] {
    match &info.request {
        Some(Request::Egress(request)) => &request.webhooks,
        Some(Request::Replay(request)) => &request.webhooks,
        Some(Request::RoomComposite(request)) => &request.webhooks,
        Some(Request::Web(request)) => &request.webhooks,
        Some(Request::Participant(request)) => &request.webhooks,
        Some(Request::TrackComposite(request)) => &request.webhooks,
        Some(Request::Track(request)) => &request.webhooks,
        None => &[],
    }
}

/// The event of an ingress.
pub(super) fn of_ingress(step: IngressStep, info: IngressInfo, now: Time) -> AnalyticsEvent {
    let kind = match step {
        IngressStep::Created => Type::IngressCreated,
        IngressStep::Deleted => Type::IngressDeleted,
        IngressStep::Started => Type::IngressStarted,
        IngressStep::Updated => Type::IngressUpdated,
        IngressStep::Ended => Type::IngressEnded,
    };
    AnalyticsEvent { ingress_id: info.ingress_id.clone(), ingress: Some(info), ..event(kind, now) }
}

/// The name of an ingress's webhook; only its start and its end have one.
pub(super) fn ingress_webhook(step: IngressStep) -> Option<&'static str> {
    match step {
        IngressStep::Started => Some(webhook::INGRESS_STARTED),
        IngressStep::Ended => Some(webhook::INGRESS_ENDED),
        IngressStep::Created | IngressStep::Deleted | IngressStep::Updated => None,
    }
}
