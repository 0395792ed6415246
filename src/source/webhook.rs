//! LiveKit's webhooks: signed JSON over HTTP (livekit/protocol webhook/, auth/).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use livekit_token::{Claims, TokenVerifier};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{Keys, OpenStreams, Shared, accepted, split};
use crate::ledger::{Refused, Source};
use crate::proto;

// LiveKit's sender gives up on a webhook after 15 s in all: a slower body is of no use to it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the handlers share.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    shared: Shared,
    open: OpenStreams,
    stop: watch::Receiver<bool>,
    max_body: usize,
}

impl Webhooks {
    pub(super) fn new(
        shared: Shared,
        open: OpenStreams,
        stop: watch::Receiver<bool>,
        max_body: usize,
    ) -> Self {
        Self { shared, open, stop, max_body }
    }

    /// POST /webhook, GET /healthz (the process lives), GET /readyz (it accepts).
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/webhook", post(webhook))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(Arc::new(self))
    }

    fn refuse(&self, why: Refused, status: StatusCode) -> Response {
        self.shared.ledger.refused(Source::Webhook, why);
        tracing::debug!(why = why.as_str(), "webhook refused");
        // Nothing that is left of the body is read.
        (status, [(CONNECTION, "close")]).into_response()
    }

    fn busy(&self, seconds: &'static str) -> Response {
        self.shared.ledger.refused(Source::Webhook, Refused::Busy);
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)]).into_response()
    }

    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
        let too_large = || self.refuse(Refused::TooLarge, StatusCode::PAYLOAD_TOO_LARGE);
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.max_body as u64) {
            return Err(too_large());
        }
        let body = Limited::new(body, self.max_body).collect();
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(self.refuse(Refused::Malformed, StatusCode::BAD_REQUEST)),
            Err(_) => Err(self.refuse(Refused::Malformed, StatusCode::REQUEST_TIMEOUT)),
        }
    }

    // A body that is signed: from here on it is LiveKit's word, and not lost.
    fn accept(&self, body: Bytes) -> Response {
        let read = match proto::webhook(&body) {
            Ok(read) => read,
            Err(unreadable) => {
                tracing::warn!(%unreadable, "a signed webhook is set aside");
                return self.set_aside(body);
            }
        };
        let (telling, items, counted) = split(read);
        let input = accepted(Source::Webhook, telling, items, body.len(), self.open.any());
        if self.shared.journal.try_append(input).is_err() {
            return self.busy("1");
        }
        self.shared.count(Source::Webhook, items, &counted);
        StatusCode::OK.into_response()
    }

    fn set_aside(&self, body: Bytes) -> Response {
        if !self.shared.set_aside.keep(body, "unreadable webhook") {
            return self.busy("2");
        }
        self.shared.ledger.accepted(Source::Webhook, 1);
        self.shared.ledger.input_set_aside(Source::Webhook, 1);
        StatusCode::OK.into_response()
    }
}

async fn webhook(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Response {
    let unauthorized = || webhooks.refuse(Refused::Unauthorized, StatusCode::UNAUTHORIZED);
    let (parts, body) = request.into_parts();
    // The token is checked before anything of the body is read.
    let Some(hash) = signed_hash(&parts.headers, &webhooks.shared.keys) else {
        return unauthorized();
    };
    let body = match webhooks.body(&parts.headers, body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    if Sha256::digest(&body)[..] != hash {
        return unauthorized();
    }
    webhooks.accept(body)
}

async fn ready(State(webhooks): State<Arc<Webhooks>>) -> Response {
    if *webhooks.stop.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

// The body's hash as a valid token of one of our keys claims it.
fn signed_hash(headers: &HeaderMap, keys: &Keys) -> Option<Vec<u8>> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let key = Claims::from_unverified(token).ok()?.iss;
    // An empty secret would be everybody's.
    let secret = keys.secret(&key).filter(|secret| !secret.is_empty())?;
    let claims = TokenVerifier::with_api_key(&key, secret).verify(token).ok()?;
    STANDARD.decode(claims.sha256).ok()
}

/// The token that signs `body`, as LiveKit's server makes it: 5 minutes, with the body's hash.
///
/// # Errors
/// Where key or secret are empty.
pub(super) fn sign(
    body: &[u8],
    key: &str,
    secret: &str,
) -> Result<String, livekit_token::AccessTokenError> {
    livekit_token::AccessToken::with_api_key(key, secret)
        .with_ttl(Duration::from_mins(5))
        .with_sha256(&STANDARD.encode(Sha256::digest(body)))
        .to_jwt()
}
