//! Sends one signed webhook, like LiveKit's server (livekit protocol 1.54,
//! webhook/resource_url_notifier.go). Retries are up to the caller, since their rules differ.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error};
use livekit_token::AccessTokenError;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::guid;
use crate::token::sign;
use livekit_otel_transport::client;

/// How long LiveKit's server waits in one attempt, from the connection to the end of the answer.
pub const ATTEMPT: Duration = Duration::from_secs(10);
/// How often it sends a webhook again.
pub const RETRIES: u32 = 4;
/// Its pause before the first retry; each further one is twice as long.
pub const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Its longest pause, whatever the receiver asks for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Its `User-Agent`, which receivers' firewalls know.
pub const USER_AGENT: &str = "LiveKit";

/// The `User-Agent` of `livekit-otel doctor`. Anyone can send it: it may explain a refusal, and no more.
pub const DOCTOR: &str = "livekit-otel-doctor";

/// The `event` of a signed webhook that reports nothing. It is accepted as one item, and is no event.
pub const TEST_EVENT: &str = "livekit_otel_test";

/// The body of a webhook that shows whether webhooks are accepted, and reports nothing.
pub fn test_body() -> Bytes {
    Bytes::from(format!(r#"{{"event":"{TEST_EVENT}","id":"{}"}}"#, guid::new("EV_")))
}

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
        /// How long the `Retry-After` header asks to wait, if the status is 429 or 503. It has no
        /// upper limit.
        retry_after: Option<Duration>,
    },
}

/// A webhook's body, the token that signs it, and its sender.
#[derive(Debug, Clone)]
pub struct SignedWebhook {
    body: Bytes,
    token: HeaderValue,
    user_agent: HeaderValue,
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
        Ok(Self { body, token, user_agent: HeaderValue::from_static(USER_AGENT) })
    }

    /// The `User-Agent`, in place of [`USER_AGENT`].
    #[must_use]
    pub fn user_agent(mut self, user_agent: HeaderValue) -> Self {
        self.user_agent = user_agent;
        self
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
            .header(header::USER_AGENT, &self.user_agent)
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
        let retry_after = retry_after(head.status, &head.headers, SystemTime::now());
        Err(PostError::Refused { status: head.status, retry_after })
    }
}

fn retry_after(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    livekit_otel_transport::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    // Posts to a receiver that answers with these bytes and closes the connection.
    async fn answered(answer: &str) -> Result<StatusCode, PostError> {
        let answer = answer.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/webhook", listener.local_addr().unwrap()).parse().unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4000];
            let length = stream.read(&mut request).await.unwrap();
            let head = String::from_utf8_lossy(&request[..length]).to_lowercase();
            assert!(head.contains("content-type: application/webhook+json"), "{head}");
            assert!(head.contains("authorization: ey"), "{head}");
            assert!(head.contains("user-agent: livekit\r\n"), "{head}");
            // A client that has read enough closes the connection.
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let webhook = SignedWebhook::new("{}".into(), "key", "secret").unwrap();
        let posted = webhook.post(&client::plain(), &to, ATTEMPT).await;
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

    #[tokio::test]
    async fn a_long_head_is_an_error() {
        // As long as a reason phrase, which is not quoted either.
        let answer =
            |length| format!("HTTP/1.1 500 {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(length));
        let error = answered(&answer(32 * 1024)).await.unwrap_err();
        assert_eq!(error.to_string(), "the receiver answered 500 Internal Server Error");
        let error = answered(&answer(160 * 1024)).await.unwrap_err();
        assert!(matches!(error, PostError::Connection(_)), "{error}");
    }

    #[test]
    fn retry_after_is_read_on_429_and_503() {
        let after = |code: u16, value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_406_961);
            retry_after(StatusCode::from_u16(code).unwrap(), &headers, now)
        };
        for code in [429, 503] {
            assert_eq!(after(code, "7"), Some(Duration::from_secs(7)));
            assert_eq!(after(code, "0"), Some(Duration::ZERO));
            let date = "Mon, 23 Nov 2026 04:09:31 GMT";
            assert_eq!(after(code, date), Some(Duration::from_secs(10)));
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
        let error = webhook.post(&client::plain(), &to, ATTEMPT).await.unwrap_err();
        assert_eq!(error.to_string(), "no response in 10 s");
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
