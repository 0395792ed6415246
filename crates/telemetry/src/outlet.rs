//! The receivers of what the service makes: the OpenTelemetry engine of this process, an analytics
//! service, and webhooks.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::analytics::AnalyticsService;
use super::engine::Inlet;
use super::guarded::Guarded;
use super::node::NodeMetrics;
use super::notify::QueuedNotifier;
use livekit_otel_engine::stats::worker::{Coalesced, Flushed};
use livekit_otel_livekit::encode::timestamp;
use livekit_otel_livekit::guid;
use livekit_otel_livekit::messages::{
    AnalyticsEvent, AnalyticsNodeRooms, AnalyticsStat, AnalyticsStream, AnalyticsVideoLayer,
    StreamType, WebhookConfig, WebhookEvent,
};
use livekit_otel_livekit::stream_of;
use livekit_otel_model::event::{Caller, Direction, NodeId, Time};
use livekit_otel_pipeline::Clock;

pub(super) struct Outlet {
    pub(super) clock: Clock,
    pub(super) guarded: Arc<Guarded>,
    pub(super) node: Option<NodeId>,
    pub(super) metrics: NodeMetrics,
    pub(super) engine: Option<Inlet>,
    pub(super) analytics: Option<Arc<dyn AnalyticsService>>,
    pub(super) notifier: Option<Arc<dyn QueuedNotifier>>,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("node", &self.node)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Outlet {
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Stops the notifier.
    pub(super) async fn stop_notifier(&self, deadline: Instant) {
        let Some(notifier) = &self.notifier else { return };
        if let Some(stopping) = self.guarded.call("notifier", || notifier.stop(deadline)) {
            self.guarded.wait("notifier", stopping).await;
        }
    }

    /// Stops the analytics service.
    pub(super) async fn stop_analytics(&self, deadline: Instant) {
        let Some(analytics) = &self.analytics else { return };
        if let Some(stopping) = self.guarded.call("analytics service", || analytics.stop(deadline))
        {
            self.guarded.wait("analytics service", stopping).await;
        }
    }

    fn to_analytics(&self, send: impl FnOnce(&dyn AnalyticsService)) {
        if let Some(analytics) = &self.analytics {
            self.guarded.call("analytics service", || send(&**analytics));
        }
    }

    /// Stamps an event and sends it to the engine and to the analytics service.
    pub(super) fn event(&self, mut event: AnalyticsEvent, caller: Option<Caller>) {
        if event.node_id.is_empty()
            && let Some(node) = &self.node
        {
            node.as_str().clone_into(&mut event.node_id);
        }
        if event.id.is_empty() {
            event.id = guid::new("AE_");
        }
        if let Some(engine) = &self.engine {
            engine.event(&event, caller, self.now());
        }
        self.to_analytics(|analytics| analytics.send_event(event));
    }

    /// Makes, stamps and queues a webhook, if there is a notifier.
    pub(super) fn webhook(&self, make: impl FnOnce() -> WebhookEvent, extra: &[WebhookConfig]) {
        let Some(notifier) = &self.notifier else { return };
        let mut event = make();
        event.id = guid::new("EV_");
        event.created_at = timestamp(self.now()).seconds;
        let queued = self.guarded.call("notifier", || notifier.queue_notify(&event, extra));
        if let Some(Err(error)) = queued {
            tracing::warn!(event = %event.event, %error, "a webhook was not queued");
        }
    }

    /// Sends a worker's windows, which were finished at `at`, to the engine and to the analytics service.
    pub(super) fn stats(&self, flushed: &Flushed, at: Time) {
        if let Some(engine) = &self.engine {
            engine.windows(flushed, at, self.node.as_ref());
        }
        self.to_analytics(|analytics| {
            let stat = |(track, direction, window): &(Arc<str>, Direction, Coalesced)| {
                stat(flushed, track, *direction, window, at)
            };
            analytics.send_stats(flushed.windows.iter().map(stat).collect());
        });
    }

    /// Sends finished windows unchanged.
    pub(super) fn finished_stats(&self, stats: Vec<AnalyticsStat>) {
        if let Some(engine) = &self.engine {
            engine.stats(&stats, self.now());
        }
        self.to_analytics(|analytics| analytics.send_stats(stats));
    }

    /// Sends a node's rooms.
    pub(super) fn node_rooms(&self, mut rooms: AnalyticsNodeRooms) {
        if let (true, Some(node)) = (rooms.node_id.is_empty(), &self.node) {
            node.as_str().clone_into(&mut rooms.node_id);
        }
        if rooms.timestamp.is_none() {
            rooms.timestamp = Some(timestamp(self.now()));
        }
        if let Some(engine) = &self.engine {
            engine.node_rooms(&rooms, self.now());
        }
        self.to_analytics(|analytics| analytics.send_node_room_states(rooms));
    }
}

// Go's zero time, which upstream writes if no report had a stream.
const YEAR_ONE: i64 = -62_135_596_800;

// A finished window as upstream's workers send it: one stream, with its highest layer only.
fn stat(
    flushed: &Flushed,
    track: &str,
    direction: Direction,
    window: &Coalesced,
    at: Time,
) -> AnalyticsStat {
    let kind = match direction {
        Direction::Upstream => StreamType::Upstream,
        Direction::Downstream => StreamType::Downstream,
    };
    let who = &flushed.who;
    AnalyticsStat {
        kind: kind as i32,
        time_stamp: Some(timestamp(at)),
        room_id: who.room_sid.as_ref().to_owned(),
        room_name: who.room_name.as_ref().to_owned(),
        participant_id: who.participant_sid.as_ref().to_owned(),
        track_id: track.to_owned(),
        score: window.score,
        min_score: window.min_score,
        median_score: window.median_score,
        mime: window.mime_type.as_deref().unwrap_or_default().to_owned(),
        streams: vec![stream(window)],
        ..AnalyticsStat::default()
    }
}

fn stream(window: &Coalesced) -> AnalyticsStream {
    let time = |nanos: Option<i64>| {
        let nanos = i128::from(nanos.unwrap_or_default())
            + if window.span.is_none() { i128::from(YEAR_ONE) * 1_000_000_000 } else { 0 };
        pbjson_types::Timestamp {
            seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default(),
            nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default(),
        }
    };
    let layer = window.layer.map(|layer| AnalyticsVideoLayer {
        layer: layer.layer,
        packets: layer.packets,
        bytes: layer.bytes,
        frames: layer.frames,
    });
    AnalyticsStream {
        rtt: window.rtt,
        jitter: window.jitter,
        video_layers: layer.into_iter().collect(),
        start_time: Some(time(window.span.map(|span| span.0))),
        end_time: Some(time(window.span.map(|span| span.1))),
        ..stream_of(&window.counts)
    }
}
