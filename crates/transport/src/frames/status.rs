//! Answers to unary calls and client streams, judged by their status alone. tonic reads the message before
//! the status, and fails if it can't read the message.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use thiserror::Error;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::words;

// Longer messages are discarded: those of answers are a few bytes.
const MAX_MESSAGE: usize = 64 * 1024;
const FRAME_HEAD: usize = 5;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// The most bytes of headers or trailers that a channel should accept: the status is in them, with an error
/// text of any length.
pub const MAX_HEADERS: u32 = 8 << 20;

/// Why an answer has no status.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoStatus {
    /// The answer is not from a gRPC server.
    #[error("the answer is {content_type} with HTTP status {status}, which is not gRPC")]
    NotGrpc {
        /// The HTTP status.
        status: StatusCode,
        /// The beginning of the content type.
        content_type: String,
    },
    /// The stream ended before its status.
    #[error("the answer ended before its status")]
    Incomplete,
}

/// A channel that returns the status of an answer unchanged, and its first message. The message is empty if
/// it is too long or can't be read.
#[derive(Debug, Clone)]
pub struct ByStatus<S>(pub S);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answering = dyn Future<Output = Result<Response<Body>, BoxError>> + Send;

impl<S> Service<Request<Body>> for ByStatus<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<Answering>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move { read(answering.await.map_err(Into::into)?).await })
    }
}

async fn read(answer: Response<Body>) -> Result<Response<Body>, BoxError> {
    let (mut head, mut body) = answer.into_parts();
    let mut first = BytesMut::new();
    let mut status = head.headers.contains_key(GRPC_STATUS).then(|| head.headers.clone());
    if status.is_none() && !is_grpc(head.status, &head.headers) {
        return Err(of_http(head.status, &head.headers, body).await);
    }
    // The status comes last, so this reads to the end. Only the caller's timeout bounds it.
    while status.is_none() {
        match body.frame().await.transpose()?.map(Frame::into_data) {
            Some(Ok(data)) => buffer(&mut first, &data),
            Some(Err(frame)) => status = frame.into_trailers().ok(),
            None => break,
        }
    }
    let mut status =
        status.filter(|status| status.contains_key(GRPC_STATUS)).ok_or(NoStatus::Incomplete)?;
    remove_unreadable_details(&mut status);
    // The status is in the trailers only.
    head.status = StatusCode::OK;
    head.headers.clear();
    let frames = [Ok::<_, Status>(Frame::data(message(first))), Ok(Frame::trailers(status))];
    Ok(Response::from_parts(head, Body::new(StreamBody::new(stream::iter(frames)))))
}

// One byte more than the longest message shows that a message is longer.
fn buffer(first: &mut BytesMut, data: &Bytes) {
    let free = FRAME_HEAD + MAX_MESSAGE + 1 - first.len();
    first.put_slice(&data[..data.len().min(free)]);
}

// The frame of the first message, or of an empty one if that is compressed, too long or incomplete.
fn message(mut first: BytesMut) -> Bytes {
    let mut frame = BytesMut::zeroed(FRAME_HEAD);
    if first.len() >= FRAME_HEAD && first.len() <= FRAME_HEAD + MAX_MESSAGE {
        let (flag, length) = (first.get_u8(), first.get_u32());
        if let (0, Some(message)) = (flag, first.get(..length as usize)) {
            frame.clear();
            frame.put_u8(flag);
            frame.put_u32(length);
            frame.put_slice(message);
        }
    }
    frame.freeze()
}

fn is_grpc(status: StatusCode, headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    status == StatusCode::OK
        && content_type.is_some_and(|text| text.starts_with(b"application/grpc"))
}

// The status of an answer without one (gRPC, "HTTP to gRPC Status Code Mapping"). A redirect or a web page
// is not an answer to the call.
async fn of_http(status: StatusCode, headers: &HeaderMap, body: Body) -> BoxError {
    let code = match status.as_u16() {
        100..=399 => {
            return NoStatus::NotGrpc { status, content_type: content_type(headers) }.into();
        }
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    let mut message = format!("HTTP status {status}");
    // Whole, so that the caller can mask what is secret.
    let words = words::whole(headers, &beginning(body).await);
    if !words.is_empty() {
        message.extend([": ", &words]);
    }
    Status::new(code, message).into()
}

const LONGEST_BEGINNING: usize = 4 * 1024;
const BEGINNING_WITHIN: Duration = Duration::from_secs(1);

// What arrives of the body soon: servers and proxies say there why they refuse a call.
async fn beginning(mut body: Body) -> BytesMut {
    let mut beginning = BytesMut::new();
    let reading = async {
        while beginning.len() < LONGEST_BEGINNING
            && let Some(Ok(frame)) = body.frame().await
        {
            beginning.put(frame.into_data().unwrap_or_default());
        }
    };
    // The status has arrived, and decides without the words too.
    let _ = tokio::time::timeout(BEGINNING_WITHIN, reading).await;
    beginning.truncate(LONGEST_BEGINNING);
    beginning
}

const LONGEST_CONTENT_TYPE: usize = 80;

/// The content type of an answer, for the log.
pub fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    text.unwrap_or("of no content type").chars().take(LONGEST_CONTENT_TYPE).collect()
}

// tonic panics if they are not base64.
fn remove_unreadable_details(status: &mut HeaderMap) {
    let metadata = MetadataMap::from_headers(std::mem::take(status));
    let is_readable =
        metadata.get_bin(GRPC_DETAILS).is_none_or(|details| details.to_bytes().is_ok());
    *status = metadata.into_headers();
    if !is_readable {
        status.remove(GRPC_DETAILS);
    }
}
