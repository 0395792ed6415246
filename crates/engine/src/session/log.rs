//! Log records: one for each event.

use std::sync::Arc;

use super::attributes::{attribute, track_attributes};
use super::event_time::EventTime;
use super::failure;
use super::room::Room;
use super::settings::Settings;
use super::totals::rtp_attributes;
use crate::ids;
use livekit_otel_model::event::{Event, EventKind, Origin, Time};
use livekit_otel_model::semconv::{event as name, key};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, SpanId, TraceId, Value};

/// The record of an event that happened at `time` in `room`, if in any, and was received at `now`. It
/// belongs to the span `context`.
pub(super) fn record(
    event: &Event,
    room: Option<&Room>,
    context: Option<(TraceId, SpanId)>,
    (time, now): (EventTime, Time),
    settings: &Settings,
) -> LogRecord {
    let mut attributes = Vec::with_capacity(12);
    subject(event, room, &mut attributes);
    for detail in &event.details {
        // A track's unknown value is a detail; its description may have a known one.
        if !attributes.iter().any(|known| known.key == detail.key) {
            attributes.push(attribute(detail));
        }
    }
    if let Some(rtp) = &event.rtp {
        rtp_attributes(rtp, &mut attributes);
    }
    if let Some(error) = &event.error {
        attributes.push(Attribute::new(key::ERROR, Arc::clone(error)));
    }
    if let Some(failure) = event.work.as_ref().and_then(|work| work.failure.as_ref()) {
        attributes.push(Attribute::new(key::ERROR_TYPE, Arc::clone(&failure.error_type)));
    }
    if let Some(url) = context.and_then(|(trace, _)| settings.url_of(&trace)) {
        attributes.push(Attribute::new(key::TRACE_URL, &*url));
    }
    if let EventKind::Unknown(kind) = &event.kind {
        attributes.push(Attribute::new(key::EVENT_TYPE, Arc::clone(kind)));
    }
    if !time.exact && event.reported.is_some() {
        attributes.push(Attribute::new(key::TIME_PRECISION, "1s"));
    }
    let source = match event.origin {
        Origin::Webhook => "webhook",
        Origin::Analytics => "analytics",
    };
    attributes.push(Attribute::new(key::SOURCE, source));
    if !event.id.is_empty() {
        attributes.push(Attribute::new(key::LOG_RECORD_UID, Arc::clone(&event.id)));
    }
    LogRecord {
        event_name: event_name(&event.kind),
        time: time.at,
        observed: now,
        severity: severity(event),
        context,
        attributes,
    }
}

// The room, participant and track that it is about.
fn subject(event: &Event, room: Option<&Room>, to: &mut Vec<Attribute>) {
    let mut text = |key, value: Option<Arc<str>>| {
        if let Some(value) = value {
            to.push(Attribute { key, value: Value::Text(value) });
        }
    };
    let info = event.room.as_ref();
    let sid = info.and_then(|room| room.sid.as_ref()).or(room.map(|room| &room.sid));
    text(key::ROOM_ID, sid.map(|sid| sid.shared()));
    let name = info.and_then(|room| room.name.as_ref());
    let name = name.or_else(|| room.and_then(|room| room.name.as_ref()));
    text(key::ROOM_NAME, name.map(|name| name.shared()));
    if let Some(who) = &event.participant {
        let known = room.and_then(|room| room.participants.get(&who.sid));
        let identity =
            who.identity.as_ref().or_else(|| known.and_then(|who| who.identity.as_ref()));
        text(key::PARTICIPANT_ID, Some(who.sid.shared()));
        text(key::PARTICIPANT_IDENTITY, identity.map(|identity| identity.shared()));
        text(key::PARTICIPANT_KIND, who.kind.clone());
        text(key::DISCONNECT_REASON, who.disconnect_reason.clone());
    }
    text(key::PUBLISHER_ID, event.publisher.as_ref().map(|sid| sid.shared()));
    text(key::NODE_ID, event.node.as_ref().map(|node| node.shared()));
    if let Some(track) = &event.track {
        text(key::TRACK_ID, Some(track.sid.shared()));
        if let Some(entry) = room.and_then(|room| room.catalog.get(&track.sid)) {
            track_attributes(&entry.description, to);
        }
    }
}

/// The span that an event of a room belongs to: the track's, the participant's or the room's.
pub(super) fn context(event: &Event, room: &Room) -> (TraceId, SpanId) {
    let sid = &room.sid;
    let Some(who) = &event.participant else { return (ids::trace(sid), room.span_id()) };
    let (trace, own) = room.place(&who.sid);
    let span = match (&event.kind, &event.track) {
        (EventKind::TrackPublishRequested, Some(track)) => ids::publish(sid, &who.sid, &track.sid),
        (
            EventKind::TrackPublished
            | EventKind::TrackUnpublished
            | EventKind::TrackPublishedUpdate
            | EventKind::TrackMuted
            | EventKind::TrackUnmuted
            | EventKind::TrackPublishStats
            | EventKind::TrackMaxSubscribedVideoQuality,
            Some(track),
        ) => ids::track(sid, &who.sid, &track.sid),
        _ => own,
    };
    (trace, span)
}

// Error: a request failed. Warn: a participant lost its connection, or the event is unknown. Debug:
// what the server does on its own, many times in a call. Info: the rest.
fn severity(event: &Event) -> Severity {
    match event.kind {
        EventKind::TrackSubscribeFailed => Severity::Error,
        _ if event.error.is_some() || has_failed(event) => Severity::Error,
        EventKind::ParticipantLeft if was_lost(event) => Severity::Warn,
        EventKind::ParticipantConnectionAborted | EventKind::Unknown(_) => Severity::Warn,
        EventKind::TrackPublishRequested
        | EventKind::TrackSubscribeRequested
        | EventKind::TrackPublishedUpdate
        | EventKind::TrackPublishStats
        | EventKind::TrackSubscribeStats
        | EventKind::TrackMaxSubscribedVideoQuality
        | EventKind::EgressUpdated
        | EventKind::IngressUpdated
        | EventKind::SipCallUpdate
        | EventKind::Webhook
        | EventKind::NodeRooms => Severity::Debug,
        _ => Severity::Info,
    }
}

