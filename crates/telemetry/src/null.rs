//! The service that does nothing.

use super::{Activation, AnalyticsService, ParticipantContext, TelemetryService, TrackContext};
use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey};
use livekit_otel_livekit::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat, ApiCallInfo,
    ClientInfo, EgressInfo, IngressInfo, ParticipantInfo, ReconnectReason, ReportInfo, Room,
    RoomEndReason, RtpStats, VideoQuality, WebhookInfo,
};

/// Telemetry that is switched off: every call is empty and compiles to nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NullTelemetry;

impl AnalyticsService for NullTelemetry {
    fn send_stats(&self, _: Vec<AnalyticsStat>) {}
    fn send_event(&self, _: AnalyticsEvent) {}
    fn send_node_room_states(&self, _: AnalyticsNodeRooms) {}
}

impl TelemetryService for NullTelemetry {
    fn track_stats(&self, _: &StatsKey, _: &AnalyticsStat) {}
    fn room_started(&self, _: &Room) {}
    fn room_ended(&self, _: &Room, _: RoomEndReason) {}
    fn participant_joined(
        &self,
        _: ParticipantContext<'_>,
        _: Option<&ClientInfo>,
        _: Option<&AnalyticsClientMeta>,
        _: bool,
        _: Option<&ReferenceGuard>,
    ) {
    }
    fn participant_active(
        &self,
        _: ParticipantContext<'_>,
        _: Option<&AnalyticsClientMeta>,
        _: Activation,
        _: Option<&ReferenceGuard>,
    ) {
    }
    fn participant_resumed(&self, _: ParticipantContext<'_>, _: &str, _: ReconnectReason) {}
    fn participant_left(&self, _: ParticipantContext<'_>, _: bool, _: Option<&ReferenceGuard>) {}
    fn track_publish_requested(&self, _: TrackContext<'_>, _: bool) {}
    fn track_published(&self, _: TrackContext<'_>, _: bool) {}
    fn track_unpublished(&self, _: TrackContext<'_>, _: bool, _: bool) {}
    fn track_subscribe_requested(&self, _: TrackContext<'_>) {}
    fn track_subscribed(&self, _: TrackContext<'_>, _: Option<&ParticipantInfo>, _: bool) {}
    fn track_unsubscribed(&self, _: TrackContext<'_>, _: bool) {}
    fn track_subscribe_failed(&self, _: TrackContext<'_>, _: &str, _: bool) {}
    fn track_muted(&self, _: TrackContext<'_>) {}
    fn track_unmuted(&self, _: TrackContext<'_>) {}
    fn track_published_update(&self, _: TrackContext<'_>) {}
    fn track_max_subscribed_video_quality(&self, _: TrackContext<'_>, _: &str, _: VideoQuality) {}
    fn track_publish_rtp_stats(&self, _: TrackContext<'_>, _: &str, _: i32, _: &RtpStats) {}
    fn track_subscribe_rtp_stats(&self, _: TrackContext<'_>, _: &str, _: &RtpStats) {}
    fn egress_started(&self, _: &EgressInfo) {}
    fn egress_updated(&self, _: &EgressInfo) {}
    fn egress_ended(&self, _: &EgressInfo) {}
    fn ingress_created(&self, _: &IngressInfo) {}
    fn ingress_deleted(&self, _: &IngressInfo) {}
    fn ingress_started(&self, _: &IngressInfo) {}
    fn ingress_updated(&self, _: &IngressInfo) {}
    fn ingress_ended(&self, _: &IngressInfo) {}
    fn local_room_state(&self, _: &AnalyticsNodeRooms) {}
    fn report(&self, _: &ReportInfo) {}
    fn api_call(&self, _: &ApiCallInfo) {}
    fn webhook(&self, _: &WebhookInfo) {}
    fn notify_egress_event(&self, _: &str, _: &EgressInfo) {}
    fn flush_stats(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_size_and_can_stand_in_for_any_service() {
        assert_eq!(size_of::<NullTelemetry>(), 0);
        let service: &(dyn TelemetryService + Send + Sync) = &NullTelemetry;
        service.room_started(&Room::default());
        service.flush_stats();
    }
}
