//! Sends a capture to a running server like a LiveKit server: webhooks with new signatures, and
//! analytics on their streams. The recorded times are kept.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use livekit_token::AccessTokenError;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::capture::{Capture, Line, kind};
use super::post::{WebhookError, Webhooks};
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
    /// The key that signs webhooks and the tokens of streams. If it is empty, streams have no
    /// token.
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
}

/// Why a capture could not be sent.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A line's body is not a message of its kind.
    #[error("line {line}: {error}")]
    Unreadable {
        /// The line in the file.
        line: usize,
        /// Why.
        error: Unreadable,
    },
    /// A webhook was refused.
    #[error("line {line}: the webhook was answered {status}")]
    Refused {
        /// The line in the file.
        line: usize,
        /// The status of the response.
        status: StatusCode,
    },
    /// A webhook could not be sent.
    #[error("line {line}: the webhook could not be sent: {error}")]
    Unreachable {
        /// The line in the file.
        line: usize,
        /// Why.
        error: String,
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
    let mut streams = Vec::new();
    if Source::ALL.into_iter().any(|source| source != Source::Webhook && has(source)) {
        let channel = Endpoint::from(to.analytics.clone()).connect().await?;
        // Opened before the first line, so that the server expects each webhook's analytics event.
        for source in Source::ALL.into_iter().filter(|source| has(*source)) {
            streams.extend(Stream::open(source, channel.clone(), to)?);
        }
    }
    let webhooks = Webhooks::new(to.webhook.clone(), &to.key, &to.secret);
    let mut sent = Sent::default();
    let began = Instant::now();
    let first = capture.lines.iter().map(|line| line.at).min().unwrap_or_default();
    for (index, line) in capture.lines.iter().enumerate() {
        let recorded = u64::try_from(line.at.saturating_sub(first)).unwrap_or_default();
        pause(began, Duration::from_millis(recorded), to.speed).await;
        match line.source {
            Source::Webhook => {
                let body = Bytes::from(line.body.to_string());
                webhooks.send(body, || {}).await.map_err(|error| of_line(line.number, error))?;
                sent.webhooks += 1;
            }
            source => {
                send_on_stream(&mut streams, line).await?;
                match source {
                    Source::Events => sent.events += 1,
                    Source::Stats => sent.stats += 1,
                    _ => sent.node_rooms += 1,
                }
            }
        }
        progress(index + 1);
    }
    for stream in streams {
        stream.close().await?;
    }
    Ok(sent)
}

fn of_line(line: usize, error: WebhookError) -> ReplayError {
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

async fn send_on_stream(streams: &mut Vec<Stream>, line: &Line) -> Result<(), ReplayError> {
    let message = livekit::encode_capture(kind(line.source), &line.body)
        .map_err(|error| ReplayError::Unreadable { line: line.number, error })?;
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
        Line { number: 1, at: 1, source, body: serde_json::json!({ "events": [] }) }
    }

    #[tokio::test]
    async fn a_line_for_a_stream_that_the_server_ended_is_not_sent() {
        let mut streams = vec![answered_early(Source::Events)];
        for _ in 0..2 {
            let error = send_on_stream(&mut streams, &line(Source::Events)).await.unwrap_err();
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
