//! Requests to LiveKit's API, at most so many a second.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use livekit_token::{AccessToken, AccessTokenError};
use thiserror::Error;
use tokio::time::Instant;

use livekit_otel_ledger::Refused;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::{ApiRequest, Unreadable};
use livekit_otel_transport::client::{self, RequestError, Routed};
use livekit_otel_transport::hint::{self, Attempt, Protocol};
use livekit_otel_transport::proxy::Route;
use livekit_otel_transport::{ahead_of, words};

/// For one answer, and for the journal.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 8 << 20;
const TOKEN_TTL: Duration = Duration::from_mins(1);
// LiveKit accepts tokens of clocks that differ by less, in seconds.
const MAX_SKEW: i64 = 60;

/// Why a question has no answer.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("there is no secret for the API key")]
    NoSecret,
    #[error("the token can't be created")]
    Token(#[from] AccessTokenError),
    #[error("the request can't be created")]
    Request(#[from] http::Error),
    #[error("the request failed")]
    Unreachable(#[from] RequestError),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Unauthorized(Unauthorized),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer is incomplete")]
    Incomplete,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the journal is full")]
    Busy,
}

impl ApiError {
    pub(super) fn refused(&self) -> Refused {
        match self {
            Self::NoSecret | Self::Token(_) | Self::Unauthorized(_) => Refused::Unauthorized,
            Self::TooLarge => Refused::TooLarge,
            Self::Unreadable(_) => Refused::Malformed,
            Self::Busy => Refused::Busy,
            _ => Refused::Unavailable,
        }
    }
}

/// An answer to a token that LiveKit does not accept (livekit-server, pkg/service/auth.go).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unauthorized {
    status: StatusCode,
    // Without the token, which LiveKit quotes up to 1.13.5.
    words: String,
    // Of all words, not of those that are shown.
    reason: Option<Reason>,
    // This machine's clock less LiveKit's, in seconds.
    ahead: Option<i64>,
}

impl Unauthorized {
    async fn read(response: http::Response<hyper::body::Incoming>, now: SystemTime) -> Self {
        let (head, body) = response.into_parts();
        let (body, _) = client::read_beginning(body, TIMEOUT).await;
        let words = words::of_body(&head.headers, &body);
        let reason = Reason::of(&String::from_utf8_lossy(&body));
        let ahead = ahead_of(&head.headers, now);
        Self { status: head.status, words, reason, ahead }
    }

    fn likely(&self) -> String {
        match self.ahead {
            Some(ahead) if ahead > MAX_SKEW => {
                return format!("this machine's clock is {ahead} s ahead of LiveKit's");
            }
            Some(ahead) if ahead < -MAX_SKEW => {
                return format!("this machine's clock is {} s behind LiveKit's", -ahead);
            }
            _ => {}
        }
        let likely = match self.reason {
            Some(Reason::Key) => "LiveKit does not have this key: see livekit.api_key",
            Some(Reason::Clock) => "are the clocks of this machine and of LiveKit right?",
            Some(Reason::Secret) => "the key's secret is not the one that LiveKit has",
            None => "does LiveKit have this key with the same secret, and are both clocks right?",
        };
        likely.to_owned()
    }
}

// What LiveKit says of a token, in words of its own, of golang-jwt and, before it, of go-jose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Key,
    Clock,
    Secret,
}

impl Reason {
    fn of(words: &str) -> Option<Self> {
        let says = |of: &[&str]| of.iter().any(|each| words.contains(each));
        if says(&["invalid API key"]) {
            Some(Self::Key)
        } else if says(&["expired", "not valid yet", "before issued", "(nbf)", "(iat)"]) {
            Some(Self::Clock)
        } else {
            says(&["signature", "cryptographic primitive"]).then_some(Self::Secret)
        }
    }
}

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is {}", self.status)?;
        if !self.words.is_empty() {
            write!(f, ", {:?}", self.words)?;
        }
        write!(f, ": {}", self.likely())
    }
}

/// The API of a LiveKit deployment.
#[derive(Debug)]
pub(crate) struct Api {
    client: Routed,
    url: Uri,
    attempt: Attempt,
    key: String,
    keys: KeyRing,
    // The least time from one request to the next, and when the next is allowed.
    between: Duration,
    next: Instant,
}

impl Api {
    pub(crate) fn new(
        (url, key, requests_per_second, route): (Uri, String, u32, Route),
        keys: KeyRing,
    ) -> Result<Self, client::CertificatesError> {
        let client = client::routed(url.scheme_str() == Some("https"), &route)?;
        let between = Duration::from_secs(1) / requests_per_second.max(1);
        let attempt = Attempt::new(&url, Protocol::Http).by(&route);
        Ok(Self { client, url, attempt, key, keys, between, next: Instant::now() })
    }

    /// Where the requests go, and how.
    pub(super) fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The likely reason of a failed request, if it is not in the error's text.
    pub(crate) fn hint(&self, error: &ApiError) -> Option<String> {
        match error {
            ApiError::Unreachable(error) => hint::hint(error, &self.attempt),
            ApiError::Timeout => Some(hint::silent(&self.attempt)),
            _ => None,
        }
    }

    /// The key that signs the requests.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until another request is allowed.
    pub(super) async fn ready(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    fn sent(&mut self) {
        self.next = Instant::now() + self.between;
    }

    /// Sends a request and returns the body of the answer.
    pub(crate) async fn send(&mut self, request: ApiRequest) -> Result<Bytes, ApiError> {
        self.sent();
        let ApiRequest { method, grants, body } = request;
        let Self { url, key, .. } = self;
        let keys = self.keys.now();
        let secret = keys.secret(key).ok_or(ApiError::NoSecret)?;
        let token = AccessToken::with_api_key(key, secret);
        let token = token.with_ttl(TOKEN_TTL).with_grants(grants).to_jwt()?;
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(http::Error::from)?;
        authorization.set_sensitive(true);
        let request = Request::post(format!("{url}twirp/livekit.{method}"))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/protobuf")
            .body(Full::new(body))?;
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        answer.map_err(|_| ApiError::Timeout)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ApiError> {
        let response = self.client.request(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let refused = Unauthorized::read(response, SystemTime::now()).await;
                return Err(ApiError::Unauthorized(refused));
            }
            status => return Err(ApiError::Status(status)),
        }
        match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
            Err(_) => Err(ApiError::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_as_far_apart_as_their_number_in_a_second_allows() {
        let keys = KeyRing::default();
        let url: Uri = "http://127.0.0.1:1/".parse().unwrap();
        let mut api = Api::new((url, "devkey".to_owned(), 4, Route::Direct), keys).unwrap();
        let started = Instant::now();
        for nth in 0..9 {
            api.ready().await;
            assert_eq!(started.elapsed(), nth * Duration::from_millis(250));
            api.sent();
        }
        // Time in which nothing was asked makes no burst.
        tokio::time::advance(Duration::from_mins(1)).await;
        api.ready().await;
        api.sent();
        let second = Instant::now();
        api.ready().await;
        assert_eq!(second.elapsed(), Duration::from_millis(250));
    }
}
