//! Reads the messages of a gRPC stream (gRPC over HTTP/2, "Length-Prefixed-Message") once there is
//! memory for them. Until then, HTTP/2's windows hold the sender back.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::{self, try_unfold};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use thiserror::Error;
use tokio::time::timeout;
use tonic::Status;

use super::budget::{Budget, Lease, Share};
use super::connections::Use;
use super::encoding::Encoding;
use super::refusals::advice;
use livekit_otel_ledger::Refused;
use livekit_otel_transport::chain;

/// Time limit for the head of a message, and for its body once memory is reserved.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

const ENCODING: &str = "grpc-encoding";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
// A flag for compression, and the length.
const HEAD: usize = 5;

/// Why the rest of a stream can't be read.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// The length of a message is above the limit.
    #[error("a message of {size} bytes exceeds the limit of {max}")]
    TooLarge { size: usize, max: usize },
    /// The bytes are not a message.
    #[error("{0}")]
    Malformed(&'static str),
    /// A message did not arrive within its time limit.
    #[error("a message took longer than {} s", MESSAGE_TIMEOUT.as_secs())]
    Slow,
    /// A message did not arrive while others waited for its memory.
    #[error("a message did not arrive while others waited for its memory")]
    Displaced,
    /// The sender is gone.
    #[error("the stream broke off")]
    Gone(#[source] axum::Error),
}

impl Fault {
    /// The reason that the ledger counts; none if the sender is gone.
    pub(super) fn refused(&self) -> Option<Refused> {
        match self {
            Self::TooLarge { .. } => Some(Refused::TooLarge),
            Self::Malformed(_) | Self::Slow => Some(Refused::Malformed),
            Self::Displaced => Some(Refused::Busy),
            Self::Gone(_) => None,
        }
    }

    /// What an operator reads; `setting` is that of the largest message.
    pub(super) fn text(&self, setting: &str) -> String {
        match self {
            Self::TooLarge { size, max } => advice::too_large(*size as u64, *max as u64, setting),
            Self::Displaced => advice::DISPLACED.to_owned(),
            fault => chain(fault),
        }
    }
}

// A sender drops messages answered with out of range or internal, and sends all others again.
impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let what = chain(&fault);
        match fault {
            Fault::TooLarge { .. } => Self::out_of_range(what),
            Fault::Malformed(_) => Self::internal(what),
            Fault::Slow => Self::deadline_exceeded(what),
            Fault::Displaced => Self::unavailable(what),
            Fault::Gone(_) => Self::cancelled(what),
        }
    }
}

/// A message, and its memory, which is reserved until the journal has the message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    pub(super) lease: Lease,
}

/// How the messages of a stream are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) budget: Budget,
    pub(super) share: Share,
    /// Of the stream's connection.
    pub(super) used: Option<Arc<Use>>,
    /// Largest message, in bytes.
    pub(super) max: usize,
}

/// Messages as they arrive. A dropped call of `next` loses nothing.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<Message, Fault>> + Send>>;

/// Returns the messages of a body, one after the other.
///
/// # Errors
/// If the body's compression is not supported.
pub(super) fn messages(
    headers: &HeaderMap,
    body: Body,
    reading: Reading,
) -> Result<Messages, Status> {
    let Some(encoding) = Encoding::of(headers.get(ENCODING)) else {
        let mut status = Status::unimplemented("only gzip, zstd and identity are supported");
        let known = tonic::metadata::MetadataValue::from_static("identity,gzip,zstd");
        status.metadata_mut().insert("grpc-accept-encoding", known);
        return Err(status);
    };
    let incoming = Incoming { body, part: Bytes::new(), encoding, reading };
    let next = |mut incoming: Incoming| async move {
        Ok(incoming.next().await?.map(|message| (message, incoming)))
    };
    Ok(Box::pin(try_unfold(incoming, next)))
}

/// The answer to a stream whose messages are all in the journal: an empty message and status 0.
pub(super) fn acknowledged() -> Response<tonic::body::Body> {
    answered(&[])
}

