//! `livekit.AnalyticsRecorderService`: the streams on which a LiveKit server sends events and stats.
//! Upstream's protobufs/rpc/analytics.proto defines the service; livekit-protocol has only its
//! messages, so the three methods are routed here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::codegen::Service;

use super::budget::Budget;
use super::connections::Use;
use super::messages::{Fault, Message, Messages, Reading, acknowledged, messages};
use super::refusals::{Refusals, Sender, advice};
use super::tasks::stopped;
use super::{OpenStreams, Shared, accepted, parse};
use livekit_otel_durable::journal::{Full, Pending};
use livekit_otel_ledger::Refused;
use livekit_otel_livekit as livekit;
use livekit_otel_livekit::token;
use livekit_otel_model::Source;

// At shutdown, all that a sender has sent is read once it is quiet for this time.
const QUIET: Duration = Duration::from_millis(100);
// The limit for a sender that is never quiet, as delivery needs time too.
const DRAIN: Duration = Duration::from_secs(1);

// Reading of a stream pauses at more unconfirmed messages.
const MAX_UNCONFIRMED: usize = 256;

// Messages of a stream that may not be in the journal yet.
type Unconfirmed = VecDeque<Pending>;

/// The service.
#[derive(Debug, Clone)]
pub struct AnalyticsRecorder {
    shared: Shared,
    open: OpenStreams,
    stop: watch::Receiver<bool>,
    budget: Budget,
    max_message: usize,
    needs_token: bool,
    refusals: Arc<Refusals>,
}

impl AnalyticsRecorder {
    /// `stop` ends the open streams, once what was sent on them is in the journal.
    pub(super) fn new(
        shared: Shared,
        open: OpenStreams,
        stop: watch::Receiver<bool>,
        (budget, max_message): (Budget, usize),
        needs_token: bool,
    ) -> Self {
        let refusals = Arc::new(Refusals::new(&shared.ledger));
        Self { shared, open, stop, budget, max_message, needs_token, refusals }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<axum::body::Body>> for AnalyticsRecorder {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let path = request.uri().path();
        let source = Source::ALL.into_iter().find(|source| livekit::method(*source) == Some(path));
        let sender = Sender::of(request.extensions());
        let Some(source) = source else {
            let response = self.not_served(&request, &sender.asking(path));
            return Box::pin(async move { Ok(response) });
        };
        if let Err(refused) = self.authenticate(source, request.headers(), &sender) {
            let refused = refused.into_http();
            return Box::pin(async move { Ok(refused) });
        }
        let (head, body) = request.into_parts();
        let messages = messages(&head.headers, body, self.reading(&head.extensions));
        let recorder = self.clone();
        let origin = Origin { source, sender };
        Box::pin(async move {
            let ended = async {
                let messages = messages.inspect_err(|status| {
                    recorder.refuse(&origin, Refused::Malformed, status.message());
                })?;
                recorder.ingest(&origin, messages).await
            };
            Ok(ended.await.map_or_else(|status: Status| status.into_http(), |()| acknowledged()))
        })
    }
}

// Where a stream comes from.
#[derive(Debug)]
struct Origin {
    source: Source,
    sender: Sender,
}

impl AnalyticsRecorder {
    fn reading(&self, of: &http::Extensions) -> Reading {
        let used = of.get::<Arc<Use>>().cloned();
        let budget = self.budget.clone();
        let share = used.as_ref().map_or_else(|| budget.share(), |used| used.share(&budget));
        Reading { budget, share, used, max: self.max_message }
    }

    // A request over HTTP that is not gRPC must not get 200, which is the status of every answer of gRPC.
    fn not_served(
        &self,
        request: &http::Request<axum::body::Body>,
        sender: &Sender,
    ) -> http::Response<tonic::body::Body> {
        let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            let refusal = (Source::Events, Refused::WrongPath, advice::WRONG_SERVICE);
            self.refusals.note(refusal, sender);
            return Status::unimplemented("no such method").into_http();
        }
        if request.method() == Method::POST {
            self.refusals.note((Source::Events, Refused::WrongPath, advice::NOT_GRPC), sender);
        } else {
            self.refusals.count(Source::Events, Refused::WrongPath);
        }
        let mut response = http::Response::new(tonic::body::Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        response
    }

