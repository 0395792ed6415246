//! Posts webhooks, signed, as a LiveKit server does.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;

use livekit_otel_livekit::token::sign;

// As LiveKit's sender: 4 retries, which obey Retry-After.
const RETRIES: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why a webhook was not taken.
#[derive(Debug, Error)]
pub(crate) enum PostError {
    #[error("the webhooks can't be signed: {0}")]
    Sign(#[from] livekit_token::AccessTokenError),
    #[error("a webhook was answered {0}")]
    Refused(StatusCode),
    #[error("a webhook could not be sent: {0}")]
    Unreachable(String),
}

/// Where they go, over connections that are kept.
pub(crate) struct Webhooks {
    client: Client<HttpConnector, Full<Bytes>>,
    to: Uri,
    key: String,
    secret: String,
}

impl Webhooks {
    pub(crate) fn new(to: Uri, key: &str, secret: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, to, key: key.to_owned(), secret: secret.to_owned() }
    }

    /// Returns once it is acknowledged; `again` is called before each retry.
    pub(crate) async fn send(&self, body: Bytes, mut again: impl FnMut()) -> Result<(), PostError> {
        let token = sign(&body, &self.key, &self.secret)?;
        for attempt in 0..=RETRIES {
            let request = Request::post(&self.to)
                .header(AUTHORIZATION, &token)
                .header(CONTENT_TYPE, "application/webhook+json")
                .body(Full::new(body.clone()))
                .map_err(|error| PostError::Unreachable(error.to_string()))?;
            let answer = self.client.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error);
                PostError::Unreachable(cause.map_or_else(|| error.to_string(), ToString::to_string))
            })?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            if status != StatusCode::SERVICE_UNAVAILABLE || attempt == RETRIES {
                return Err(PostError::Refused(status));
            }
            let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let after = after.and_then(|after| after.parse().ok()).map_or(1, |after: u64| after);
            again();
            tokio::time::sleep(Duration::from_secs(after).min(LONGEST_WAIT)).await;
        }
        Ok(())
    }
}
