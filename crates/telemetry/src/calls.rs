//! The service's calls, queued.

use super::analytics::AnalyticsService;
use super::call::{Call, ParticipantCall, ParticipantStep};
use super::caller::{self, Target};
use super::live::Telemetry;
use super::service::{Activation, ParticipantContext, TelemetryService, TrackContext};
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::encode::{self, EgressStep, IngressStep, TrackCall, TrackStep};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo,
    ClientInfo, EgressInfo, IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room,
    RoomEndReason, RtpStats, VideoQuality, WebhookInfo,
};

impl AnalyticsService for Telemetry {
    fn send_stats(&self, stats: Vec<AnalyticsStat>) {
        self.outlet().finished_stats(stats);
    }

    fn send_event(&self, event: AnalyticsEvent) {
        let caller = caller::link(about(&event.room_id, &event.participant_id));
        self.outlet().event(event, caller);
    }

    fn send_node_room_states(&self, rooms: AnalyticsNodeRooms) {
        self.outlet().node_rooms(rooms);
    }
}

fn about<'a>(room: &'a str, participant: &'a str) -> Target<'a> {
    Target { room, participant, track: "" }
}

impl Telemetry {
    fn on_participant(
        &self,
        at: ParticipantContext<'_>,
        guard: Option<&ReferenceGuard>,
        step: ParticipantStep,
    ) {
        let caller = caller::link(about(&at.room.sid, &at.participant.sid));
        let call = ParticipantCall {
            room: at.room.clone(),
            participant: at.participant.clone(),
            guard: guard.cloned(),
            step,
        };
        self.enqueue(Call::Participant(Box::new(call)), caller);
    }

    fn on_track(&self, at: TrackContext<'_>, should_send_event: bool, step: TrackStep) {
        let track = match step {
            TrackStep::Published | TrackStep::Unpublished { .. } => &*at.track.sid,
            _ => "",
        };
        let target = Target { track, ..about(&at.room.sid, at.participant_sid) };
        let caller = caller::link(target);
        let call = TrackCall {
            room: at.room.clone(),
            participant_sid: at.participant_sid.to_owned(),
            identity: at.identity.to_owned(),
            track: at.track.clone(),
            step,
        };
        self.enqueue(Call::Track { call: Box::new(call), should_send_event }, caller);
    }

    fn on_egress(&self, step: EgressStep, info: &EgressInfo) {
        let caller = caller::link(about(&info.room_id, ""));
        self.enqueue(Call::Egress(step, Box::new(info.clone())), caller);
    }

    fn on_ingress(&self, step: IngressStep, info: &IngressInfo) {
        let room = info.state.as_ref().map_or("", |state| &state.room_id);
        let caller = caller::link(about(room, ""));
        self.enqueue(Call::Ingress(step, Box::new(info.clone())), caller);
    }
}

impl TelemetryService for Telemetry {
    fn track_stats(&self, key: &StatsKey, stat: &AnalyticsStat) {
        self.apply_report(key, stat);
    }

    fn room_started(&self, room: &Room) {
        let caller = caller::link(about(&room.sid, ""));
        self.enqueue(Call::RoomStarted(Box::new(room.clone())), caller);
    }

    fn room_ended(&self, room: &Room, reason: RoomEndReason) {
        let caller = caller::link(about(&room.sid, ""));
        self.enqueue(Call::RoomEnded(Box::new(room.clone()), reason), caller);
    }

    fn participant_joined(
        &self,
        at: ParticipantContext<'_>,
        client_info: Option<&ClientInfo>,
        client_meta: Option<&AnalyticsClientMeta>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    ) {
        let step = ParticipantStep::Joined {
            client_info: client_info.cloned().map(Box::new),
            client_meta: client_meta.cloned().map(Box::new),
            should_send_event,
        };
        self.on_participant(at, guard, step);
    }

    fn participant_active(
        &self,
        at: ParticipantContext<'_>,
        client_meta: Option<&AnalyticsClientMeta>,
        activation: Activation,
        guard: Option<&ReferenceGuard>,
    ) {
        let client_meta = client_meta.cloned().map(Box::new);
        self.on_participant(at, guard, ParticipantStep::Active { client_meta, activation });
    }

    fn participant_resumed(
        &self,
        at: ParticipantContext<'_>,
        node_id: &str,
        reason: ReconnectReason,
    ) {
        let node_id = node_id.to_owned();
        self.on_participant(at, None, ParticipantStep::Resumed { node_id, reason });
    }

    fn participant_left(
        &self,
        at: ParticipantContext<'_>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    ) {
        self.on_participant(at, guard, ParticipantStep::Left { should_send_event });
    }

