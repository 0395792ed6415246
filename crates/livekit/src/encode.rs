//! The messages that a LiveKit server sends about what happens: analytics events and webhooks, as
//! upstream makes them (livekit pkg/telemetry/events.go).

mod processed;

pub use processed::{Took, processed, resource};

use pbjson_types::Timestamp;

use crate::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsEventType as Type, EgressInfo, IngressInfo,
    ParticipantInfo, ReconnectReason, Room, RtpStats, TrackInfo, VideoQuality, WebhookConfig,
    WebhookEvent, egress_info::Request,
};
use livekit_otel_model::event::Time;

/// The names of webhooks (livekit protocol, webhook/consts.go).
#[allow(missing_docs)] // each is its value
pub mod webhook {
    pub const ROOM_STARTED: &str = "room_started";
    pub const ROOM_FINISHED: &str = "room_finished";
    pub const PARTICIPANT_JOINED: &str = "participant_joined";
    pub const PARTICIPANT_LEFT: &str = "participant_left";
    pub const PARTICIPANT_CONNECTION_ABORTED: &str = "participant_connection_aborted";
    pub const TRACK_PUBLISHED: &str = "track_published";
    pub const TRACK_UNPUBLISHED: &str = "track_unpublished";
    pub(super) const EGRESS_STARTED: &str = "egress_started";
    pub(super) const EGRESS_UPDATED: &str = "egress_updated";
    pub(super) const EGRESS_ENDED: &str = "egress_ended";
    pub(super) const INGRESS_STARTED: &str = "ingress_started";
    pub(super) const INGRESS_ENDED: &str = "ingress_ended";
}

/// What happens to a track, with what only that event carries.
#[derive(Debug)]
#[allow(missing_docs)] // named after the methods of upstream's TelemetryService
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

/// What happens to a track.
#[derive(Debug)]
pub struct TrackCall {
    /// The room.
    pub room: Room,
    /// The publisher or the subscriber.
    pub participant_sid: String,
    /// Its identity; empty where it is unknown.
    pub identity: String,
    /// The track.
    pub track: TrackInfo,
    /// What happens.
    pub step: TrackStep,
}

/// What happens to an egress.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum EgressStep {
    Started,
    Updated,
    Ended,
}

/// What happens to an ingress.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum IngressStep {
    Created,
    Deleted,
    Started,
    Updated,
    Ended,
}

/// A time as a field of a message.
pub fn timestamp(at: Time) -> Timestamp {
    let (seconds, nanos) = (at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// An event with nothing but its type and time.
pub fn event(kind: Type, now: Time) -> AnalyticsEvent {
    AnalyticsEvent {
        r#type: kind as i32,
        timestamp: Some(timestamp(now)),
        ..AnalyticsEvent::default()
    }
}

/// A room was created. Its time is the room's creation in whole seconds, and its SID is in `room`
/// alone.
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

/// An event of a participant.
pub fn of_participant(
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

/// What a resume says of the connection: the node and the reason.
pub fn resumed(node_id: String, reason: ReconnectReason) -> AnalyticsClientMeta {
    AnalyticsClientMeta {
        node: node_id,
        reconnect_reason: reason as i32,
        ..AnalyticsClientMeta::default()
    }
}

/// A room of which only this is sent.
fn minimal_room(sid: &str, name: &str) -> Room {
    Room { sid: sid.to_owned(), name: name.to_owned(), ..Room::default() }
}

/// A participant of which only this is known.
fn minimal(sid: &str, identity: &str) -> ParticipantInfo {
    ParticipantInfo {
        sid: sid.to_owned(),
        identity: identity.to_owned(),
        ..ParticipantInfo::default()
    }
}

/// The name of a track's webhook; only its publication and its end have one.
pub fn track_webhook(step: &TrackStep) -> Option<&'static str> {
    match step {
        TrackStep::Published => Some(webhook::TRACK_PUBLISHED),
        TrackStep::Unpublished { .. } => Some(webhook::TRACK_UNPUBLISHED),
        _ => None,
    }
}

/// The webhook with this name of what happens to a track.
pub fn of_track_webhook(name: &str, call: &TrackCall) -> WebhookEvent {
    WebhookEvent {
        event: name.to_owned(),
        room: Some(call.room.clone()),
        participant: Some(minimal(&call.participant_sid, &call.identity)),
        track: Some(call.track.clone()),
        ..WebhookEvent::default()
    }
}

/// The event of what happens to a track. Unlike the webhook it has only the room's SID and name.
pub fn of_track(call: TrackCall, now: Time) -> AnalyticsEvent {
    let kind = track_event(&call.step);
    let TrackCall { room, participant_sid: sid, identity, track, step } = call;
    let room = minimal_room(&room.sid, &room.name);
    let mut event = match step {
        // Totals carry the SIDs of their participant and track, and nothing else of them.
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
pub fn of_egress(step: EgressStep, info: EgressInfo, now: Time) -> AnalyticsEvent {
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
pub fn egress_webhook(step: EgressStep) -> &'static str {
    match step {
        EgressStep::Started => webhook::EGRESS_STARTED,
        EgressStep::Updated => webhook::EGRESS_UPDATED,
        EgressStep::Ended => webhook::EGRESS_ENDED,
    }
}

/// The webhook with this name of what happens to an egress.
pub fn of_egress_webhook(name: &str, info: &EgressInfo) -> WebhookEvent {
    WebhookEvent {
        event: name.to_owned(),
        room: Some(minimal_room(&info.room_id, &info.room_name)),
        egress_info: Some(info.clone()),
        ..WebhookEvent::default()
    }
}

/// The webhooks that an egress's request names (livekit protocol, egress/notify_options.go).
pub fn extra_webhooks(info: &EgressInfo) -> &[WebhookConfig] {
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
pub fn of_ingress(step: IngressStep, info: IngressInfo, now: Time) -> AnalyticsEvent {
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
pub fn ingress_webhook(step: IngressStep) -> Option<&'static str> {
    match step {
        IngressStep::Started => Some(webhook::INGRESS_STARTED),
        IngressStep::Ended => Some(webhook::INGRESS_ENDED),
        IngressStep::Created | IngressStep::Deleted | IngressStep::Updated => None,
    }
}

/// The webhook `name` about an ingress. Its room has only a name, because the room of an ingress need not exist
/// yet.
pub fn of_ingress_webhook(name: &str, info: &IngressInfo) -> WebhookEvent {
    WebhookEvent {
        event: name.to_owned(),
        room: Some(minimal_room("", &info.room_name)),
        ingress_info: Some(info.clone()),
        ..WebhookEvent::default()
    }
}
