//! Sends one signed webhook, like LiveKit's server. Retries are up to the caller, since their rules
//! differ.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error};
use livekit_token::AccessTokenError;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::token::sign;
use livekit_otel_transport::client;

/// Why a webhook was not accepted.
#[derive(Debug, Error)]
pub enum PostError {
    /// The request can't be made.
    #[error("the request can't be made")]
    Request(#[from] http::Error),
    /// There was no response in time.
    #[error("no response in {} s", .0.as_secs())]
    Timeout(Duration),
    /// The receiver can't be reached, or the connection broke.
    #[error("the connection failed")]
    Connection(#[source] Error),
    /// The receiver answered with another status than 2xx.
    #[error("the receiver answered {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The seconds of the `Retry-After` header, if the status is 429 or 503.
        retry_after: Option<Duration>,
    },
}

/// A webhook's body and the token that signs it.
#[derive(Debug, Clone)]
pub struct SignedWebhook {
    body: Bytes,
    token: HeaderValue,
}

impl SignedWebhook {
    /// Signs a body. The signature is valid for 5 minutes.
    ///
    /// # Errors
    /// If the key or the secret is empty.
    pub fn new(body: Bytes, key: &str, secret: &str) -> Result<Self, AccessTokenError> {
        // A JWT has only characters that a header may have.
        let token = HeaderValue::try_from(sign(&body, key, secret)?);
        let mut token = token.map_err(|_| AccessTokenError::InvalidKeys)?;
        token.set_sensitive(true);
        Ok(Self { body, token })
    }

    /// Posts it once, and returns the status with which it was accepted. The status alone decides,
    /// whatever the response's body is.
    ///
    /// # Errors
    /// If it was not accepted within `limit`.
    pub async fn post<C>(
        &self,
        client: &Client<C, Full<Bytes>>,
        to: &Uri,
        limit: Duration,
    ) -> Result<StatusCode, PostError>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let request = Request::post(to)
            .header(AUTHORIZATION, &self.token)
            .header(CONTENT_TYPE, "application/webhook+json")
            .body(Full::new(self.body.clone()))?;
        let deadline = Instant::now() + limit;
        let response = timeout_at(deadline, client.request(request)).await;
        let response = response.map_err(|_| PostError::Timeout(limit))?;
        let (head, body) = response.map_err(PostError::Connection)?.into_parts();
        // Only a connection whose response was read to the end can be used again.
        let _ = client::read(body, deadline.saturating_duration_since(Instant::now())).await;
        if head.status.is_success() {
            return Ok(head.status);
        }
        let retry_after = retry_after(head.status, &head.headers);
        Err(PostError::Refused { status: head.status, retry_after })
    }
}

fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    // Posts to a receiver that answers with these bytes and closes the connection.
    async fn answered(answer: &'static str) -> Result<StatusCode, PostError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/webhook", listener.local_addr().unwrap()).parse().unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4000];
            let length = stream.read(&mut request).await.unwrap();
            let head = String::from_utf8_lossy(&request[..length]).to_lowercase();
            assert!(head.contains("content-type: application/webhook+json"), "{head}");
            assert!(head.contains("authorization: ey"), "{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let webhook = SignedWebhook::new("{}".into(), "key", "secret").unwrap();
        let posted = webhook.post(&client::plain(), &to, LIMIT).await;
        answering.await.unwrap();
        posted
    }

    #[tokio::test]
    async fn the_status_decides_whatever_the_body_is() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone",
        ] {
            assert_eq!(answered(answer).await.unwrap(), StatusCode::OK, "{answer}");
        }
        let refused = answered("HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\n").await.unwrap_err();
        assert_eq!(refused.to_string(), "the receiver answered 401 Unauthorized");
    }

    #[test]
    fn retry_after_is_read_on_429_and_503() {
        let after = |code: u16, value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(StatusCode::from_u16(code).unwrap(), &headers)
        };
        for code in [429, 503] {
            assert_eq!(after(code, "7"), Some(Duration::from_secs(7)));
            assert_eq!(after(code, "0"), Some(Duration::ZERO));
            assert_eq!((after(code, "-1"), after(code, "soon")), (None, None));
        }
        assert_eq!((after(500, "7"), after(401, "7")), (None, None));
    }

    #[tokio::test]
    async fn a_refusal_has_its_retry_after() {
        let full = "HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        let refused = answered(full).await;
        let seven = Some(Duration::from_secs(7));
        assert!(
            matches!(refused, Err(PostError::Refused { retry_after, .. }) if retry_after == seven)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_does_not_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/webhook", listener.local_addr().unwrap()).parse().unwrap();
        let webhook = SignedWebhook::new("{}".into(), "key", "secret").unwrap();
        let error = webhook.post(&client::plain(), &to, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "no response in 30 s");
    }

    #[tokio::test]
    async fn a_broken_connection_is_an_error() {
        let error = answered("").await.unwrap_err();
        assert!(matches!(error, PostError::Connection(_)), "{error}");
    }

    #[test]
    fn an_empty_key_signs_nothing_and_a_token_is_not_shown() {
        assert!(SignedWebhook::new("{}".into(), "", "secret").is_err());
        let webhook = SignedWebhook::new("{}".into(), "key", "secret").unwrap();
        assert!(format!("{webhook:?}").contains("Sensitive"));
    }
}
