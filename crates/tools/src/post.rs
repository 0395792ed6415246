//! Sends webhooks to one server, and again as long as it does not acknowledge them.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use thiserror::Error;
use tokio::time::Instant;

use super::destination::{Destination, Failure, Notices, Patience};
use livekit_otel_livekit::post::{self, PostError, SignedWebhook};
use livekit_otel_transport::client;
use livekit_otel_transport::hint::{Attempt, Protocol};

// A load lasts for seconds, so a longer pause would end it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

// A signature is valid for 5 minutes.
const SIGNATURE: Duration = Duration::from_mins(2);

/// Why a webhook was not acknowledged.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// The key or the secret is empty.
    #[error("the webhooks can't be signed: {0}")]
    Sign(#[from] livekit_token::AccessTokenError),
    /// It was refused for good.
    #[error("{to} answered a webhook with {status}{}", advice(*.status))]
    Refused {
        /// The server.
        to: Attempt,
        /// The status of the response.
        status: StatusCode,
    },
    /// The server can't be reached, or is not able to accept it.
    #[error("{to} acknowledged no webhook in {} s: {why}", .after.as_secs())]
    Away {
        /// The server.
        to: Attempt,
        /// How long it was sent again.
        after: Duration,
        /// The last failure.
        why: Failure,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => {
            ": are LIVEKIT_API_KEY and LIVEKIT_API_SECRET those of the server, and do the clocks agree?"
        }
        404 | 405 => ": livekit-otel receives webhooks at /webhook",
        413 => ": it is larger than the server accepts",
        _ => "",
    }
}

/// The server's address and its API key. Connections are kept open.
pub(crate) struct Webhooks {
    client: Client<client::PlainConnector, Full<Bytes>>,
    to: Uri,
    address: Attempt,
    key: String,
    secret: String,
    retry_for: Duration,
    notices: Notices,
}

impl Webhooks {
    pub(crate) fn new(to: &Destination) -> Self {
        Self {
            client: client::plain(),
            to: to.webhook.clone(),
            address: Self::address(to),
            key: to.key.clone(),
            secret: to.secret.clone(),
            retry_for: to.retry_for,
            notices: Notices::default(),
        }
    }

    pub(crate) fn address(to: &Destination) -> Attempt {
        Attempt::new(&to.webhook, Protocol::Http)
    }

    /// Returns when the webhook is acknowledged. Calls `retrying` before each retry.
    pub(crate) async fn send(
        &self,
        body: Bytes,
        mut retrying: impl FnMut(),
    ) -> Result<(), WebhookError> {
        let mut patience = Patience::new(self.retry_for);
        let sign = || SignedWebhook::new(body.clone(), &self.key, &self.secret);
        let (mut signed, mut signed_at) = (sign()?, Instant::now());
        loop {
            if signed_at.elapsed() > SIGNATURE {
                (signed, signed_at) = (sign()?, Instant::now());
            }
            let Err(error) = signed.post(&self.client, &self.to, post::ATTEMPT).await else {
                return Ok(());
            };
            let asked = match &error {
                PostError::Refused { status, .. } if !is_transient(*status) => {
                    return Err(WebhookError::Refused {
                        to: self.address.clone(),
                        status: *status,
                    });
                }
                PostError::Refused { retry_after, .. } => {
                    retry_after.map(|it| it.min(LONGEST_WAIT))
                }
                _ => None,
            };
            let why = Failure::of(&error, &self.address);
            let pause = patience.pause(asked).filter(|_| !why.is_for_good());
            let Some(pause) = pause else {
                let (to, after) = (self.address.clone(), patience.spent());
                return Err(WebhookError::Away { to, after, why });
            };
            // A busy server is not away.
            if asked.is_none() {
                self.notices.note(&self.address, &why.to_string());
            }
            retrying();
            tokio::time::sleep(pause).await;
        }
    }
}

// As LiveKit's sender, hashicorp's go-retryablehttp with its defaults, decides.
fn is_transient(status: StatusCode) -> bool {
    let is_fault = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    is_fault || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::destination::tests::destination;

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_does_not_answer_is_given_up_after_its_time() {
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = deaf.local_addr().unwrap();
        let webhooks = Webhooks::new(&destination(at));
        let (began, mut retried) = (Instant::now(), 0);
        let error = webhooks.send("{}".into(), || retried += 1).await.unwrap_err();
        let expected = format!("{at} (http) acknowledged no webhook in 37 s: no response in 10 s");
        assert_eq!(error.to_string(), expected);
        // Four attempts of 10 s, with pauses of 1, 2 and 4 s.
        assert_eq!((retried, began.elapsed().as_secs()), (3, 47));
    }

    #[test]
    fn a_fault_of_the_server_may_pass_and_a_refusal_stays() {
        for (status, expected) in [
            (429, true),
            (500, true),
            (502, true),
            (503, true),
            (501, false),
            (401, false),
            (404, false),
        ] {
            assert_eq!(is_transient(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }
}
