//! A replayed stream of analytics messages. A server acknowledges a stream only at its end, so one stream
//! follows another, and what a stream that failed has sent is sent again on the next one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use livekit_otel_transport::client::GrpcChannel;
use livekit_token::AccessTokenError;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::destination::{Destination, Failure, Notices, Patience};
use livekit_otel_livekit::token;
use livekit_otel_model::printable::visible;
use livekit_otel_transport::frames::RawCodec;
use livekit_otel_transport::frames::status::ByStatus;
use livekit_otel_transport::hint::{Attempt, Protocol};

// A stream ends after so many messages, or after this time if it has sent any. A stream without messages
// stays open: while there is one, the server expects the event of each webhook.
const MESSAGES: usize = 512;
const LASTS: Duration = Duration::from_secs(10);
// How long to wait for the answer to a stream that has ended.
const ANSWER: Duration = Duration::from_secs(30);
// Of a status's message, in characters.
const SHOWN: usize = 200;
// Messages that wait for the stream.
const WAITING: usize = 64;

/// Why messages on a stream were not acknowledged.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The key or the secret is empty.
    #[error("the token of a stream can't be signed: {0}")]
    Sign(#[from] AccessTokenError),
    /// The server answered with an error.
    #[error("{to} answered the {stream} stream with {code:?}{}{message}", if message.is_empty() { "" } else { ": " })]
    Answered {
        /// The server.
        to: Attempt,
        /// The kind of its lines.
        stream: &'static str,
        /// The gRPC status code.
        code: Code,
        /// The message of the status, safe to show.
        message: String,
    },
    /// The connection broke, or what answered does not speak gRPC.
    #[error("{to}: the {stream} stream failed: {why}")]
    Broken {
        /// The server.
        to: Attempt,
        /// The kind of its lines.
        stream: &'static str,
        /// Why, and what to do.
        why: Failure,
    },
    /// The server ended the stream early, so messages that it did not read are lost.
    #[error("{to} ended the {stream} stream before all was sent")]
    Ended {
        /// The server.
        to: Attempt,
        /// The kind of its lines.
        stream: &'static str,
    },
}

impl StreamError {
    /// That of a stream which ended with `status`.
    pub(crate) fn of(status: &Status, to: Attempt, stream: &'static str) -> Self {
        match std::error::Error::source(status) {
            Some(source) => {
                let why = Failure::of(source, &to);
                Self::Broken { to, stream, why }
            }
            None => {
                let message = visible(status.message()).chars().take(SHOWN).collect();
                Self::Answered { to, stream, code: status.code(), message }
            }
        }
    }

    // The same messages would be refused again.
    fn is_for_good(&self) -> bool {
        match self {
            Self::Sign(_) => true,
            Self::Answered { code, .. } => matches!(
                code,
                Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::Unimplemented
                    | Code::InvalidArgument
                    | Code::OutOfRange
            ),
            Self::Broken { why, .. } => why.is_for_good(),
            Self::Ended { .. } => false,
        }
    }
}

/// The messages of one kind, sent in their order until each is acknowledged.
pub(crate) struct Stream {
    messages: mpsc::Sender<Bytes>,
    counts: Arc<Counts>,
    task: JoinHandle<Result<(), StreamError>>,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    resent: AtomicU64,
}

impl Stream {
    /// Opens the first stream of `kind` at once.
    pub(crate) fn open(
        kind: &'static str,
        path: &'static str,
        channel: GrpcChannel,
        to: &Destination,
    ) -> Self {
        let (messages, waiting) = mpsc::channel(WAITING);
        let counts = Arc::<Counts>::default();
        let worker = Worker {
            kind,
            path: PathAndQuery::from_static(path),
            channel,
            to: address(to),
            key: to.key.clone(),
            secret: to.secret.clone(),
            waiting,
            is_closed: false,
            unacknowledged: Vec::new(),
            counts: Arc::clone(&counts),
            patience: Patience::new(to.retry_for),
            notices: Notices::default(),
        };
        Self { messages, counts, task: tokio::spawn(worker.run()) }
    }

    /// Queues a message; an error is that of an earlier one.
    pub(crate) async fn send(&mut self, message: Bytes) -> Result<(), StreamError> {
        match self.messages.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => ended(&mut self.task).await,
        }
    }

    /// Waits until everything is acknowledged.
    pub(crate) async fn close(&mut self) -> Result<(), StreamError> {
        // Replaced by a closed one, so that the worker ends.
        self.messages = mpsc::channel(1).0;
        ended(&mut self.task).await
    }

    /// How many messages were acknowledged, and how many were sent again.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts.acknowledged.load(Relaxed), self.counts.resent.load(Relaxed))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where streams go.
