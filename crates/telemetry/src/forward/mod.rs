//! An [`AnalyticsService`] that sends to an `AnalyticsRecorderService` over gRPC, so that the SFUs
//! of a deployment feed one `livekit-otel serve`.
//!
//! A stream is acknowledged by nothing but its end, so each is ended after a second or 512 messages
//! and the next one opened. What was sent on a stream that broke before is sent again, in its order
//! and with its ids, by which the receiver knows it: nothing is lost while the receiver is away, as
//! long as the buffer lasts.

mod lane;
mod stream;
mod token;

pub use token::{TokenError, Tokens};

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use http::Uri;
use prost::Message;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Endpoint;

use lane::Lane;
use stream::Streams;

use super::encode::timestamp;
use super::stamp::new_id;
use super::{AnalyticsService, Stopping};
use livekit_otel_export::settings::Tls;
use livekit_otel_livekit::messages::{
    AnalyticsEvent, AnalyticsEvents, AnalyticsNodeRooms, AnalyticsStat, AnalyticsStats,
};
use livekit_otel_livekit::method;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;

const KINDS: [Source; 3] = [Source::Stats, Source::Events, Source::NodeRooms];

/// Where to forward to, and how.
#[derive(Clone)]
pub struct ForwardSettings {
    /// `http://host:9291`, or `https`.
    pub endpoint: Uri,
    /// Certificates, for `https`.
    pub tls: Tls,
    /// The access token of each stream, where the receiver asks for one.
    pub tokens: Option<Tokens>,
    /// This node's id, `ND_…`.
    pub node_id: String,
    /// LiveKit Cloud's key of the project; empty elsewhere.
    pub analytics_key: String,
    /// After how long a stream is ended.
    pub interval: Duration,
    /// After how many messages a stream is ended.
    pub max_messages: usize,
    /// How long an end may go unanswered.
    pub ack_timeout: Duration,
    /// How much may wait, in encoded bytes, of each kind.
    pub max_bytes: usize,
    /// Whether messages are compressed.
    pub gzip: bool,
}

impl ForwardSettings {
    /// The defaults: a second, 512 messages, 16 MiB.
    pub fn to(endpoint: Uri) -> Self {
        Self {
            endpoint,
            tls: Tls::default(),
            tokens: None,
            node_id: String::new(),
            analytics_key: String::new(),
            interval: Duration::from_secs(1),
            max_messages: 512,
            ack_timeout: Duration::from_secs(10),
            max_bytes: 16 << 20,
            gzip: false,
        }
    }
}

impl fmt::Debug for ForwardSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardSettings")
            .field("endpoint", &self.endpoint)
            .field("node_id", &self.node_id)
            .field("interval", &self.interval)
            .field("max_messages", &self.max_messages)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a forwarder can't start, whatever the receiver does.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The endpoint is no http or https URL.
    #[error("the endpoint must start with http:// or https://")]
    Endpoint,
    /// A PEM file can't be read.
    #[error("{path} can't be read: {kind}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// What is in the PEM files can't be used.
    #[error("the certificates can't be used")]
    Tls,
    /// This build has no TLS (feature `tls`).
    #[error("this build has no TLS")]
    NoTls,
}

/// What became of the messages of one kind: accepted = acknowledged + dropped + waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Given to the forwarder.
    pub accepted: u64,
    /// Acknowledged by the receiver.
    pub acknowledged: u64,
    /// Not sent: the buffer was full, or the receiver takes none of that size.
    pub dropped: u64,
    /// Not acknowledged yet.
    pub waiting: u64,
}

/// What was not acknowledged at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many messages were sent again, or will be, each as often as it was.
    pub messages: u64,
    /// Why, the last time.
    pub last: Option<tonic::Code>,
}

