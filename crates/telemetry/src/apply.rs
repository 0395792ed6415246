//! Applies a call: to the stats workers, the node's counts, the webhooks and the events (livekit
//! pkg/telemetry/events.go).

use std::collections::BTreeSet;

use super::call::{Call, ParticipantCall, ParticipantStep};
use super::node::NodeMetrics;
use super::outlet::Outlet;
use livekit_otel_engine::stats::calls::{AttemptState, Connecting, Count, JoinState};
use livekit_otel_engine::stats::worker::{Acquired, Who, Workers};
use livekit_otel_livekit::encode::{self, EgressStep, IngressStep, TrackCall, TrackStep, webhook};
use livekit_otel_livekit::messages::{
    AnalyticsEvent, AnalyticsEventType as Type, EgressInfo, IngressInfo, PacketTrailerFeature,
    Room, RoomEndReason, TrackInfo, WebhookEvent, client_info::Sdk,
};
use livekit_otel_livekit::track_kind;
use livekit_otel_model::event::{Caller, Time, TrackKind};

pub(super) fn call(call: Call, caller: Option<Caller>, workers: &mut Workers, outlet: &Outlet) {
    let now = outlet.now();
    let event = |kind| encode::event(kind, now);
    match call {
        // The shard applies reports itself.
        Call::Stats(..) => {}
        Call::RoomStarted(room) => room_started(*room, caller, outlet),
        Call::RoomEnded(room, reason) => room_ended(*room, reason, caller, now, outlet),
        Call::Participant(call) => participant(*call, caller, workers, now, outlet),
        Call::Track { call, should_send_event } => {
            track(*call, should_send_event, caller, now, outlet);
        }
        Call::Egress(step, info) => egress(step, *info, caller, now, outlet),
        Call::Ingress(step, info) => ingress(step, *info, caller, now, outlet),
        Call::LocalRoomState(rooms) => outlet.node_rooms(*rooms),
        Call::Report(info) => {
            outlet.event(AnalyticsEvent { report: Some(*info), ..event(Type::Report) }, caller);
        }
        Call::Api(info) => {
            outlet.event(AnalyticsEvent { api_call: Some(*info), ..event(Type::ApiCall) }, caller);
        }
        Call::Webhook(info) => {
            outlet.event(AnalyticsEvent { webhook: Some(*info), ..event(Type::Webhook) }, caller);
        }
    }
}

fn participant(
    call: ParticipantCall,
    caller: Option<Caller>,
    workers: &mut Workers,
    now: Time,
    outlet: &Outlet,
) {
    let kind = match &call.step {
        ParticipantStep::Joined { client_info, should_send_event, .. } => {
            if let Acquired::Created(_) = acquire(&call, workers, &outlet.metrics) {
                let sdk = client_info.as_ref().map_or(Sdk::Unknown, |info| info.sdk());
                let connecting = Connecting::default().sdk(sdk.as_str_name());
                outlet.metrics.join(JoinState::RtcConnected, connecting);
            }
            should_send_event.then_some(Type::ParticipantJoined)
        }
        ParticipantStep::Active { activation, .. } => {
            // A participant counts as joined once it is active.
            if !activation.is_migration {
                notify(webhook::PARTICIPANT_JOINED, &call, outlet);
            }
            let acquired = acquire(&call, workers, &outlet.metrics);
            if let Acquired::Found(id) | Acquired::Created(id) = acquired {
                workers.set_connected(id);
            }
            let connecting = Connecting::default().warp(activation.is_warp);
            outlet.metrics.join(JoinState::RtcActive, connecting);
            Some(Type::ParticipantActive)
        }
        ParticipantStep::Resumed { .. } => {
            // Its signalling may have left, and closed the worker, before it came back.
            acquire(&call, workers, &outlet.metrics);
            Some(Type::ParticipantResumed)
        }
        ParticipantStep::Left { should_send_event } => {
            let (room, who) = (&call.room.sid, &call.participant.sid);
            let released = workers.release(room, who, call.guard.as_ref(), now);
            if released.closed {
                outlet.metrics.add(Count::Participants, -1);
            }
            should_send_event.then(|| left(released.was_connected, &call, outlet))
        }
    };
    if let Some(kind) = kind {
        outlet.event(participant_event(kind, call, now), caller);
    }
}

fn participant_event(kind: Type, call: ParticipantCall, now: Time) -> AnalyticsEvent {
    let ParticipantCall { room, participant, step, .. } = call;
    let (client_info, client_meta) = match step {
        ParticipantStep::Joined { client_info, client_meta, .. } => (client_info, client_meta),
        ParticipantStep::Active { client_meta, .. } => (None, client_meta),
        ParticipantStep::Resumed { node_id, reason } => {
            (None, Some(Box::new(encode::resumed(node_id, reason))))
        }
        ParticipantStep::Left { .. } => (None, None),
    };
    AnalyticsEvent {
        client_info: client_info.map(|info| *info),
        client_meta: client_meta.map(|meta| *meta),
        ..encode::of_participant(kind, room, participant, now)
    }
}

// A participant that never was active did not leave: its connection was aborted.
fn left(was_connected: bool, call: &ParticipantCall, outlet: &Outlet) -> Type {
    if was_connected {
        notify(webhook::PARTICIPANT_LEFT, call, outlet);
        Type::ParticipantLeft
    } else {
        notify(webhook::PARTICIPANT_CONNECTION_ABORTED, call, outlet);
        Type::ParticipantConnectionAborted
    }
}

