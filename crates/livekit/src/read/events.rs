//! Reads `WebhookEvent`, `AnalyticsEvent` and `AnalyticsNodeRooms` into [`Event`].

use std::time::Duration;

use livekit_protocol as lk;

use super::details::{self, Details};
use super::names::{analytics_kind, any, named, time, track_kind, track_source, webhook_kind};
use super::newer;
use super::requested;
use super::sip;
use super::traceparent;
use super::unknown::Unknown;
use super::work;
use livekit_otel_model::event::{
    Delivery, Event, EventKind, Identity, NodeId, Origin, Participant, ParticipantSid,
    ReportedTime, Room, RoomName, RoomSid, RtpTotals, Time, Track, TrackKind, TrackSid,
};
use livekit_otel_model::semconv::key;

/// Reads a webhook; `None` if it names no event.
pub(super) fn from_webhook(
    message: &lk::WebhookEvent,
    newer: &newer::Job,
    unknown: &mut Unknown,
) -> Option<Event> {
    if message.event.is_empty() {
        return None;
    }
    let kind = webhook_kind(&message.event, unknown);
    let mut details = Details::default();
    if let Some(egress) = &message.egress_info {
        details::egress(egress, &mut details, unknown);
    }
    if let Some(ingress) = &message.ingress_info {
        details::ingress(ingress, &mut details, unknown);
    }
    if let Some(job) = &message.job {
        details::job(job, newer, &mut details, unknown);
    }
    details::track(message.track.as_ref(), &mut details, unknown);
    details::room_end_reason(message.room_end_reason, &mut details, unknown);
    let job_room = message.job.as_ref().and_then(|job| job.room.as_ref());
    let egress = message.egress_info.as_ref();
    let ingress = message.ingress_info.as_ref();
    let room = room(message.room.as_ref().or(job_room), "")
        .or_else(|| egress.and_then(|info| named_room(&info.room_id, &info.room_name)))
        .or_else(|| ingress.and_then(ingress_room));
    Some(Event {
        id: message.id.as_str().into(),
        origin: Origin::Webhook,
        work: work::of_webhook(message, newer, &kind).map(Box::new),
        kind,
        reported: Time::from_secs(message.created_at)
            .map(|at| ReportedTime { at, whole_seconds: true }),
        node: None,
        room,
        participant: participant(message.participant.as_ref(), "", unknown),
        track: track(message.track.as_ref(), "", ""),
        publisher: None,
        error: details.error,
        rtp: None,
        delivery: None,
        details: details.attributes,
        caller: None,
    })
}

