//! Sends webhooks to one server, with the retries of a LiveKit server.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use thiserror::Error;

use livekit_otel_livekit::post::{self, PostError, SignedWebhook};
use livekit_otel_transport::chain;
use livekit_otel_transport::client::{self, PlainConnector};

// A load lasts for seconds, so a longer pause would end it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
    client: Client<PlainConnector, Full<Bytes>>,
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
        let mut retries = post::RETRIES;
        loop {
            let wait = match signed.post(&self.client, &self.to, post::ATTEMPT).await {
                Ok(_) => return Ok(()),
                Err(PostError::Refused { status, retry_after })
                    if status == StatusCode::SERVICE_UNAVAILABLE && retries > 0 =>
                {
                    retry_after.unwrap_or(post::SHORTEST_PAUSE).min(LONGEST_WAIT)
                }
                Err(PostError::Timeout(_)) if retries > 0 => post::SHORTEST_PAUSE,
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_does_not_answer_is_tried_five_times_for_ten_seconds() {
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/webhook", deaf.local_addr().unwrap()).parse().unwrap();
        let webhooks = Webhooks::new(to, "key", "secret");
        let (began, mut retried) = (Instant::now(), 0);
        let error = webhooks.send("{}".into(), || retried += 1).await.unwrap_err();
        assert_eq!(error.to_string(), "a webhook could not be sent: no response in 10 s");
        assert_eq!((retried, began.elapsed().as_secs()), (4, 54));
    }
}