    fn track_publish_requested(&self, at: TrackContext<'_>, should_send_event: bool) {
        self.on_track(at, should_send_event, TrackStep::PublishRequested);
    }

    fn track_published(&self, at: TrackContext<'_>, should_send_event: bool) {
        self.on_track(at, should_send_event, TrackStep::Published);
    }

    fn track_unpublished(
        &self,
        at: TrackContext<'_>,
        was_published_locally: bool,
        should_send_event: bool,
    ) {
        self.on_track(at, should_send_event, TrackStep::Unpublished { was_published_locally });
    }

    fn track_subscribe_requested(&self, at: TrackContext<'_>) {
        self.on_track(at, true, TrackStep::SubscribeRequested);
    }

    fn track_subscribed(
        &self,
        at: TrackContext<'_>,
        publisher: Option<&ParticipantInfo>,
        should_send_event: bool,
    ) {
        let publisher = publisher.cloned();
        self.on_track(at, should_send_event, TrackStep::Subscribed { publisher });
    }

    fn track_unsubscribed(&self, at: TrackContext<'_>, should_send_event: bool) {
        self.on_track(at, should_send_event, TrackStep::Unsubscribed);
    }

    fn track_subscribe_failed(&self, at: TrackContext<'_>, error: &str, is_user_error: bool) {
        let error = error.to_owned();
        self.on_track(at, true, TrackStep::SubscribeFailed { error, is_user_error });
    }

    fn track_muted(&self, at: TrackContext<'_>) {
        self.on_track(at, true, TrackStep::Muted);
    }

    fn track_unmuted(&self, at: TrackContext<'_>) {
        self.on_track(at, true, TrackStep::Unmuted);
    }

    fn track_published_update(&self, at: TrackContext<'_>) {
        self.on_track(at, true, TrackStep::PublishedUpdate);
    }

    fn track_max_subscribed_video_quality(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        max_quality: VideoQuality,
    ) {
        let mime_type = mime_type.to_owned();
        self.on_track(at, true, TrackStep::MaxSubscribedVideoQuality { mime_type, max_quality });
    }

    fn track_publish_rtp_stats(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        layer: i32,
        stats: &RtpStats,
    ) {
        let (mime_type, stats) = (mime_type.to_owned(), stats.clone());
        self.on_track(at, true, TrackStep::PublishRtpStats { mime_type, layer, stats });
    }

    fn track_subscribe_rtp_stats(&self, at: TrackContext<'_>, mime_type: &str, stats: &RtpStats) {
        let (mime_type, stats) = (mime_type.to_owned(), stats.clone());
        self.on_track(at, true, TrackStep::SubscribeRtpStats { mime_type, stats });
    }

    fn egress_started(&self, info: &EgressInfo) {
        self.on_egress(EgressStep::Started, info);
    }

    fn egress_updated(&self, info: &EgressInfo) {
        self.on_egress(EgressStep::Updated, info);
    }

    fn egress_ended(&self, info: &EgressInfo) {
        self.on_egress(EgressStep::Ended, info);
    }

    fn ingress_created(&self, info: &IngressInfo) {
        self.on_ingress(IngressStep::Created, info);
    }

    fn ingress_deleted(&self, info: &IngressInfo) {
        self.on_ingress(IngressStep::Deleted, info);
    }

    fn ingress_started(&self, info: &IngressInfo) {
        self.on_ingress(IngressStep::Started, info);
    }

    fn ingress_updated(&self, info: &IngressInfo) {
        self.on_ingress(IngressStep::Updated, info);
    }

    fn ingress_ended(&self, info: &IngressInfo) {
        self.on_ingress(IngressStep::Ended, info);
    }

    fn local_room_state(&self, rooms: &AnalyticsNodeRooms) {
        self.enqueue(Call::LocalRoomState(Box::new(rooms.clone())), None);
    }

    fn report(&self, info: &ReportInfo) {
        self.enqueue(Call::Report(Box::new(info.clone())), caller::link(about("", "")));
    }

    fn api_call(&self, info: &ApiCallInfo) {
        self.enqueue(Call::Api(Box::new(info.clone())), caller::link(about("", "")));
    }

    fn webhook(&self, info: &WebhookInfo) {
        let caller = caller::link(about(&info.room_id, &info.participant_id));
        self.enqueue(Call::Webhook(Box::new(info.clone())), caller);
    }

    fn notify_egress_event(&self, event: &str, info: &EgressInfo) {
        let make = || encode::of_egress_webhook(event, info);
        self.outlet().webhook(make, encode::extra_webhooks(info));
    }

    fn flush_stats(&self) {
        self.flush_now();
    }
}