/// Reads an event of the analytics stream.
pub(super) fn from_analytics(message: &lk::AnalyticsEvent, unknown: &mut Unknown) -> Event {
    let kind = analytics_kind(message.r#type, unknown);
    let details = details::of_analytics(message, &kind, unknown);
    let whole_seconds = message.timestamp.as_ref().is_some_and(|at| at.nanos == 0);
    let webhook = message.webhook.as_ref();
    Event {
        id: message.id.as_str().into(),
        origin: Origin::Analytics,
        reported: time(message.timestamp.as_ref()).map(|at| ReportedTime { at, whole_seconds }),
        node: NodeId::new(&message.node_id),
        room: analytics_room(message),
        participant: participant(message.participant.as_ref(), &message.participant_id, unknown)
            .or_else(|| webhook.and_then(|info| bare_participant(&info.participant_id)))
            .or_else(|| message.api_call.as_ref().and_then(called_participant)),
        track: track(message.track.as_ref(), &message.track_id, &message.mime)
            .or_else(|| webhook.and_then(|info| bare_track(&info.track_id)))
            .or_else(|| message.api_call.as_ref().and_then(|info| bare_track(&info.track_id))),
        publisher: message.publisher.as_ref().and_then(|info| ParticipantSid::new(&info.sid)),
        error: details.error,
        rtp: message.rtp_stats.as_ref().map(|stats| Box::new(rtp_totals(stats))),
        work: work::of_analytics(message, &kind).map(Box::new),
        delivery: webhook.map(|info| Box::new(delivery(info))),
        details: details.attributes,
        caller: None,
        kind,
    }
}

/// Reads the event with which a node reports its rooms.
pub(super) fn from_node_rooms(message: &lk::AnalyticsNodeRooms) -> Event {
    let participants: usize = message.rooms.iter().map(|room| room.participants.len()).sum();
    let mut details = Details::default();
    details.int(key::NODE_ROOMS, message.rooms.len());
    details.int(key::NODE_PARTICIPANTS, participants);
    Event {
        reported: time(message.timestamp.as_ref())
            .map(|at| ReportedTime { at, whole_seconds: false }),
        node: NodeId::new(&message.node_id),
        details: details.attributes,
        ..Event::new(Origin::Analytics, EventKind::NodeRooms)
    }
}

fn analytics_room(message: &lk::AnalyticsEvent) -> Option<Room> {
    let egress = message.egress.as_ref();
    let call = message.sip_call.as_ref();
    let api = message.api_call.as_ref();
    let webhook = message.webhook.as_ref();
    room(message.room.as_ref(), &message.room_id)
        .or_else(|| egress.and_then(|info| named_room(&info.room_id, &info.room_name)))
        .or_else(|| message.ingress.as_ref().and_then(ingress_room))
        .or_else(|| call.and_then(|info| named_room(&info.room_id, &info.room_name)))
        .or_else(|| api.and_then(|info| named_room(&info.room_id, &info.room_name)))
        .or_else(|| webhook.and_then(|info| named_room(&info.room_id, &info.room_name)))
}

fn room(room: Option<&lk::Room>, sid: &str) -> Option<Room> {
    let named = named_room(sid, "");
    let Some(room) = room else { return named };
    let created =
        Time::from_millis(room.creation_time_ms).or_else(|| Time::from_secs(room.creation_time));
    let sid = RoomSid::new(sid).or_else(|| RoomSid::new(&room.sid));
    let name = RoomName::new(&room.name);
    (sid.is_some() || name.is_some()).then_some(Room { sid, name, created })
}

fn named_room(sid: &str, name: &str) -> Option<Room> {
    let (sid, name) = (RoomSid::new(sid), RoomName::new(name));
    (sid.is_some() || name.is_some()).then_some(Room { sid, name, created: None })
}

fn ingress_room(info: &lk::IngressInfo) -> Option<Room> {
    let sid = info.state.as_ref().map_or("", |state| &state.room_id);
    named_room(sid, &info.room_name)
}

fn bare_participant(sid: &str) -> Option<Participant> {
    ParticipantSid::new(sid).map(Participant::new)
}

fn called_participant(info: &lk::ApiCallInfo) -> Option<Participant> {
    let identity = Identity::new(&info.participant_identity);
    bare_participant(&info.participant_id).map(|who| Participant { identity, ..who })
}

fn participant(
    info: Option<&lk::ParticipantInfo>,
    sid: &str,
    unknown: &Unknown,
) -> Option<Participant> {
    let Some(info) = info else { return bare_participant(sid) };
    let joined = Time::from_millis(info.joined_at_ms).or_else(|| Time::from_secs(info.joined_at));
    // Only a full description has a kind: proto3 omits STANDARD, and a short description omits all
    // kinds.
    let is_full = joined.is_some();
    let kind = (is_full || info.kind != 0)
        .then(|| any(info.kind, lk::participant_info::Kind::as_str_name, unknown));
    Some(Participant {
        sid: ParticipantSid::new(sid).or_else(|| ParticipantSid::new(&info.sid))?,
        identity: Identity::new(&info.identity),
        kind,
        joined,
        state: is_full.then(|| work::state(info, unknown)),
        requested: requested::of(info),
        client_span: traceparent::of(info),
        disconnect_reason: named(
            info.disconnect_reason,
            lk::DisconnectReason::as_str_name,
            unknown,
        ),
        sip: sip::of(info).map(Box::new),
    })
}

fn bare_track(sid: &str) -> Option<Track> {
    let sid = TrackSid::new(sid)?;
    Some(Track { sid, kind: None, source: None, mime_type: None, muted: false })
}

fn track(info: Option<&lk::TrackInfo>, sid: &str, mime: &str) -> Option<Track> {
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    let Some(info) = info else {
        return bare_track(sid).map(|track| Track { mime_type: text(mime), ..track });
    };
    let source = track_source(info.source);
    let mime_type = text(&info.mime_type).or_else(|| text(mime));
    let kind = track_kind(info.r#type).filter(|kind| {
        // AUDIO is 0, so alone it only means that the description is short.
        *kind != TrackKind::Audio || source.is_some() || mime_type.is_some()
    });
    let sid = TrackSid::new(sid).or_else(|| TrackSid::new(&info.sid))?;
    Some(Track { sid, kind, source, mime_type, muted: info.muted })
}

fn rtp_totals(stats: &lk::RtpStats) -> RtpTotals {
    // Jitter is in microseconds, the round trip in milliseconds (livekit pkg/sfu/rtpstats).
    let jitter = if stats.jitter_max.is_finite() { stats.jitter_max.max(0.0) } else { 0.0 };
    RtpTotals {
        packets: stats.packets.into(),
        bytes: stats.bytes,
        packets_lost: stats.packets_lost.into(),
        packets_out_of_order: stats.packets_out_of_order.into(),
        frames: stats.frames.into(),
        nacks: stats.nacks.into(),
        plis: stats.plis.into(),
        firs: stats.firs.into(),
        key_frames: stats.key_frames.into(),
        jitter_max: Duration::try_from_secs_f64(jitter / 1e6).unwrap_or_default(),
        rtt_max: Duration::from_millis(stats.rtt_max.into()),
    }
}

fn delivery(info: &lk::WebhookInfo) -> Delivery {
    Delivery { event_id: info.event_id.as_str().into(), queued: time(info.queued_at.as_ref()) }
}
