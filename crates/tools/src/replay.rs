//! Sends a capture to a running server like a LiveKit server and its agents: webhooks with new
//! signatures, analytics on their streams, and uploads with new tokens. The recorded times are kept.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use livekit_token::AccessTokenError;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::capture::{Body, Capture, Line, Place, kind};
use super::post::{WebhookError, Webhooks};
pub use super::uploads::UploadError;
use super::uploads::Uploads;
use livekit_otel_livekit::token;
use livekit_otel_livekit::{self as livekit, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_transport::frames::RawCodec;
use livekit_otel_transport::frames::status::ByStatus;

/// Where a capture or a simulation is sent.
#[derive(Clone)]
pub struct Destination {
    /// The URL for webhooks; `http` only.
    pub webhook: Uri,
    /// The address for analytics streams, as `http://host:port`.
    pub analytics: Uri,
    /// What the paths of uploads follow, like `LIVEKIT_OBSERVABILITY_URL`; `http` only.
    pub uploads: Uri,
    /// The key that signs webhooks, and the tokens of streams and uploads. If it is empty, streams
    /// have no token.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// How many times faster than recorded to send. Infinity leaves out all pauses.
    pub speed: f64,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Destination");
        shown.field("webhook", &self.webhook).field("analytics", &self.analytics);
        shown.field("uploads", &self.uploads);
        shown.field("key", &self.key).field("speed", &self.speed).finish_non_exhaustive()
    }
}

/// How many lines were sent and acknowledged.
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
}

impl Sent {
    /// How many of them are uploads.
    pub fn uploads(&self) -> u64 {
        self.traces + self.logs + self.metrics + self.recordings
    }

    fn count(&mut self, source: Source) {
        *match source {
            Source::Webhook => &mut self.webhooks,
            Source::Events => &mut self.events,
            Source::Stats => &mut self.stats,
            Source::NodeRooms | Source::Api => &mut self.node_rooms,
            Source::AgentTraces | Source::OtlpTraces => &mut self.traces,
            Source::AgentLogs | Source::OtlpLogs => &mut self.logs,
            Source::AgentMetrics | Source::OtlpMetrics => &mut self.metrics,
            Source::AgentRecordings => &mut self.recordings,
        } += 1;
    }
}

