//! Sends webhooks to one server, with the retries of a LiveKit server.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use thiserror::Error;

use livekit_otel_livekit::post::{PostError, SignedWebhook};
use livekit_otel_transport::{chain, client};

// LiveKit's sender retries 4 times and obeys Retry-After.
const RETRIES: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
// A receiver under load answers 503 long before.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a webhook was not accepted.
#[derive(Debug, Error)]
pub(crate) enum WebhookError {
    #[error("the webhooks can't be signed: {0}")]
    Sign(#[from] livekit_token::AccessTokenError),
    #[error("a webhook was answered {0}")]
    Refused(StatusCode),
    #[error("a webhook could not be sent: {0}")]
    Unreachable(String),
}

/// The server's address and its API key. Connections are kept open.
pub(crate) struct Webhooks {
    client: Client<HttpConnector, Full<Bytes>>,
    to: Uri,
    key: String,
    secret: String,
}

impl Webhooks {
    pub(crate) fn new(to: Uri, key: &str, secret: &str) -> Self {
        Self { client: client::plain(), to, key: key.to_owned(), secret: secret.to_owned() }
    }

    /// Returns when the webhook is acknowledged. Calls `retrying` before each retry.
    pub(crate) async fn send(
        &self,
        body: Bytes,
        mut retrying: impl FnMut(),
    ) -> Result<(), WebhookError> {
        let signed = SignedWebhook::new(body, &self.key, &self.secret)?;
        let mut retries = RETRIES;
        loop {
            let wait = match signed.post(&self.client, &self.to, LIMIT).await {
                Ok(_) => return Ok(()),
                Err(PostError::Refused { status, retry_after })
                    if status == StatusCode::SERVICE_UNAVAILABLE && retries > 0 =>
                {
                    retry_after.unwrap_or(Duration::from_secs(1)).min(LONGEST_WAIT)
                }
                Err(PostError::Refused { status, .. }) => {
                    return Err(WebhookError::Refused(status));
                }
                Err(error) => return Err(WebhookError::Unreachable(chain(&error))),
            };
            retries -= 1;
            retrying();
            tokio::time::sleep(wait).await;
        }
    }
}
