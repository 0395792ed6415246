//! The service that does nothing.

use super::analytics::AnalyticsService;
use super::service::TelemetryService;

/// Telemetry that is switched off: every method has its empty default body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NullTelemetry;

impl AnalyticsService for NullTelemetry {}

impl TelemetryService for NullTelemetry {}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_livekit::messages::Room;

    #[test]
    fn it_has_no_size_and_is_a_telemetry_service() {
        assert_eq!(size_of::<NullTelemetry>(), 0);
        let service: &(dyn TelemetryService + Send + Sync) = &NullTelemetry;
        service.room_started(&Room::default());
        service.flush_stats();
    }
}