pub(crate) fn address(to: &Destination) -> Attempt {
    Attempt::new(&to.analytics, Protocol::Grpc)
}

async fn ended(task: &mut JoinHandle<Result<(), StreamError>>) -> Result<(), StreamError> {
    // A worker that panicked has acknowledged nothing more, which the counts show.
    task.await.unwrap_or(Ok(()))
}

struct Worker {
    kind: &'static str,
    path: PathAndQuery,
    channel: GrpcChannel,
    to: Attempt,
    key: String,
    secret: String,
    waiting: mpsc::Receiver<Bytes>,
    is_closed: bool,
    // In their order; those that a stream has sent first.
    unacknowledged: Vec<Bytes>,
    counts: Arc<Counts>,
    patience: Patience,
    notices: Notices,
}

impl Worker {
    async fn run(mut self) -> Result<(), StreamError> {
        loop {
            let began = Instant::now();
            let (sent, answer) = self.stream().await;
            match answer {
                Ok(()) => {
                    self.unacknowledged.drain(..sent);
                    self.counts.acknowledged.fetch_add(sent as u64, Relaxed);
                    self.patience.recovered();
                    if self.is_closed && self.unacknowledged.is_empty() {
                        return Ok(());
                    }
                }
                // The last one was empty.
                Err(_) if self.is_closed && self.unacknowledged.is_empty() => return Ok(()),
                Err(error) => {
                    // It was open, and had nothing to be acknowledged.
                    if sent == 0 && began.elapsed() >= LASTS {
                        self.patience.recovered();
                    }
                    let pause = self.patience.pause(None).filter(|_| !error.is_for_good());
                    let Some(pause) = pause else { return Err(error) };
                    self.notices.note(&self.to, &error.to_string());
                    self.counts.resent.fetch_add(sent as u64, Relaxed);
                    sleep(pause).await;
                }
            }
        }
    }

    // Sends what is not acknowledged and then what comes, ends the stream and waits for its answer. Returns
    // how many were sent.
    async fn stream(&mut self) -> (usize, Result<(), StreamError>) {
        let (outgoing, body) = mpsc::channel(WAITING);
        let request = match self.request(body) {
            Ok(request) => request,
            Err(error) => return (0, Err(error.into())),
        };
        let mut answer = pin!(answer(self.channel.clone(), self.path.clone(), request));
        let ends = Instant::now() + LASTS;
        let mut sent = 0;
        while sent < MESSAGES {
            if sent == self.unacknowledged.len() {
                tokio::select! {
                    early = &mut answer => return (sent, Err(self.too_early(early))),
                    message = self.waiting.recv() => match message {
                        Some(message) => self.unacknowledged.push(message),
                        None => {
                            self.is_closed = true;
                            break;
                        }
                    },
                    () = sleep_until(ends), if sent > 0 => break,
                }
            }
            tokio::select! {
                early = &mut answer => return (sent, Err(self.too_early(early))),
                taken = outgoing.send(self.unacknowledged[sent].clone()) => {
                    if taken.is_err() {
                        return (sent, Err(self.too_early(answer.await)));
                    }
                    sent += 1;
                }
            }
        }
        drop(outgoing);
        let answer = timeout(ANSWER, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in 30 s")));
        (sent, answer.map_err(|status| self.failed(&status)))
    }

    fn request(
        &self,
        body: mpsc::Receiver<Bytes>,
    ) -> Result<Request<ReceiverStream<Bytes>>, AccessTokenError> {
        let mut request = Request::new(ReceiverStream::new(body));
        if !self.key.is_empty() {
            let token = format!("Bearer {}", token::mint(&self.key, &self.secret)?);
            // A JWT has only characters that a header may have.
            let token = token.parse().map_err(|_| AccessTokenError::InvalidKeys)?;
            request.metadata_mut().insert("authorization", token);
        }
        Ok(request)
    }

    // An answer before the end does not say what was read, not even a success.
    fn too_early(&self, answer: Result<(), Status>) -> StreamError {
        match answer {
            Ok(()) => StreamError::Ended { to: self.to.clone(), stream: self.kind },
            Err(status) => self.failed(&status),
        }
    }

    fn failed(&self, status: &Status) -> StreamError {
        StreamError::of(status, self.to.clone(), self.kind)
    }
}

async fn answer(
    channel: GrpcChannel,
    path: PathAndQuery,
    request: Request<ReceiverStream<Bytes>>,
) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(ByStatus(channel));
    grpc.ready().await.map_err(Status::from_error)?;
    grpc.client_streaming(request, path, RawCodec).await.map(|_| ())
}
