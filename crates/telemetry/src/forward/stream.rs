//! Opens one stream after the other: when there is a message, and for an interval. Messages that the
//! receiver did not acknowledge are sent again on the next stream.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::lane::Lane;
use super::token::{TokenError, Tokens};
use livekit_otel_transport::client::GrpcChannel;
use livekit_otel_transport::frames::RawCodec;
use livekit_otel_transport::frames::status::ByStatus;
use livekit_otel_transport::hint::{self, Attempt};
use livekit_otel_transport::repeats::{Line, Minutely, Outage};
use livekit_otel_transport::{chain, jittered, words};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Streams {
    pub(super) kind: &'static str,
    pub(super) path: &'static str,
    pub(super) channel: GrpcChannel,
    pub(super) attempted: Attempt,
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
    outage: Outage,
    too_large: Minutely,
    // This many messages are sent one per stream, to find the one that is too large.
    suspects: usize,
}

impl Default for State {
    fn default() -> Self {
        let (outage, too_large) = (Outage::default(), Minutely::default());
        Self { pause: FIRST_PAUSE, outage, too_large, suspects: 0 }
    }
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
        let mut state = State::default();
        loop {
            self.log_recovery(&mut state.outage, lane.is_closed());
            if lane.get(0).is_none() {
                if lane.is_closed() {
                    return;
                }
                match state.outage.due().map(Instant::from_std) {
                    Some(due) => drop(tokio::time::timeout_at(due, lane.changed()).await),
                    None => lane.changed().await,
                }
                continue;
            }
            match self.metadata() {
                Ok(metadata) => {
                    let most = if state.suspects > 0 { 1 } else { self.max_messages };
                    let ended = self.stream(&lane, most, metadata).await;
                    self.on_ended(ended, &lane, &mut state).await;
                }
                Err(error) => {
                    lane.retry(0, Status::unauthenticated("there is no token"));
                    let reason = format!("no token: {}", chain(&error));
                    self.failed(&mut state.outage, &lane, &reason, None);
                    state.back_off().await;
                }
            }
        }
    }

    async fn on_ended(&self, Ended { sent, answer }: Ended, lane: &Lane, state: &mut State) {
        if let Err(status) = &answer {
            lane.retry(sent, status.clone());
        }
        match answer {
            Ok(()) => {
                lane.acknowledge(sent);
                state.suspects = state.suspects.saturating_sub(sent);
                state.pause = FIRST_PAUSE;
                state.outage.succeeded(Instant::now().into_std());
            }
            Err(status) if is_too_large(&status) && sent == 1 => {
                lane.drop_first();
                state.suspects = state.suspects.saturating_sub(1);
                if let Some(dropped) = state.too_large.due(Instant::now().into_std()) {
                    let (kind, receiver) = (self.kind, self.attempted.address());
                    let reason = words::clean(status.message());
                    tracing::warn!(kind, receiver, dropped, reason, "dropped what is too large");
                }
            }
            Err(status) if is_too_large(&status) && sent > 1 => state.suspects = sent,
            Err(status) => {
                let reason = reason(&status);
                let hint = hint::hint(&status, &self.attempted);
                self.failed(&mut state.outage, lane, &reason, hint.as_deref());
                if needs_operator(&status) {
                    state.pause = LONGEST_PAUSE;
                }
                state.back_off().await;
            }
        }
    }

    fn log_recovery(&self, outage: &mut Outage, at_once: bool) {
        let Some(ended) = outage.over(Instant::now().into_std(), at_once) else { return };
        let (kind, receiver) = (self.kind, self.attempted.address());
        let (seconds, times) = (ended.lasted.as_secs(), ended.times);
        let times = Some(times).filter(|times| *times > 1);
        tracing::info!(kind, receiver, seconds, times, "the analytics receiver is back");
    }

    fn failed(&self, outage: &mut Outage, lane: &Lane, reason: &str, hint: Option<&str>) {
        let now = (Instant::now().into_std(), SystemTime::now());
        let Some(line) = outage.failed(reason, now) else { return };
        let (kind, receiver) = (self.kind, self.attempted.address());
        let waiting = lane.counts().waiting;
        match line {
            Line::Failed => tracing::warn!(
                kind,
                receiver,
                reason,
                hint,
                waiting,
                "the analytics receiver does not acknowledge: retrying"
            ),
            Line::Still(since) => {
                let seconds = now.1.duration_since(since).unwrap_or_default().as_secs();
                tracing::warn!(
                    kind,
                    receiver,
                    reason,
                    hint,
                    "still not acknowledged, {waiting} waiting, for {seconds} s"
                );
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
        grpc.ready().await.map_err(Status::from_error)?;
        let outgoing = ReceiverStream::new(outgoing);
        let request = Request::from_parts(metadata, http::Extensions::new(), outgoing);
        let path = PathAndQuery::from_static(self.path);
        grpc.client_streaming(request, path, RawCodec).await.map(|_| ())
    }
}

// The receiver's own words, or the error of the connection.
fn reason(status: &Status) -> String {
    let text = status.source().map_or_else(|| status.message().to_owned(), chain);
    format!("{:?}: {}", status.code(), words::clean(&text))
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
