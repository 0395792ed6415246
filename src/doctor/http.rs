//! Requests of the checks, without retries.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};

use livekit_otel_transport::client::{RequestError, Routed};
use livekit_otel_transport::date;

// A status with a refusal of each reason and source has 100 KiB.
const MAX_ANSWER: usize = 1 << 20;

/// An answer.
pub(super) struct Got {
    pub(super) status: StatusCode,
    /// Empty if it is too long or incomplete.
    pub(super) body: Bytes,
    /// The `Date` header.
    pub(super) date: Option<SystemTime>,
    /// When the request was sent.
    pub(super) sent: SystemTime,
    /// From then until the head of the answer.
    pub(super) took: Duration,
}

/// Sends a GET request.
pub(super) async fn get(client: &Routed, uri: &Uri) -> Result<Got, RequestError> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.clone();
    let (sent, began) = (SystemTime::now(), Instant::now());
    let (head, body) = client.request(request).await?.into_parts();
    let took = began.elapsed();
    let date = date(&head.headers);
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(Got { status: head.status, body, date, sent, took })
}