/// Forwards to a recorder. Calls return at once.
#[derive(Debug)]
pub struct AnalyticsForwarder {
    node_id: String,
    analytics_key: String,
    sequence: AtomicU64,
    lanes: [Arc<Lane>; 3],
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl AnalyticsForwarder {
    /// Starts on the current tokio runtime. The receiver need not be there yet.
    ///
    /// # Errors
    /// Where the settings can't be used whatever the receiver does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(settings: ForwardSettings) -> Result<Self, ForwardError> {
        let channel = endpoint(&settings)?.connect_lazy();
        let lanes = KINDS.map(|_| Arc::new(Lane::new(settings.max_bytes)));
        let mut tasks = Vec::new();
        for (kind, lane) in KINDS.into_iter().zip(&lanes) {
            let Some(path) = method(kind) else { continue };
            let streams = Streams {
                kind: kind.as_str(),
                path,
                channel: channel.clone(),
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
            tasks: std::sync::Mutex::new(tasks),
        })
    }

    /// What became of the messages: of stats, events and node rooms.
    pub fn counts(&self) -> [(Source, Forwarded); 3] {
        let mut lanes = self.lanes.iter();
        KINDS.map(|kind| (kind, lanes.next().map_or_else(Forwarded::default, |lane| lane.counts())))
    }

    /// What was not acknowledged at first, of a kind.
    pub fn retried(&self, kind: Source) -> Retried {
        self.lane(kind).retried()
    }

    /// Waits until fewer than `most` messages of a kind wait: for a caller that would rather wait
    /// than have something dropped.
    pub async fn room(&self, kind: Source, most: usize) {
        self.lane(kind).room(most.max(1)).await;
    }

    /// Takes no more, sends what waits and waits for its acknowledgement until `deadline`; gives
    /// how many messages were not acknowledged.
    pub async fn shutdown(&self, deadline: Instant) -> u64 {
        for lane in &self.lanes {
            lane.close();
        }
        let tasks = std::mem::take(
            &mut *self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.lanes.iter().map(|lane| lane.counts().waiting).sum()
    }

    fn lane(&self, kind: Source) -> &Lane {
        let nth = KINDS.iter().position(|each| *each == kind);
        &self.lanes[nth.unwrap_or_default()]
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
                stat.id = new_id("AS_");
            }
            stat.node.clone_from(&self.node_id);
            stat.analytics_key.clone_from(&self.analytics_key);
        }
        self.lane(Source::Stats).push(AnalyticsStats { stats }.encode_to_vec().into());
    }

    fn send_event(&self, mut event: AnalyticsEvent) {
        if event.id.is_empty() {
            event.id = new_id("AE_");
        }
        event.node_id.clone_from(&self.node_id);
        event.analytics_key.clone_from(&self.analytics_key);
        let message = AnalyticsEvents { events: vec![event] };
        self.lane(Source::Events).push(message.encode_to_vec().into());
    }

    fn send_node_room_states(&self, mut rooms: AnalyticsNodeRooms) {
        rooms.node_id.clone_from(&self.node_id);
        rooms.sequence_number = self.sequence.fetch_add(1, Relaxed) + 1;
        // The service stamps them, by its own clock.
        if rooms.timestamp.is_none() {
            rooms.timestamp = Some(timestamp(Time::from_system(SystemTime::now())));
        }
        self.lane(Source::NodeRooms).push(rooms.encode_to_vec().into());
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
        Some("http") => Ok(endpoint),
        Some("https") => with_tls(endpoint, &settings.tls),
        _ => Err(ForwardError::Endpoint),
    }
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, tls: &Tls) -> Result<Endpoint, ForwardError> {
    let config = tls.for_grpc().map_err(|unusable| {
        let kind = unusable.error.kind();
        ForwardError::Certificate { path: unusable.path, kind }
    })?;
    endpoint.tls_config(config).map_err(|_| ForwardError::Tls)
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: Endpoint, _: &Tls) -> Result<Endpoint, ForwardError> {
    Err(ForwardError::NoTls)
}
