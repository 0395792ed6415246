//! One request to a server, with a time limit.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use livekit_otel_transport::client;

/// For the head of an answer, and for its body.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("no answer in time")]
    Timeout,
    #[error("the request failed")]
    Failed(#[source] hyper_util::client::legacy::Error),
}

/// Returns the head of the answer; its body may still be on the way.
pub(super) async fn request(
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, RequestError> {
    let answer = tokio::time::timeout(TIMEOUT, client::plain().request(request)).await;
    answer.map_err(|_| RequestError::Timeout)?.map_err(RequestError::Failed)
}
