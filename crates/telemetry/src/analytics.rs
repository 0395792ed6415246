//! Where finished messages go: LiveKit's `AnalyticsService`.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat};

/// Takes the messages that a LiveKit server sends to its analytics recorder (livekit
/// pkg/telemetry/analyticsservice.go). A call returns at once: it queues, and counts what it has
/// no room for.
///
/// The implementation stamps what it sends: `id` (`AE_…`, `AS_…`), the node, a sequence number.
pub trait AnalyticsService: Send + Sync {
    /// The finished stats windows of one participant.
    fn send_stats(&self, stats: Vec<AnalyticsStat>);

    /// An event.
    fn send_event(&self, event: AnalyticsEvent);

    /// The rooms that this node holds.
    fn send_node_room_states(&self, rooms: AnalyticsNodeRooms);

    /// Takes no more, and sends what it has until `deadline`. By default there is nothing to do.
    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        let _ = deadline;
        Box::pin(std::future::ready(()))
    }
}

/// A service on its way to its end.
pub type Stopping<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl<T: AnalyticsService + ?Sized> AnalyticsService for Arc<T> {
    fn send_stats(&self, stats: Vec<AnalyticsStat>) {
        (**self).send_stats(stats);
    }

    fn send_event(&self, event: AnalyticsEvent) {
        (**self).send_event(event);
    }

    fn send_node_room_states(&self, rooms: AnalyticsNodeRooms) {
        (**self).send_node_room_states(rooms);
    }

    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        (**self).stop(deadline)
    }
}
