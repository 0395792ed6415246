//! One stream after the other: opened when there is something to send, ended after an interval,
//! and what it did not acknowledge sent again on the next.

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

// How a stream ended: how many were sent on it, and the answer.
struct Ended {
    sent: usize,
    answer: Result<(), Status>,
}

impl Streams {
    /// Until the lane is closed and empty.
    pub(super) async fn run(self, lane: Arc<Lane>) {
        let mut pause = FIRST_PAUSE;
        let mut is_failing = false;
        // So many are sent one a stream, to find the one that the receiver can't take.
        let mut suspects = 0_usize;
        loop {
            if lane.get(0).is_none() {
                if lane.is_closed() {
                    return;
                }
                lane.changed().await;
                continue;
            }
            let metadata = match self.metadata() {
                Ok(metadata) => metadata,
                Err(error) => {
                    lane.retry(0, Code::Unauthenticated);
                    if !std::mem::replace(&mut is_failing, true) {
                        let (kind, cause) = (self.kind, error.source().map(ToString::to_string));
                        tracing::warn!(kind, %error, cause, "no token for the analytics: retrying");
                    }
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            let most = if suspects > 0 { 1 } else { self.max_messages };
            let Ended { sent, answer } = self.stream(&lane, most, metadata).await;
            if let Err(status) = &answer {
                lane.retry(sent, status.code());
            }
            match answer {
                Ok(()) => {
                    lane.acknowledge(sent);
                    suspects = suspects.saturating_sub(sent);
                    pause = FIRST_PAUSE;
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(kind = self.kind, "the analytics receiver is back");
                    }
                }
                Err(status) if is_too_large(&status) && sent == 1 => {
                    lane.drop_first();
                    suspects = suspects.saturating_sub(1);
                    tracing::warn!(kind = self.kind, "dropped a message that is too large");
                }
                Err(status) if is_too_large(&status) && sent > 1 => suspects = sent,
                Err(status) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        let (kind, code) = (self.kind, status.code());
                        tracing::warn!(kind, ?code, "the analytics receiver is away: retrying");
                    }
                    if is_hopeless(&status) {
                        pause = LONGEST_PAUSE;
                    }
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    // Of the next stream.
    fn metadata(&self) -> Result<MetadataMap, TokenError> {
        let mut headers = http::HeaderMap::new();
        if let Some(tokens) = &self.tokens {
            headers.insert(http::header::AUTHORIZATION, tokens.next()?);
        }
        Ok(MetadataMap::from_headers(headers))
    }

    // Sends up to `most`, ends the stream and waits for its answer.
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

// An answer before the end says nothing of what was read: all is sent again.
fn too_early(answer: Result<(), Status>) -> Status {
    answer.err().unwrap_or_else(|| Status::unavailable("ended by the receiver"))
}

// As tonic's and Go's servers answer.
fn is_too_large(status: &Status) -> bool {
    match status.code() {
        Code::OutOfRange => true,
        Code::ResourceExhausted => status.message().contains("larger than max"),
        _ => false,
    }
}

// What the receiver's operator has to mend.
fn is_hopeless(status: &Status) -> bool {
    let code = status.code();
    matches!(code, Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied)
}
