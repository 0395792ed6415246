//! The interface: upstream's `TelemetryService`, method by method (livekit
//! pkg/telemetry/telemetryservice.go).

use super::analytics::AnalyticsService;
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo,
    IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, RtpStats,
    TrackInfo, VideoQuality, WebhookInfo,
};

/// A participant and its room.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ParticipantContext<'a> {
    /// The room, identified by its `sid`.
    pub room: &'a Room,
    /// The participant.
    pub participant: &'a ParticipantInfo,
}

impl<'a> ParticipantContext<'a> {
    /// `participant` in `room`.
    pub fn new(room: &'a Room, participant: &'a ParticipantInfo) -> Self {
        Self { room, participant }
    }
}

/// A track, the participant that publishes it or subscribes to it, and their room.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TrackContext<'a> {
    /// The room.
    pub room: &'a Room,
    /// The participant's SID.
    pub participant_sid: &'a str,
    /// The participant's identity; empty if it is unknown.
    pub identity: &'a str,
    /// The track.
    pub track: &'a TrackInfo,
}

impl<'a> TrackContext<'a> {
    /// `track` of the participant with this SID, whose identity is unknown.
    pub fn new(room: &'a Room, participant_sid: &'a str, track: &'a TrackInfo) -> Self {
        Self { room, participant_sid, identity: "", track }
    }

    /// With the participant's identity.
    #[must_use]
    pub fn identity(mut self, identity: &'a str) -> Self {
        self.identity = identity;
        self
    }
}

/// How a participant became active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activation {
    /// It came from another node: no webhook is sent.
    pub is_migration: bool,
    /// Its media connected together with its signalling.
    pub is_warp: bool,
}

impl Activation {
    /// Whether it came from another node.
    #[must_use]
    pub fn migration(mut self, is_migration: bool) -> Self {
        self.is_migration = is_migration;
        self
    }

    /// Whether its media connected together with its signalling.
    #[must_use]
    pub fn warp(mut self, is_warp: bool) -> Self {
        self.is_warp = is_warp;
        self
    }
}

/// What an SFU reports about its rooms, under upstream's names. Every method returns at once: its work
/// is queued, in order for each room, or refused and counted if the queue is full. The exceptions are
/// [`TelemetryService::flush_stats`], [`TelemetryService::notify_egress_event`] and the `send_*`
/// methods, which act directly.
///
/// `should_send_event`: with `false` the call is counted and updates the stats worker, but no event
/// and no webhook is sent.
///
/// By default a method does nothing, so that LiveKit's new methods can be added later.
#[expect(unused_variables, reason = "the default bodies ignore the call")]
pub trait TelemetryService: AnalyticsService {
    /// What a track sent or received since its last report, in one direction; called every few seconds.
    fn track_stats(&self, key: &StatsKey, stat: &AnalyticsStat) {}

    /// A room was opened.
    fn room_started(&self, room: &Room) {}

    /// A room ended, and why.
    fn room_ended(&self, room: &Room, reason: RoomEndReason) {}

    /// A participant made its signal connection.
    fn participant_joined(
        &self,
        at: ParticipantContext<'_>,
        client_info: Option<&ClientInfo>,
        client_meta: Option<&AnalyticsClientMeta>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    ) {
    }

    /// A participant made its media connection.
    fn participant_active(
        &self,
        at: ParticipantContext<'_>,
        client_meta: Option<&AnalyticsClientMeta>,
        activation: Activation,
        guard: Option<&ReferenceGuard>,
    ) {
    }

    /// A participant's connection was resumed, or restarted by ICE.
    fn participant_resumed(
        &self,
        at: ParticipantContext<'_>,
        node_id: &str,
        reason: ReconnectReason,
    ) {
    }

    /// A participant left. If it never was active, its connection was aborted.
    fn participant_left(
        &self,
        at: ParticipantContext<'_>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    ) {
    }

    /// A participant asked to publish a track.
    fn track_publish_requested(&self, at: TrackContext<'_>, should_send_event: bool) {}

    /// A track was published.
    fn track_published(&self, at: TrackContext<'_>, should_send_event: bool) {}

    /// A track was unpublished. `was_published_locally`: it was published on this node and counts here.
    fn track_unpublished(
        &self,
        at: TrackContext<'_>,
        was_published_locally: bool,
        should_send_event: bool,
    ) {
    }

    /// A participant asked to subscribe to a track.
    fn track_subscribe_requested(&self, at: TrackContext<'_>) {}

    /// A participant is subscribed to a track of `publisher`.
    fn track_subscribed(
        &self,
        at: TrackContext<'_>,
        publisher: Option<&ParticipantInfo>,
        should_send_event: bool,
    ) {
    }

    /// A participant is no longer subscribed to a track.
    fn track_unsubscribed(&self, at: TrackContext<'_>, should_send_event: bool) {}

    /// A subscription failed; only the track's SID must be known. `is_user_error`: the participant has
    /// no permission, or the track is gone.
    fn track_subscribe_failed(&self, at: TrackContext<'_>, error: &str, is_user_error: bool) {}

    /// The publisher muted a track.
    fn track_muted(&self, at: TrackContext<'_>) {}

    /// The publisher unmuted a track.
    fn track_unmuted(&self, at: TrackContext<'_>) {}

    /// A track's description changed.
    fn track_published_update(&self, at: TrackContext<'_>) {}

    /// The highest quality of a video track that any subscriber requests changed.
    fn track_max_subscribed_video_quality(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        max_quality: VideoQuality,
    ) {
    }

    /// A published stream's totals at its end; `layer` is its simulcast layer. The event has only the
    /// track's SID.
    fn track_publish_rtp_stats(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        layer: i32,
        stats: &RtpStats,
    ) {
    }

    /// A subscribed stream's totals at its end. The event has only the track's SID.
    fn track_subscribe_rtp_stats(&self, at: TrackContext<'_>, mime_type: &str, stats: &RtpStats) {}

    /// An egress started.
    fn egress_started(&self, info: &EgressInfo) {}

    /// An egress changed.
    fn egress_updated(&self, info: &EgressInfo) {}

    /// An egress ended.
    fn egress_ended(&self, info: &EgressInfo) {}

    /// An ingress was created.
    fn ingress_created(&self, info: &IngressInfo) {}

    /// An ingress was deleted.
    fn ingress_deleted(&self, info: &IngressInfo) {}

    /// An ingress started.
    fn ingress_started(&self, info: &IngressInfo) {}

    /// An ingress changed.
    fn ingress_updated(&self, info: &IngressInfo) {}

    /// An ingress ended.
    fn ingress_ended(&self, info: &IngressInfo) {}

    /// The rooms of this node.
    fn local_room_state(&self, rooms: &AnalyticsNodeRooms) {}

    /// The use of a feature.
    fn report(&self, info: &ReportInfo) {}

    /// A call of the server's API.
    fn api_call(&self, info: &ApiCallInfo) {}

    /// The result of a webhook. A service with a [`super::QueuedNotifier`] reports it by itself.
    fn webhook(&self, info: &WebhookInfo) {}

    /// Sends `event` to the webhooks, and to those that the egress's request names.
    fn notify_egress_event(&self, event: &str, info: &EgressInfo) {}

    /// Flushes the stats workers: finishes the stats window of every participant's streams. The service
    /// also does this every 30 s.
    fn flush_stats(&self) {}
}
