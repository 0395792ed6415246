//! The receiver of finished messages: LiveKit's `AnalyticsService`.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat};

/// Receives the messages that a LiveKit server sends to its analytics recorder (livekit
/// pkg/telemetry/analyticsservice.go). Calls return at once: an implementation queues messages, and
/// counts those that it drops.
///
/// The implementation stamps what it sends with an `id` (`AE_…`, `AS_…`), the node, and a sequence
/// number. By default a method does nothing, so that methods can be added later.
#[expect(unused_variables, reason = "the default bodies ignore the message")]
pub trait AnalyticsService: Send + Sync {
    /// The finished stats windows of one participant.
    fn send_stats(&self, stats: Vec<AnalyticsStat>) {}

    /// An event.
    fn send_event(&self, event: AnalyticsEvent) {}

    /// The rooms of this node.
    fn send_node_room_states(&self, rooms: AnalyticsNodeRooms) {}

    /// Accepts no more messages, and sends those that it has until `deadline`.
    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// Ends once a service has stopped.
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
