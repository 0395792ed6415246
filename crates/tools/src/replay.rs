//! Sends a capture to a running server like a LiveKit server and its agents: webhooks with new
//! signatures, analytics on their streams, and uploads with new tokens. The recorded times are kept.
//! What the server does not acknowledge is sent again.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;
use tonic::transport::Endpoint;

use super::capture::{Body, Capture, Line, Place, kind};
use super::destination::reach;
pub use super::destination::{Destination, Failure, Unreachable};
pub use super::post::WebhookError;
use super::post::Webhooks;
pub use super::streams::StreamError;
use super::streams::{self, Stream};
pub use super::uploads::UploadError;
use super::uploads::Uploads;
use livekit_otel_livekit::post::ATTEMPT;
use livekit_otel_livekit::{self as livekit, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_transport::client;

/// How many lines were acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sent {
    pub webhooks: u64,
    pub events: u64,
    pub stats: u64,
    pub node_rooms: u64,
    /// Uploads of spans, those of plain OTLP included, as for the next two.
    pub traces: u64,
    pub logs: u64,
    pub metrics: u64,
    pub recordings: u64,
    /// How many times a line was sent again, as it was not acknowledged at first.
    pub resent: u64,
    /// How many lines were not acknowledged, those included that were not sent.
    pub unacknowledged: u64,
}

impl Sent {
    /// How many of them are uploads.
    pub fn uploads(&self) -> u64 {
        self.traces + self.logs + self.metrics + self.recordings
    }

    fn acknowledged(&self) -> u64 {
        self.webhooks + self.events + self.stats + self.node_rooms + self.uploads()
    }

    fn add(&mut self, source: Source, lines: u64) {
        *match source {
            Source::Webhook => &mut self.webhooks,
            Source::Events => &mut self.events,
            Source::Stats => &mut self.stats,
            Source::NodeRooms | Source::Api => &mut self.node_rooms,
            Source::AgentTraces | Source::OtlpTraces => &mut self.traces,
            Source::AgentLogs | Source::OtlpLogs => &mut self.logs,
            Source::AgentMetrics | Source::OtlpMetrics => &mut self.metrics,
            Source::AgentRecordings => &mut self.recordings,
        } += lines;
    }
}

/// Why a capture could not be sent.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A server was not there at the start.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A line's body is not a message of its kind.
    #[error("{line}: {error}")]
    Unreadable {
        /// The line in the file.
        line: Place,
        /// Why.
        error: Unreadable,
    },
    /// A webhook was not acknowledged.
    #[error("{line}: {error}")]
    Webhook {
        /// The line in the file.
        line: Place,
        /// Why.
        error: WebhookError,
    },
    /// An upload was not acknowledged.
    #[error("{line}: the upload was not accepted: {error}")]
    Upload {
        /// The line in the file.
        line: Place,
        /// Why.
        error: UploadError,
    },
    /// Messages on a stream were not acknowledged.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// A replay that ended before everything was acknowledged.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct Stopped {
    /// What was acknowledged until then.
    pub sent: Sent,
    /// Why it ended.
    pub error: ReplayError,
}

/// Sends `capture`, and calls `progress` with the number of lines sent so far. Returns when
/// everything is acknowledged. What a server does not acknowledge is sent again for
/// [`Destination::retry_for`], so that it may restart meanwhile.
///
/// # Errors
/// If a line can't be sent. The rest is not sent then.
pub async fn replay(
    capture: &Capture,
    to: &Destination,
    progress: impl FnMut(usize),
) -> Result<Sent, Box<Stopped>> {
    let mut replaying = Replaying::new(capture, to);
    let ended = replaying.run(progress).await;
    let sent = replaying.sent();
    ended.map(|()| sent).map_err(|error| Box::new(Stopped { sent, error }))
}

struct Replaying<'a> {
    capture: &'a Capture,
    to: &'a Destination,
    webhooks: Webhooks,
    uploads: Uploads,
    streams: Vec<(Source, Stream)>,
    sent: Sent,
}

impl<'a> Replaying<'a> {
    fn new(capture: &'a Capture, to: &'a Destination) -> Self {
        let (webhooks, uploads) = (Webhooks::new(to), Uploads::new(to));
        Self { capture, to, webhooks, uploads, streams: Vec::new(), sent: Sent::default() }
    }

