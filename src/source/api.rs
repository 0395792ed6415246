//! Requests to LiveKit's API, at most so many a second.

use std::time::Duration;

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
use livekit_otel_transport::proxy::Route;

/// For one answer, and for the journal.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 8 << 20;
const TOKEN_TTL: Duration = Duration::from_mins(1);

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
            Self::NoSecret
            | Self::Token(_)
            | Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Refused::Unauthorized
            }
            Self::TooLarge => Refused::TooLarge,
            Self::Unreadable(_) => Refused::Malformed,
            Self::Busy => Refused::Busy,
            _ => Refused::Unavailable,
        }
    }
}

/// The API of a LiveKit deployment.
#[derive(Debug)]
pub(crate) struct Api {
    client: Routed,
    url: Uri,
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
        Ok(Self { client, url, key, keys, between, next: Instant::now() })
    }

    pub(super) fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
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
        if response.status() != StatusCode::OK {
            return Err(ApiError::Status(response.status()));
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
