//! `livekit.AnalyticsRecorderService`: the streams on which a LiveKit server tells its events and
//! stats. Upstream's protobufs/rpc/analytics.proto has the service; livekit-protocol has only its
//! messages, so the three methods are routed here.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::codegen::{Service, StdError, http};
use tonic::server::{ClientStreamingService, Grpc};
use tonic::{Code, Request, Response, Status, Streaming};

use super::tasks::stopped;
use super::{OpenStreams, Shared, accepted, split};
use crate::frames::RawCodec;
use crate::ledger::{Refused, Source};
use crate::proto;

// A sender that never closes its streams is quiet for this long: what it had sent is read.
const QUIET: Duration = Duration::from_millis(100);
// One that is never quiet is not waited for any longer: the time to deliver is needed too.
const DRAIN: Duration = Duration::from_secs(1);

/// The path of a source's method; webhooks have none.
pub(crate) fn method(source: Source) -> Option<&'static str> {
    match source {
        Source::Stats => Some("/livekit.AnalyticsRecorderService/IngestStats"),
        Source::Events => Some("/livekit.AnalyticsRecorderService/IngestEvents"),
        Source::NodeRooms => Some("/livekit.AnalyticsRecorderService/IngestNodeRoomStates"),
        Source::Webhook => None,
    }
}

/// The service.
#[derive(Debug, Clone)]
pub struct AnalyticsRecorder {
    shared: Shared,
    open: OpenStreams,
    stop: watch::Receiver<bool>,
    max_message: usize,
}

impl AnalyticsRecorder {
    /// `stop` turning true ends the open streams: what was read of them is acknowledged.
    pub(super) fn new(
        shared: Shared,
        open: OpenStreams,
        stop: watch::Receiver<bool>,
        max_message: usize,
    ) -> Self {
        Self { shared, open, stop, max_message }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<B> Service<http::Request<B>> for AnalyticsRecorder
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        let source = Source::ALL.into_iter().find(|source| method(*source) == Some(path));
        let Some(source) = source else {
            let unimplemented = Status::unimplemented("no such method").into_http();
            return Box::pin(async move { Ok(unimplemented) });
        };
        let ingest = Ingest { recorder: self.clone(), source };
        let mut compression = EnabledCompressionEncodings::default();
        compression.enable(CompressionEncoding::Gzip);
        let mut grpc = Grpc::new(RawCodec)
            .apply_compression_config(compression, EnabledCompressionEncodings::default())
            .apply_max_message_size_config(Some(self.max_message), None);
        Box::pin(async move { Ok(grpc.client_streaming(ingest, request).await) })
    }
}

// One open stream.
struct Ingest {
    recorder: AnalyticsRecorder,
    source: Source,
}

impl ClientStreamingService<Bytes> for Ingest {
    type Response = Bytes;
    type Future = Boxed<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let recorder = self.recorder.clone();
        let source = self.source;
        Box::pin(async move {
            recorder.ingest(source, request.into_inner()).await?;
            Ok(Response::new(Bytes::new()))
        })
    }
}

impl AnalyticsRecorder {
    // Until the sender closes the stream, sends what can't be read, or the program stops.
    async fn ingest(self, source: Source, mut stream: Streaming<Bytes>) -> Result<(), Status> {
        let _open = (source == Source::Events).then(|| self.open.open());
        let mut stopped = pin!(stopped(self.stop.clone()));
        loop {
            let message = tokio::select! {
                biased;
                () = &mut stopped => return self.drain(source, stream).await,
                message = stream.message() => message,
            };
            match self.received(source, message)? {
                Some(message) => self.accept(source, &message).await?,
                None => return Ok(()),
            }
        }
    }

    // Reads what the sender had sent when the program was stopped: the answer acknowledges that.
    async fn drain(&self, source: Source, mut stream: Streaming<Bytes>) -> Result<(), Status> {
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            let Ok(message) = tokio::time::timeout(QUIET, stream.message()).await else {
                return Ok(());
            };
            match self.received(source, message)? {
                Some(message) => self.accept(source, &message).await?,
                None => return Ok(()),
            }
        }
        // There is more, and it is not acknowledged: the sender sends it again.
        Err(Status::unavailable("stopping"))
    }

    // `None` where the sender has closed the stream.
    fn received(
        &self,
        source: Source,
        message: Result<Option<Bytes>, Status>,
    ) -> Result<Option<Bytes>, Status> {
        message.inspect_err(|status| match status.code() {
            // What tonic says of a message over its limit.
            Code::OutOfRange | Code::ResourceExhausted => {
                self.shared.ledger.refused(source, Refused::TooLarge);
            }
            // What it says of a wrong frame, of one that broke off, and of wrong gzip.
            Code::Internal => self.shared.ledger.refused(source, Refused::Malformed),
            // Its sender is gone.
            _ => {}
        })
    }

    async fn accept(&self, source: Source, message: &[u8]) -> Result<(), Status> {
        let read = match source {
            Source::Stats => proto::stats(message),
            Source::Events => proto::events(message),
            Source::NodeRooms | Source::Webhook => proto::node_rooms(message),
        };
        let read = read.map_err(|unreadable| {
            self.shared.ledger.refused(source, Refused::Malformed);
            Status::invalid_argument(unreadable.to_string())
        })?;
        let (telling, items, counted) = split(read);
        let input = accepted(source, telling, items, message.len(), true);
        let journal = self.shared.journal.append(input);
        journal.await.map_err(|full| {
            self.shared.ledger.refused(source, Refused::Busy);
            Status::unavailable(full.to_string())
        })?;
        self.shared.count(source, items, &counted);
        Ok(())
    }
}