    // With the counts of the streams.
    fn sent(&self) -> Sent {
        let mut sent = self.sent;
        for (source, stream) in &self.streams {
            let (acknowledged, resent) = stream.counts();
            sent.add(*source, acknowledged);
            sent.resent += resent;
        }
        sent.unacknowledged = (self.capture.lines.len() as u64).saturating_sub(sent.acknowledged());
        sent
    }

    async fn run(&mut self, mut progress: impl FnMut(usize)) -> Result<(), ReplayError> {
        self.connect().await?;
        let began = Instant::now();
        let first = self.capture.lines.iter().map(|line| line.at).min().unwrap_or_default();
        for (index, line) in self.capture.lines.iter().enumerate() {
            let recorded = u64::try_from(line.at.saturating_sub(first)).unwrap_or_default();
            pause(began, Duration::from_millis(recorded), self.to.speed).await;
            self.send(line).await?;
            progress(index + 1);
        }
        for (_, stream) in &mut self.streams {
            stream.close().await?;
        }
        Ok(())
    }

    // Finds out whether each server is there, and opens the streams: before the first line, so that the server
    // expects each webhook's analytics event.
    async fn connect(&mut self) -> Result<(), ReplayError> {
        let has = |source: Source| self.capture.lines.iter().any(|line| line.source == source);
        if has(Source::Webhook) {
            reach(&Webhooks::address(self.to), &self.to.webhook).await?;
        }
        if self.capture.lines.iter().any(|line| line.source.is_upload()) {
            reach(&Uploads::address(self.to), &self.to.uploads).await?;
        }
        let of_streams: Vec<_> = Source::ALL
            .into_iter()
            .filter(|source| has(*source))
            .filter_map(|source| Some((source, livekit::method(source)?)))
            .collect();
        if !of_streams.is_empty() {
            reach(&streams::address(self.to), &self.to.analytics).await?;
            let endpoint = Endpoint::from(self.to.analytics.clone()).connect_timeout(ATTEMPT);
            let channel = client::channel(&endpoint);
            for (source, path) in of_streams {
                let stream = Stream::open(kind(source), path, channel.clone(), self.to);
                self.streams.push((source, stream));
            }
        }
        Ok(())
    }

    async fn send(&mut self, line: &Line) -> Result<(), ReplayError> {
        let place = || line.place.clone();
        let retrying = || self.sent.resent += 1;
        match &line.body {
            Body::Message(message) if line.source == Source::Webhook => {
                let sent = self.webhooks.send(Bytes::from(message.to_string()), retrying).await;
                sent.map_err(|error| ReplayError::Webhook { line: place(), error })?;
            }
            Body::Message(message) => return self.send_on_stream(line, message).await,
            Body::Upload(upload) => {
                let sent = self.uploads.send(line.source, upload, retrying).await;
                sent.map_err(|error| ReplayError::Upload { line: place(), error })?;
            }
        }
        self.sent.add(line.source, 1);
        Ok(())
    }

    async fn send_on_stream(&mut self, line: &Line, message: &Value) -> Result<(), ReplayError> {
        let message = livekit::encode_capture(kind(line.source), message)
            .map_err(|error| ReplayError::Unreadable { line: line.place.clone(), error })?;
        for (source, stream) in &mut self.streams {
            if *source == line.source {
                stream.send(Bytes::from(message)).await?;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Waits until `recorded` has passed since `began`, at the replay's speed.
pub(crate) async fn pause(began: Instant, recorded: Duration, speed: f64) {
    let due = Duration::try_from_secs_f64(recorded.as_secs_f64() / speed).unwrap_or_default();
    if !due.is_zero() {
        tokio::time::sleep_until(began + due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn recorded_gaps_are_divided_by_the_speed() {
        let began = Instant::now();
        pause(began, Duration::from_secs(10), 4.0).await;
        assert_eq!(began.elapsed(), Duration::from_millis(2500));
        for speed in [0.0, f64::INFINITY, f64::NAN] {
            pause(began, Duration::from_secs(1000), speed).await;
        }
        assert_eq!(began.elapsed(), Duration::from_millis(2500));
    }
}