/// A response with one message and status 0.
pub(super) fn answered(message: &[u8]) -> Response<tonic::body::Body> {
    let mut framed = BytesMut::with_capacity(HEAD + message.len());
    framed.put_u8(0);
    // An answer is short.
    framed.put_u32(u32::try_from(message.len()).unwrap_or_default());
    framed.extend_from_slice(message);
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let frames = stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = Response::new(tonic::body::Body::new(StreamBody::new(frames)));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

impl Reading {
    fn checked(&self, size: usize) -> Result<usize, Fault> {
        let max = self.max;
        if size > max { Err(Fault::TooLarge { size, max }) } else { Ok(size) }
    }

    async fn reserve(&self, size: usize) -> Lease {
        self.budget.reserve(&self.share, size).await
    }

    async fn decompress(&self, compressed: Message, encoding: Encoding) -> Result<Message, Fault> {
        const BROKEN: Fault = Fault::Malformed("a message can't be decompressed");
        let Message { bytes, lease } = compressed;
        // A message without a size is decompressed twice.
        let size = encoding.stated_size(&bytes);
        let counted = || encoding.count(&bytes, self.max).ok();
        let size = self.checked(size.or_else(counted).ok_or(BROKEN)?)?;
        let reserved = tokio::select! {
            reserved = self.reserve(size) => reserved,
            () = lease.displaced() => return Err(Fault::Displaced),
        };
        let content = encoding.decompress(&bytes, size).map_err(|_| BROKEN)?;
        Ok(Message { bytes: content.into(), lease: reserved })
    }
}

struct Incoming {
    body: Body,
    // The rest of the newest part of the body.
    part: Bytes,
    encoding: Encoding,
    reading: Reading,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Message>, Fault> {
        // There is no time limit between messages.
        if !self.more().await? {
            return Ok(None);
        }
        let head = timeout(MESSAGE_TIMEOUT, self.fill(HEAD)).await;
        let mut head = head.map_err(|_| Fault::Slow)??;
        let is_compressed = match head.get_u8() {
            0 => false,
            1 if self.encoding != Encoding::Identity => true,
            1 => {
                return Err(Fault::Malformed(
                    "a compressed message on a stream without an encoding",
                ));
            }
            _ => return Err(Fault::Malformed("not a gRPC frame")),
        };
        let size = self.reading.checked(head.get_u32() as usize)?;
        let message = self.read(size).await?;
        let message = if is_compressed {
            self.reading.decompress(message, self.encoding).await?
        } else {
            message
        };
        message.lease.finished();
        Ok(Some(message))
    }

    async fn read(&mut self, size: usize) -> Result<Message, Fault> {
        let lease = self.reading.reserve(size).await;
        let bytes = tokio::select! {
            bytes = timeout(MESSAGE_TIMEOUT, self.fill(size)) => bytes.map_err(|_| Fault::Slow)??,
            () = lease.displaced() => return Err(Fault::Displaced),
        };
        Ok(Message { bytes, lease })
    }

    // Copies the next `size` bytes: a part of a body may keep more memory alive than its length.
    async fn fill(&mut self, size: usize) -> Result<Bytes, Fault> {
        let mut bytes = BytesMut::with_capacity(size);
        while bytes.len() < size {
            if !self.more().await? {
                return Err(Fault::Malformed("a message is incomplete"));
            }
            let missing = size - bytes.len();
            bytes.extend_from_slice(&self.part.split_to(missing.min(self.part.len())));
        }
        Ok(bytes.freeze())
    }

    // Waits until `part` is not empty; false at the end of the body.
    async fn more(&mut self) -> Result<bool, Fault> {
        while self.part.is_empty() {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            if let Some(used) = &self.reading.used {
                used.touch();
            }
            // Trailers are ignored.
            self.part = frame.map_err(Fault::Gone)?.into_data().unwrap_or_default();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::StreamExt;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tonic::Code;

    use super::*;

    const MAX: usize = 1000;

    type Sender = mpsc::UnboundedSender<Result<Bytes, Infallible>>;

    fn reading() -> Reading {
        let budget = Budget::new(4 * MAX, MAX);
        let share = budget.share();
        Reading { budget, share, used: None, max: MAX }
    }

    fn open(encoding: Option<&'static str>) -> (Sender, Messages) {
        let (sender, parts) = mpsc::unbounded_channel();
        let body = Body::from_stream(UnboundedReceiverStream::new(parts));
        let encoding = encoding.map(|name| (ENCODING.parse().unwrap(), name.parse().unwrap()));
        let headers: HeaderMap = encoding.into_iter().collect();
        (sender, messages(&headers, body, reading()).unwrap())
    }

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag], &length[..], message].concat()
    }

    fn gzipped(message: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(message).unwrap();
        gzip.finish().unwrap()
    }

    async fn fault(flag: u8, encoding: Option<&'static str>, message: &[u8]) -> Code {
        let (sender, mut messages) = open(encoding);
        sender.send(Ok(framed(flag, message).into())).unwrap();
        Status::from(messages.next().await.unwrap().unwrap_err()).code()
    }

    #[tokio::test]
    async fn messages_are_read_however_they_are_split() {
        let (one, other) = (b"one message".as_slice(), b"");
        let all = [framed(0, one), framed(0, other), framed(1, &gzipped(one))].concat();
        let unsized_zstd = zstd::stream::encode_all(one, 0).unwrap();
        let sized_zstd = zstd::bulk::compress(one, 0).unwrap();
        let zstd = [framed(1, &unsized_zstd), framed(0, other), framed(1, &sized_zstd)].concat();
        for (size, encoding) in [1, 3, 7, 1000].into_iter().flat_map(|n| [(n, "gzip"), (n, "zstd")])
        {
            let (sender, mut messages) = open(Some(encoding));
            let all = if encoding == "gzip" { &all } else { &zstd };
            for part in all.chunks(size) {
                sender.send(Ok(Bytes::copy_from_slice(part))).unwrap();
            }
            drop(sender);
            for expected in [one, other, one] {
                assert_eq!(messages.next().await.unwrap().unwrap().bytes, expected);
            }
            assert!(messages.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn invalid_messages_are_answered_with_the_status_that_senders_expect() {
        let large = vec![0; MAX + 1];
        assert_eq!(fault(0, None, &large).await, Code::OutOfRange);
        assert_eq!(fault(1, Some("gzip"), &gzipped(&large)).await, Code::OutOfRange);
        assert_eq!(fault(2, None, b"").await, Code::Internal);
        assert_eq!(fault(1, None, b"").await, Code::Internal);
        assert_eq!(fault(1, Some("gzip"), b"not valid gzip\0\0\0").await, Code::Internal);
        let (sender, mut messages) = open(None);
        sender.send(Ok(Bytes::from_static(b"\0\0\0\0\x05half"))).unwrap();
        drop(sender);
        let broken = messages.next().await.unwrap().unwrap_err();
        assert_eq!(Status::from(broken).code(), Code::Internal);
        let headers =
            HeaderMap::from_iter([(ENCODING.parse().unwrap(), "snappy".parse().unwrap())]);
        let unknown = super::messages(&headers, Body::empty(), reading()).err().unwrap();
        assert_eq!(unknown.code(), Code::Unimplemented);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_message_times_out() {
        for part in [b"\0\0".as_slice(), b"\0\0\0\0\x05half"] {
            let (sender, mut messages) = open(None);
            sender.send(Ok(Bytes::from_static(part))).unwrap();
            let slow = messages.next().await.unwrap().unwrap_err();
            assert_eq!(Status::from(slow).code(), Code::DeadlineExceeded);
        }
        // Between messages there is no time limit.
        let (_sender, mut messages) = open(None);
        assert!(timeout(MESSAGE_TIMEOUT * 2, messages.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_of_next_loses_nothing() {
        let (sender, mut messages) = open(None);
        for part in framed(0, b"one").chunks(2) {
            assert!(timeout(Duration::from_millis(1), messages.next()).await.is_err());
            sender.send(Ok(Bytes::copy_from_slice(part))).unwrap();
        }
        assert_eq!(messages.next().await.unwrap().unwrap().bytes, "one");
    }
}
