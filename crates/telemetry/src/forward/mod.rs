//! An [`AnalyticsService`] that sends to an `AnalyticsRecorderService` over gRPC, so that the SFUs
//! of a deployment report to one `livekit-otel serve`.
//!
//! The receiver acknowledges a stream only at its end, so the forwarder ends each stream after a second
//! or 512 messages and opens the next one. Messages of a stream that failed are sent again, in their
//! order and with their ids, by which the receiver recognizes them. So no message is lost while the
//! receiver is away, unless the buffer is full.

mod lane;
mod settings;
mod stream;
mod token;

pub use lane::{Forwarded, Retried};
pub use settings::{ForwardError, ForwardSettings};
pub use token::{TokenError, Tokens};

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use prost::Message;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Endpoint;

use lane::Lane;
use stream::Streams;

use super::analytics::{AnalyticsService, Stopping};
use livekit_otel_livekit::encode::timestamp;
use livekit_otel_livekit::messages::{
    AnalyticsEvent, AnalyticsEvents, AnalyticsNodeRooms, AnalyticsStat, AnalyticsStats,
};
use livekit_otel_livekit::{guid, method};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_transport::client;
use livekit_otel_transport::hint::{Attempt, Protocol};
use livekit_otel_transport::tls::Tls;

const KINDS: [Source; 3] = [Source::Stats, Source::Events, Source::NodeRooms];

/// Forwards messages to a recorder. Calls return at once.
#[derive(Debug)]
pub struct AnalyticsForwarder {
    node_id: String,
    analytics_key: String,
    sequence: AtomicU64,
    lanes: [Arc<Lane>; 3],
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl AnalyticsForwarder {
    /// Starts on the current tokio runtime. The receiver need not be there yet.
    ///
    /// # Errors
    /// If the settings can't work, whatever the receiver does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(settings: ForwardSettings) -> Result<Self, ForwardError> {
        let channel = client::channel(&endpoint(&settings)?);
        let lanes = KINDS.map(|_| Arc::new(Lane::new(settings.max_bytes)));
        let mut tasks = Vec::new();
        for (kind, lane) in KINDS.into_iter().zip(&lanes) {
            let Some(path) = method(kind) else { continue };
            let streams = Streams {
                kind: kind.as_str(),
                path,
                channel: channel.clone(),
                attempted: Attempt::new(&settings.endpoint, Protocol::Grpc),
                tokens: settings.tokens.clone(),
                interval: settings.interval,
                max_messages: settings.max_messages.max(1),
                ack_timeout: settings.ack_timeout,
                gzip: settings.gzip,
            };
            tasks.push(tokio::spawn(streams.run(Arc::clone(lane))));
        }
        Ok(Self {
            node_id: settings.node_id,
            analytics_key: settings.analytics_key,
            sequence: AtomicU64::new(0),
            lanes,
            tasks: Mutex::new(tasks),
        })
    }

    /// The counts of one kind of messages: stats, events, or node rooms.
    pub fn counts(&self, kind: Source) -> Forwarded {
        self.lane(kind).map(|lane| lane.counts()).unwrap_or_default()
    }

    /// The messages of a kind that were not acknowledged at first.
    pub fn retried(&self, kind: Source) -> Retried {
        self.lane(kind).map(|lane| lane.retried()).unwrap_or_default()
    }

    /// The last reason why messages of a kind were not acknowledged: the receiver's status, whose source is the
    /// failure of the connection, if it is one.
    pub fn last_failure(&self, kind: Source) -> Option<Box<dyn Error + Send + Sync>> {
        self.lane(kind)?.failure().map(Into::into)
    }

    /// Waits until fewer than `most` messages of a kind wait: for a caller that prefers waiting to a
    /// dropped message.
    pub async fn wait_for_capacity(&self, kind: Source, most: usize) {
        if let Some(lane) = self.lane(kind) {
            lane.wait_for_capacity(most.max(1)).await;
        }
    }

    /// Accepts no more messages, sends those that wait, and waits for their acknowledgement until
    /// `deadline` of tokio's clock. Returns how many messages were not acknowledged.
    pub async fn shutdown(&self, deadline: Instant) -> u64 {
        for lane in &self.lanes {
            lane.close();
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.lanes.iter().map(|lane| lane.counts().waiting).sum()
    }

    fn lane(&self, kind: Source) -> Option<&Arc<Lane>> {
        let nth = KINDS.iter().position(|each| *each == kind)?;
        self.lanes.get(nth)
    }

    fn push(&self, kind: Source, message: &impl Message) {
        if let Some(lane) = self.lane(kind) {
            lane.push(message.encode_to_vec().into());
        }
    }
}

impl Drop for AnalyticsForwarder {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.close();
        }
    }
}

impl AnalyticsService for AnalyticsForwarder {
    fn send_stats(&self, mut stats: Vec<AnalyticsStat>) {
        for stat in &mut stats {
            if stat.id.is_empty() {
                stat.id = guid::new("AS_");
            }
            stat.node.clone_from(&self.node_id);
            stat.analytics_key.clone_from(&self.analytics_key);
        }
        self.push(Source::Stats, &AnalyticsStats { stats });
    }

    fn send_event(&self, mut event: AnalyticsEvent) {
        if event.id.is_empty() {
            event.id = guid::new("AE_");
        }
        event.node_id.clone_from(&self.node_id);
        event.analytics_key.clone_from(&self.analytics_key);
        self.push(Source::Events, &AnalyticsEvents { events: vec![event] });
    }

    fn send_node_room_states(&self, mut rooms: AnalyticsNodeRooms) {
        rooms.node_id.clone_from(&self.node_id);
        rooms.sequence_number = self.sequence.fetch_add(1, Relaxed) + 1;
        // The service stamps them by its own clock.
        if rooms.timestamp.is_none() {
            rooms.timestamp = Some(timestamp(Time::from_system(SystemTime::now())));
        }
        self.push(Source::NodeRooms, &rooms);
    }

    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        Box::pin(async move {
            let left = self.shutdown(deadline).await;
            if left > 0 {
                tracing::warn!(left, "analytics were not acknowledged in time");
            }
        })
    }
}

const KEEP_ALIVE: Duration = Duration::from_secs(10);

fn endpoint(settings: &ForwardSettings) -> Result<Endpoint, ForwardError> {
    let endpoint = Endpoint::from(settings.endpoint.clone())
        .connect_timeout(settings.ack_timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    match settings.endpoint.scheme_str() {
        Some("https") => with_tls(endpoint, &settings.tls),
        _ => Ok(endpoint),
    }
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, tls: &Tls) -> Result<Endpoint, ForwardError> {
    let config = tls.for_grpc().map_err(|unusable| {
        let (path, source) = unusable.into_parts();
        ForwardError::Certificate { path, source }
    })?;
    endpoint.tls_config(config).map_err(|error| ForwardError::Tls(Box::new(error)))
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: Endpoint, _: &Tls) -> Result<Endpoint, ForwardError> {
    Err(ForwardError::NoTls)
}