fn acquire(call: &ParticipantCall, workers: &mut Workers, metrics: &NodeMetrics) -> Acquired {
    let who = Who {
        room_sid: call.room.sid.as_str().into(),
        room_name: call.room.name.as_str().into(),
        participant_sid: call.participant.sid.as_str().into(),
        identity: call.participant.identity.as_str().into(),
    };
    let acquired = workers.acquire(&who, call.guard.as_ref());
    if let Acquired::Created(_) = acquired {
        metrics.add(Count::Participants, 1);
    }
    acquired
}

fn notify(event: &str, call: &ParticipantCall, outlet: &Outlet) {
    let make = || WebhookEvent {
        event: event.to_owned(),
        room: Some(call.room.clone()),
        participant: Some(call.participant.clone()),
        ..WebhookEvent::default()
    };
    outlet.webhook(make, &[]);
}

fn room_started(room: Room, caller: Option<Caller>, outlet: &Outlet) {
    let make = || WebhookEvent {
        event: webhook::ROOM_STARTED.to_owned(),
        room: Some(room.clone()),
        ..WebhookEvent::default()
    };
    outlet.webhook(make, &[]);
    outlet.event(encode::room_created(room), caller);
}

fn room_ended(
    room: Room,
    reason: RoomEndReason,
    caller: Option<Caller>,
    now: Time,
    outlet: &Outlet,
) {
    let room_end_reason = reason as i32;
    let make = || WebhookEvent {
        event: webhook::ROOM_FINISHED.to_owned(),
        room: Some(room.clone()),
        room_end_reason,
        ..WebhookEvent::default()
    };
    outlet.webhook(make, &[]);
    let event = AnalyticsEvent { room_end_reason, ..encode::of_room(Type::RoomEnded, room, now) };
    outlet.event(event, caller);
}

fn egress(step: EgressStep, info: EgressInfo, caller: Option<Caller>, now: Time, outlet: &Outlet) {
    let make = || encode::of_egress_webhook(encode::egress_webhook(step), &info);
    outlet.webhook(make, encode::extra_webhooks(&info));
    outlet.event(encode::of_egress(step, info, now), caller);
}

fn ingress(
    step: IngressStep,
    info: IngressInfo,
    caller: Option<Caller>,
    now: Time,
    outlet: &Outlet,
) {
    if let Some(event) = encode::ingress_webhook(step) {
        outlet.webhook(|| encode::of_ingress_webhook(event, &info), &[]);
    }
    outlet.event(encode::of_ingress(step, info, now), caller);
}

fn track(
    call: TrackCall,
    should_send_event: bool,
    caller: Option<Caller>,
    now: Time,
    outlet: &Outlet,
) {
    count_track(&call, &outlet.metrics);
    if !should_send_event {
        return;
    }
    if let Some(name) = encode::track_webhook(&call.step) {
        outlet.webhook(|| encode::of_track_webhook(name, &call), &[]);
    }
    outlet.event(encode::of_track(call, now), caller);
}

fn count_track(call: &TrackCall, metrics: &NodeMetrics) {
    let kind = kind_of(call.track.r#type);
    match &call.step {
        TrackStep::PublishRequested => {
            metrics.add(Count::Publishes(kind, AttemptState::Attempt), 1);
        }
        TrackStep::Published => {
            metrics.add(Count::Published(kind), 1);
            count_packet_trailers(&call.track, 1, metrics);
            metrics.add(Count::Publishes(kind, AttemptState::Success), 1);
        }
        TrackStep::Unpublished { was_published_locally: true } => {
            metrics.add(Count::Published(kind), -1);
            count_packet_trailers(&call.track, -1, metrics);
        }
        TrackStep::SubscribeRequested => metrics.add(Count::Subscribes(AttemptState::Attempt), 1),
        TrackStep::Subscribed { .. } => {
            metrics.add(Count::Subscribed(kind), 1);
            metrics.add(Count::Subscribes(AttemptState::Success), 1);
        }
        TrackStep::Unsubscribed => metrics.add(Count::Subscribed(kind), -1),
        TrackStep::SubscribeFailed { is_user_error: true, .. } => {
            metrics.add(Count::Subscribes(AttemptState::UserError), 1);
        }
        TrackStep::SubscribeFailed { .. } => {
            metrics.add(Count::Subscribes(AttemptState::Failure), 1);
        }
        _ => {}
    }
}

// Of video only, and each feature once (livekit pkg/telemetry/prometheus/rooms.go).
fn count_packet_trailers(track: &TrackInfo, change: i64, metrics: &NodeMetrics) {
    let is_video = track_kind(track.r#type) == Some(TrackKind::Video);
    if !is_video || track.packet_trailer_features.is_empty() {
        return;
    }
    let name = |feature: &i32| {
        PacketTrailerFeature::try_from(*feature).map_or("UNKNOWN", |feature| feature.as_str_name())
    };
    let features: BTreeSet<_> = track.packet_trailer_features.iter().map(name).collect();
    metrics.add(Count::PacketTrailerTracks, change);
    for feature in features {
        metrics.add(Count::PacketTrailerFeatures(feature), change);
    }
}

// A type that this version does not know counts as data.
fn kind_of(value: i32) -> TrackKind {
    track_kind(value).unwrap_or(TrackKind::Data)
}
