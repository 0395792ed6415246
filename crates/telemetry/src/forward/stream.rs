//! Opens one stream after the other: when there is a message, and for an interval. Messages that the
//! receiver did not acknowledge are sent again on the next stream.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::lane::Lane;
use super::token::{TokenError, Tokens};
use livekit_otel_transport::frames::RawCodec;
use livekit_otel_transport::frames::status::ByStatus;
use livekit_otel_transport::jittered;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Streams {
    pub(super) kind: &'static str,
    pub(super) path: &'static str,
    pub(super) channel: Channel,
    pub(super) tokens: Option<Tokens>,
    pub(super) interval: Duration,
    pub(super) max_messages: usize,
    pub(super) ack_timeout: Duration,
    pub(super) gzip: bool,
}

// How a stream ended: how many messages were sent, and the answer.
struct Ended {
    sent: usize,
    answer: Result<(), Status>,
}

// What is remembered from one stream to the next.
struct State {
    pause: Duration,
    is_failing: bool,
    // This many messages are sent one per stream, to find the one that is too large.
    suspects: usize,
}

impl State {
    async fn back_off(&mut self) {
        tokio::time::sleep(jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Streams {
    /// Sends until the lane is closed and empty.
    pub(super) async fn run(self, lane: Arc<Lane>) {
        let mut state = State { pause: FIRST_PAUSE, is_failing: false, suspects: 0 };
        loop {
            if lane.get(0).is_none() {
                if lane.is_closed() {
                    return;
                }
                lane.changed().await;
                continue;
            }
            match self.metadata() {
                Ok(metadata) => {
                    let most = if state.suspects > 0 { 1 } else { self.max_messages };
                    let ended = self.stream(&lane, most, metadata).await;
                    self.on_ended(ended, &lane, &mut state).await;
                }
                Err(error) => {
                    lane.retry(0, Code::Unauthenticated);
                    if !std::mem::replace(&mut state.is_failing, true) {
                        let (kind, cause) = (self.kind, error.source().map(ToString::to_string));
                        tracing::warn!(kind, %error, cause, "no token for the analytics: retrying");
                    }
                    state.back_off().await;
                }
            }
        }
    }

    async fn on_ended(&self, Ended { sent, answer }: Ended, lane: &Lane, state: &mut State) {
        if let Err(status) = &answer {
            lane.retry(sent, status.code());
        }
        match answer {
            Ok(()) => {
                lane.acknowledge(sent);
                state.suspects = state.suspects.saturating_sub(sent);
                state.pause = FIRST_PAUSE;
                if std::mem::take(&mut state.is_failing) {
                    tracing::info!(kind = self.kind, "the analytics receiver is back");
                }
            }
            Err(status) if is_too_large(&status) && sent == 1 => {
                lane.drop_first();
                state.suspects = state.suspects.saturating_sub(1);
                tracing::warn!(kind = self.kind, "dropped a message that is too large");
            }
            Err(status) if is_too_large(&status) && sent > 1 => state.suspects = sent,
            Err(status) => {
                if !std::mem::replace(&mut state.is_failing, true) {
                    let (kind, code) = (self.kind, status.code());
                    tracing::warn!(kind, ?code, "the analytics receiver is away: retrying");
                }
                if needs_operator(&status) {
                    state.pause = LONGEST_PAUSE;
                }
                state.back_off().await;
            }
        }
    }

    // The headers of the next stream.
    fn metadata(&self) -> Result<MetadataMap, TokenError> {
        let mut headers = http::HeaderMap::new();
        if let Some(tokens) = &self.tokens {
            headers.insert(http::header::AUTHORIZATION, tokens.next()?);
        }
        Ok(MetadataMap::from_headers(headers))
    }

    // Sends up to `most` messages, ends the stream and waits for its answer.
    async fn stream(&self, lane: &Lane, most: usize, metadata: MetadataMap) -> Ended {
        let (messages, outgoing) = mpsc::channel(64);
        let mut answer = pin!(self.answer(outgoing, metadata));
        let end = Instant::now() + self.interval;
        let mut sent = 0;
        while sent < most {
            let Some(message) = lane.get(sent) else {
                if lane.is_closed() {
                    break;
                }
                tokio::select! {
                    early = &mut answer => return Ended { sent, answer: Err(too_early(early)) },
                    () = lane.changed() => continue,
                    () = tokio::time::sleep_until(end) => break,
                }
            };
            tokio::select! {
                early = &mut answer => return Ended { sent, answer: Err(too_early(early)) },
                taken = messages.send(message) => {
                    if taken.is_err() {
                        break;
                    }
                    sent += 1;
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        drop(messages);
        let answer = tokio::time::timeout(self.ack_timeout, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        Ended { sent, answer }
    }

    async fn answer(
        &self,
        outgoing: mpsc::Receiver<Bytes>,
        metadata: MetadataMap,
    ) -> Result<(), Status> {
        let mut grpc = tonic::client::Grpc::new(ByStatus(self.channel.clone()));
        if self.gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let outgoing = ReceiverStream::new(outgoing);
        let request = Request::from_parts(metadata, http::Extensions::new(), outgoing);
        let path = PathAndQuery::from_static(self.path);
        grpc.client_streaming(request, path, RawCodec).await.map(|_| ())
    }
}

// An answer before the end does not say what was read, so everything is sent again.
fn too_early(answer: Result<(), Status>) -> Status {
    answer.err().unwrap_or_else(|| Status::unavailable("ended by the receiver"))
}

// How tonic's and Go's servers answer.
fn is_too_large(status: &Status) -> bool {
    match status.code() {
        Code::OutOfRange => true,
        Code::ResourceExhausted => status.message().contains("larger than max"),
        _ => false,
    }
}

// Only the receiver's operator can fix these.
fn needs_operator(status: &Status) -> bool {
    let code = status.code();
    matches!(code, Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied)
}