    fn refuse(&self, origin: &Origin, why: Refused, text: &str) {
        self.refusals.note((origin.source, why, text), &origin.sender);
    }

    // The log has the reason of a refusal; the sender does not get it.
    fn authenticate(
        &self,
        source: Source,
        headers: &http::HeaderMap,
        sender: &Sender,
    ) -> Result<(), Status> {
        if !self.needs_token {
            return Ok(());
        }
        let keys = self.shared.keys.now();
        token::streams(headers, &keys, SystemTime::now()).map_err(|rule| {
            self.refusals.token(source, rule, &sender.clone().named(headers, &keys));
            Status::unauthenticated("a server's access token is needed")
        })
    }

    // Reads until the sender closes the stream, a message can't be read, or the program stops.
    async fn ingest(&self, origin: &Origin, mut stream: Messages) -> Result<(), Status> {
        let _open = (origin.source == Source::Events).then(|| self.open.open());
        let mut stopped = pin!(stopped(self.stop.clone()));
        let mut unconfirmed = Unconfirmed::new();
        loop {
            let message = tokio::select! {
                biased;
                () = &mut stopped => return self.drain(origin, stream, unconfirmed).await,
                confirmed = self.confirm_one(origin, &mut unconfirmed) => {
                    confirmed?;
                    continue;
                }
                message = stream.next() => message,
            };
            match self.received(origin, message)? {
                Some(message) => self.accept(origin, message, &mut unconfirmed).await?,
                None => return self.confirm(origin, unconfirmed).await,
            }
        }
    }

    // At shutdown, reads what was sent. A stream that its sender has not closed is not acknowledged, as
    // more may be on the way.
    async fn drain(
        &self,
        origin: &Origin,
        mut stream: Messages,
        mut unconfirmed: Unconfirmed,
    ) -> Result<(), Status> {
        let deadline = Instant::now() + DRAIN;
        while Instant::now() < deadline {
            let Ok(message) = tokio::time::timeout(QUIET, stream.next()).await else { break };
            match self.received(origin, message)? {
                Some(message) => self.accept(origin, message, &mut unconfirmed).await?,
                None => return self.confirm(origin, unconfirmed).await,
            }
        }
        self.confirm(origin, unconfirmed).await?;
        Err(Status::unavailable("stopping"))
    }

    // `None` once the sender has closed the stream.
    fn received(
        &self,
        origin: &Origin,
        message: Option<Result<Message, Fault>>,
    ) -> Result<Option<Message>, Status> {
        message.transpose().map_err(|fault| {
            if let Some(why) = fault.refused() {
                self.refuse(origin, why, &fault.text("limits.analytics_message"));
            }
            fault.into()
        })
    }

    async fn accept(
        &self,
        origin: &Origin,
        message: Message,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(), Status> {
        let Message { bytes, lease } = message;
        let read = parse(origin.source, &bytes).map_err(|unreadable| {
            let text = unreadable.to_string();
            self.refuse(origin, Refused::Malformed, &text);
            Status::invalid_argument(text)
        })?;
        let input = accepted(origin.source, Some(read), bytes, true);
        let pending = self.shared.journal.append(input).await;
        let pending = pending.map_err(|full| self.busy(origin, &full))?;
        // The journal's budget has the message now.
        drop(lease);
        unconfirmed.push_back(pending);
        while unconfirmed.len() > MAX_UNCONFIRMED {
            self.confirm_one(origin, unconfirmed).await?;
        }
        Ok(())
    }

    // Waits until all messages of a stream are in the journal.
    async fn confirm(&self, origin: &Origin, mut unconfirmed: Unconfirmed) -> Result<(), Status> {
        while !unconfirmed.is_empty() {
            self.confirm_one(origin, &mut unconfirmed).await?;
        }
        Ok(())
    }

    // Waits until the first message is in the journal. A dropped call loses nothing.
    async fn confirm_one(
        &self,
        origin: &Origin,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(), Status> {
        let Some(pending) = unconfirmed.front_mut() else { return pending().await };
        pending.durable().await.map_err(|full| self.busy(origin, &full))?;
        unconfirmed.pop_front();
        Ok(())
    }

    fn busy(&self, origin: &Origin, full: &Full) -> Status {
        let text = full.to_string();
        self.refuse(origin, Refused::Busy, &text);
        Status::unavailable(text)
    }
}