/// Why a capture could not be sent.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A line's body is not a message of its kind.
    #[error("{line}: {error}")]
    Unreadable {
        /// The line in the file.
        line: Place,
        /// Why.
        error: Unreadable,
    },
    /// A webhook was refused.
    #[error("{line}: the webhook was answered {status}")]
    Refused {
        /// The line in the file.
        line: Place,
        /// The status of the response.
        status: StatusCode,
    },
    /// A webhook could not be sent.
    #[error("{line}: the webhook could not be sent: {error}")]
    Unreachable {
        /// The line in the file.
        line: Place,
        /// Why.
        error: String,
    },
    /// An upload was not accepted.
    #[error("{line}: the upload was not accepted: {error}")]
    Upload {
        /// The line in the file.
        line: Place,
        /// Why.
        error: UploadError,
    },
    /// The key or the secret is empty.
    #[error("webhooks and tokens can't be signed: {0}")]
    Sign(#[from] AccessTokenError),
    /// The server of the analytics streams can't be reached.
    #[error("the analytics could not be sent: {0}")]
    Analytics(#[from] tonic::transport::Error),
    /// An analytics stream was refused.
    #[error("the {stream} stream was answered {code}: {message}")]
    Stream {
        /// The kind of its lines.
        stream: &'static str,
        /// The gRPC status code.
        code: tonic::Code,
        /// The message of the status.
        message: String,
    },
    /// The server ended an analytics stream early, so unread messages are lost.
    #[error("the {stream} stream was ended by the server before all was sent")]
    Ended {
        /// The kind of its lines.
        stream: &'static str,
    },
}

/// Sends `capture`, and calls `progress` with the number of lines sent so far. Returns when
/// everything is acknowledged.
///
/// # Errors
/// If a line can't be sent. The rest is not sent then.
pub async fn replay(
    capture: &Capture,
    to: &Destination,
    mut progress: impl FnMut(usize),
) -> Result<Sent, ReplayError> {
    let has = |source| capture.lines.iter().any(|line| line.source == source);
    let is_stream = |source: &Source| livekit::method(*source).is_some() && has(*source);
    let mut streams = Vec::new();
    if Source::ALL.iter().any(is_stream) {
        let channel = Endpoint::from(to.analytics.clone()).connect().await?;
        // Opened before the first line, so that the server expects each webhook's analytics event.
        for source in Source::ALL.into_iter().filter(is_stream) {
            streams.extend(Stream::open(source, channel.clone(), to)?);
        }
    }
    let webhooks = Webhooks::new(to.webhook.clone(), &to.key, &to.secret);
    let uploads = Uploads::new(&to.uploads, &to.key, &to.secret);
    let mut sent = Sent::default();
    let began = Instant::now();
    let first = capture.lines.iter().map(|line| line.at).min().unwrap_or_default();
    for (index, line) in capture.lines.iter().enumerate() {
        let recorded = u64::try_from(line.at.saturating_sub(first)).unwrap_or_default();
        pause(began, Duration::from_millis(recorded), to.speed).await;
        match &line.body {
            Body::Message(message) if line.source == Source::Webhook => {
                let sent = webhooks.send(Bytes::from(message.to_string()), || {}).await;
                sent.map_err(|error| of_line(line, error))?;
            }
            Body::Message(message) => send_on_stream(&mut streams, line, message).await?,
            Body::Upload(upload) => {
                let sent = uploads.send(line.source, upload, || {}).await;
                let line = || line.place.clone();
                sent.map_err(|error| ReplayError::Upload { line: line(), error })?;
            }
        }
        sent.count(line.source);
        progress(index + 1);
    }
    for stream in streams {
        stream.close().await?;
    }
    Ok(sent)
}

fn of_line(line: &Line, error: WebhookError) -> ReplayError {
    let line = line.place.clone();
    match error {
        WebhookError::Sign(error) => ReplayError::Sign(error),
        WebhookError::Refused(status) => ReplayError::Refused { line, status },
        WebhookError::Unreachable(error) => ReplayError::Unreachable { line, error },
    }
}

/// Waits until `recorded` has passed since `began`, at the replay's speed.
pub(crate) async fn pause(began: Instant, recorded: Duration, speed: f64) {
    let due = Duration::try_from_secs_f64(recorded.as_secs_f64() / speed).unwrap_or_default();
    if !due.is_zero() {
        tokio::time::sleep_until(began + due).await;
    }
}

async fn send_on_stream(
    streams: &mut Vec<Stream>,
    line: &Line,
    message: &Value,
) -> Result<(), ReplayError> {
    let message = livekit::encode_capture(kind(line.source), message)
        .map_err(|error| ReplayError::Unreadable { line: line.place.clone(), error })?;
    let Some(index) = streams.iter().position(|stream| stream.source == line.source) else {
        return Err(ReplayError::Ended { stream: kind(line.source) });
    };
    if streams[index].messages.send(Bytes::from(message)).await.is_err() {
        // The server has ended the stream, and its answer says why.
        return streams.swap_remove(index).ended().await;
    }
    Ok(())
}

// A client stream and its pending answer.
struct Stream {
    source: Source,
    messages: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<(), Status>>,
}

impl Stream {
    fn open(
        source: Source,
        channel: Channel,
        to: &Destination,
    ) -> Result<Option<Self>, ReplayError> {
        let Some(path) = livekit::method(source) else { return Ok(None) };
        let path = PathAndQuery::from_static(path);
        let (messages, outgoing) = mpsc::channel(64);
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        if !to.key.is_empty() {
            let token = format!("Bearer {}", token::mint(&to.key, &to.secret)?);
            // A JWT has only characters that a header may have.
            let token = token.parse().map_err(|_| AccessTokenError::InvalidKeys)?;
            request.metadata_mut().insert("authorization", token);
        }
        let answer = tokio::spawn(async move {
            let mut grpc = tonic::client::Grpc::new(ByStatus(channel));
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.client_streaming(request, path, RawCodec).await.map(|_| ())
        });
        Ok(Some(Self { source, messages, answer }))
    }

    // Sends the queued messages and waits until they are acknowledged.
    async fn close(self) -> Result<(), ReplayError> {
        if self.answer.is_finished() {
            return self.ended().await;
        }
        drop(self.messages);
        answered(self.source, self.answer).await
    }

    // An early answer is an error, even a success.
    async fn ended(self) -> Result<(), ReplayError> {
        answered(self.source, self.answer).await?;
        Err(ReplayError::Ended { stream: kind(self.source) })
    }
}

async fn answered(
    source: Source,
    answer: JoinHandle<Result<(), Status>>,
) -> Result<(), ReplayError> {
    let answer = answer.await.map_err(|_| Status::internal("the stream's task failed"));
    answer.and_then(|answer| answer).map_err(|status| ReplayError::Stream {
        stream: kind(source),
        code: status.code(),
        message: status.message().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // A stream that the server has already answered with success.
    fn answered_early(source: Source) -> Stream {
        let (messages, _) = mpsc::channel(1);
        Stream { source, messages, answer: tokio::spawn(async { Ok(()) }) }
    }

    fn line(source: Source) -> Line {
        let body = Body::Message(serde_json::json!({ "events": [] }));
        Line { place: Place { file: None, number: 1 }, at: 1, source, body }
    }

    #[tokio::test]
    async fn a_line_for_a_stream_that_the_server_ended_is_not_sent() {
        let mut streams = vec![answered_early(Source::Events)];
        for _ in 0..2 {
            let line = line(Source::Events);
            let error = send_on_stream(&mut streams, &line, line.message()).await.unwrap_err();
            assert!(matches!(error, ReplayError::Ended { stream: "events" }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_was_answered_before_its_end_was_not_acknowledged() {
        let stream = answered_early(Source::Stats);
        while !stream.answer.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(stream.close().await, Err(ReplayError::Ended { stream: "stats" })));
    }

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
