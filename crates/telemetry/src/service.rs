//! The interface: upstream's `TelemetryService`, method by method (livekit
//! pkg/telemetry/telemetryservice.go).

use super::AnalyticsService;
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo,
    IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, RtpStats,
    TrackInfo, VideoQuality, WebhookInfo,
};

/// A participant and its room.
#[derive(Debug, Clone, Copy)]
pub struct ParticipantContext<'a> {
    /// The room; its `sid` is what all is kept by.
    pub room: &'a Room,
    /// The participant.
    pub participant: &'a ParticipantInfo,
}

/// A track, who it concerns (its publisher, or a subscriber to it), and their room.
#[derive(Debug, Clone, Copy)]
pub struct TrackContext<'a> {
    /// The room.
    pub room: &'a Room,
    /// The participant's SID.
    pub participant_sid: &'a str,
    /// The participant's identity; empty where it is not known.
    pub identity: &'a str,
    /// The track.
    pub track: &'a TrackInfo,
}

/// How a participant became active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activation {
    /// It came from another node: no webhook is sent.
    pub is_migration: bool,
    /// Its media connected together with its signalling.
    pub is_warp: bool,
}

/// What an SFU tells of its rooms, by upstream's names. Every method returns at once: what it has
/// to do is queued, in order for each room, and counted where there is no room for it. The
/// exceptions are [`TelemetryService::flush_stats`], [`TelemetryService::notify_egress_event`] and
/// the `send_*` methods, which act directly.
///
/// `should_send_event`: false counts the call and updates the stats worker, but tells nobody.
pub trait TelemetryService: AnalyticsService {
    /// What a track has seen since its last report, in one direction; called every few seconds.
    fn track_stats(&self, key: &StatsKey, stat: &AnalyticsStat);

    /// A room was opened.
    fn room_started(&self, room: &Room);

    /// A room ended, and why.
    fn room_ended(&self, room: &Room, reason: RoomEndReason);

    /// A participant made its signal connection.
    fn participant_joined(
        &self,
        at: ParticipantContext<'_>,
        client_info: Option<&ClientInfo>,
        client_meta: Option<&AnalyticsClientMeta>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    );

    /// A participant made its media connection.
    fn participant_active(
        &self,
        at: ParticipantContext<'_>,
        client_meta: Option<&AnalyticsClientMeta>,
        activation: Activation,
        guard: Option<&ReferenceGuard>,
    );

    /// A participant's connection was resumed, or restarted by ICE.
    fn participant_resumed(
        &self,
        at: ParticipantContext<'_>,
        node_id: &str,
        reason: ReconnectReason,
    );

    /// A participant left. Where it never was active, its connection was aborted.
    fn participant_left(
        &self,
        at: ParticipantContext<'_>,
        should_send_event: bool,
        guard: Option<&ReferenceGuard>,
    );

    /// A participant asked to publish a track.
    fn track_publish_requested(&self, at: TrackContext<'_>, should_send_event: bool);

    /// A track was published.
    fn track_published(&self, at: TrackContext<'_>, should_send_event: bool);

    /// A track was unpublished. `was_published_locally`: on this node, so that it counts here.
    fn track_unpublished(
        &self,
        at: TrackContext<'_>,
        was_published_locally: bool,
        should_send_event: bool,
    );

    /// A participant asked to subscribe to a track.
    fn track_subscribe_requested(&self, at: TrackContext<'_>);

    /// A participant is subscribed to a track of `publisher`.
    fn track_subscribed(
        &self,
        at: TrackContext<'_>,
        publisher: Option<&ParticipantInfo>,
        should_send_event: bool,
    );

    /// A participant is no longer subscribed to a track.
    fn track_unsubscribed(&self, at: TrackContext<'_>, should_send_event: bool);

    /// A subscription failed; of the track only the SID need be known. `is_user_error`: the
    /// participant may not, or the track is gone.
    fn track_subscribe_failed(&self, at: TrackContext<'_>, error: &str, is_user_error: bool);

    /// The publisher muted a track.
    fn track_muted(&self, at: TrackContext<'_>);

    /// The publisher unmuted a track.
    fn track_unmuted(&self, at: TrackContext<'_>);

    /// A track's description changed.
    fn track_published_update(&self, at: TrackContext<'_>);

    /// The highest quality that any subscriber wants of a video track changed.
    fn track_max_subscribed_video_quality(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        max_quality: VideoQuality,
    );

    /// A published stream's totals at its end; `layer` is its simulcast layer. Of the track only
    /// the SID is told.
    fn track_publish_rtp_stats(
        &self,
        at: TrackContext<'_>,
        mime_type: &str,
        layer: i32,
        stats: &RtpStats,
    );

    /// A subscribed stream's totals at its end. Of the track only the SID is told.
    fn track_subscribe_rtp_stats(&self, at: TrackContext<'_>, mime_type: &str, stats: &RtpStats);

    /// An egress started.
    fn egress_started(&self, info: &EgressInfo);

    /// An egress changed.
    fn egress_updated(&self, info: &EgressInfo);

    /// An egress ended.
    fn egress_ended(&self, info: &EgressInfo);

    /// An ingress was created.
    fn ingress_created(&self, info: &IngressInfo);

    /// An ingress was deleted.
    fn ingress_deleted(&self, info: &IngressInfo);

    /// An ingress started.
    fn ingress_started(&self, info: &IngressInfo);

    /// An ingress changed.
    fn ingress_updated(&self, info: &IngressInfo);

    /// An ingress ended.
    fn ingress_ended(&self, info: &IngressInfo);

    /// The rooms that this node holds.
    fn local_room_state(&self, rooms: &AnalyticsNodeRooms);

    /// The use of a feature.
    fn report(&self, info: &ReportInfo);

    /// A call of the server's API.
    fn api_call(&self, info: &ApiCallInfo);

    /// What became of a webhook; a [`super::QueuedNotifier`] given to the service tells it itself.
    fn webhook(&self, info: &WebhookInfo);

    /// Notifies the webhooks of an egress, and those that its request brought along, of `event`.
    fn notify_egress_event(&self, event: &str, info: &EgressInfo);

    /// Flushes the stats workers: what every participant's streams have seen since the last time.
    /// It is also done every 30 s.
    fn flush_stats(&self);
}