fn has_failed(event: &Event) -> bool {
    event.work.as_ref().is_some_and(|work| work.failure.is_some())
}

fn was_lost(event: &Event) -> bool {
    let reason = event.participant.as_ref().and_then(|who| who.disconnect_reason.as_deref());
    reason.and_then(failure::message).is_some()
}

/// The name of an event; an unknown webhook is named by the rule of the known ones.
pub(super) fn event_name(kind: &EventKind) -> Arc<str> {
    let known = match kind {
        EventKind::RoomCreated => name::ROOM_CREATED,
        EventKind::RoomEnded => name::ROOM_ENDED,
        EventKind::ParticipantJoined => name::PARTICIPANT_JOINED,
        EventKind::ParticipantLeft => name::PARTICIPANT_LEFT,
        EventKind::ParticipantConnectionAborted => name::PARTICIPANT_CONNECTION_ABORTED,
        EventKind::TrackPublished => name::TRACK_PUBLISHED,
        EventKind::TrackPublishRequested => name::TRACK_PUBLISH_REQUESTED,
        EventKind::TrackUnpublished => name::TRACK_UNPUBLISHED,
        EventKind::TrackSubscribed => name::TRACK_SUBSCRIBED,
        EventKind::TrackSubscribeRequested => name::TRACK_SUBSCRIBE_REQUESTED,
        EventKind::TrackSubscribeFailed => name::TRACK_SUBSCRIBE_FAILED,
        EventKind::TrackUnsubscribed => name::TRACK_UNSUBSCRIBED,
        EventKind::TrackPublishedUpdate => name::TRACK_PUBLISHED_UPDATE,
        EventKind::TrackMuted => name::TRACK_MUTED,
        EventKind::TrackUnmuted => name::TRACK_UNMUTED,
        EventKind::TrackPublishStats => name::TRACK_PUBLISH_STATS,
        EventKind::TrackSubscribeStats => name::TRACK_SUBSCRIBE_STATS,
        EventKind::ParticipantActive => name::PARTICIPANT_ACTIVE,
        EventKind::ParticipantResumed => name::PARTICIPANT_RESUMED,
        EventKind::TrackMaxSubscribedVideoQuality => name::TRACK_MAX_SUBSCRIBED_VIDEO_QUALITY,
        EventKind::Reconnected => name::RECONNECTED,
        EventKind::Report => name::REPORT,
        EventKind::ApiCall => name::API_CALL,
        EventKind::Webhook => name::WEBHOOK,
        EventKind::AgentJobPending => name::AGENT_JOB_PENDING,
        EventKind::AgentJobStarted => name::AGENT_JOB_STARTED,
        EventKind::AgentJobEnded => name::AGENT_JOB_ENDED,
        EventKind::NodeRooms => name::NODE_ROOMS,
        EventKind::Unknown(kind) => return unknown_name(kind),
        other => service_name(other),
    };
    known.into()
}

// Egress, ingress and SIP.
fn service_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::EgressStarted => name::EGRESS_STARTED,
        EventKind::EgressEnded => name::EGRESS_ENDED,
        EventKind::EgressUpdated => name::EGRESS_UPDATED,
        EventKind::IngressCreated => name::INGRESS_CREATED,
        EventKind::IngressDeleted => name::INGRESS_DELETED,
        EventKind::IngressStarted => name::INGRESS_STARTED,
        EventKind::IngressEnded => name::INGRESS_ENDED,
        EventKind::IngressUpdated => name::INGRESS_UPDATED,
        EventKind::SipInboundTrunkCreated => name::SIP_INBOUND_TRUNK_CREATED,
        EventKind::SipInboundTrunkDeleted => name::SIP_INBOUND_TRUNK_DELETED,
        EventKind::SipOutboundTrunkCreated => name::SIP_OUTBOUND_TRUNK_CREATED,
        EventKind::SipOutboundTrunkDeleted => name::SIP_OUTBOUND_TRUNK_DELETED,
        EventKind::SipDispatchRuleCreated => name::SIP_DISPATCH_RULE_CREATED,
        EventKind::SipDispatchRuleDeleted => name::SIP_DISPATCH_RULE_DELETED,
        EventKind::SipParticipantCreated => name::SIP_PARTICIPANT_CREATED,
        EventKind::SipCallIncoming => name::SIP_CALL_INCOMING,
        EventKind::SipCallStarted => name::SIP_CALL_STARTED,
        EventKind::SipCallEnded => name::SIP_CALL_ENDED,
        EventKind::SipTransferRequested => name::SIP_TRANSFER_REQUESTED,
        EventKind::SipTransferComplete => name::SIP_TRANSFER_COMPLETE,
        EventKind::SipCallUpdate => name::SIP_CALL_UPDATE,
        _ => name::UNKNOWN,
    }
}

// `room_upgraded` becomes `lk.room.upgraded`; a number, or anything else, becomes `lk.unknown`.
fn unknown_name(kind: &str) -> Arc<str> {
    let plain = kind.len() <= 64
        && kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.chars().all(|each| each.is_ascii_lowercase() || each == '_');
    if plain { format!("lk.{}", kind.replacen('_', ".", 1)).into() } else { name::UNKNOWN.into() }
}
