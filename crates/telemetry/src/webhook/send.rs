//! Sends one webhook, signed anew and retried as LiveKit's sender does (hashicorp's
//! go-retryablehttp with its defaults).

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::client::{self, Client};
use super::settings::{WebhookError, WebhookSettings};
use super::target::Target;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::messages::WebhookEvent;
use livekit_otel_livekit::token::sign;

// A receiver that wishes for more is asked earlier all the same: its queue waits for it.
const LONGEST_WISH: Duration = Duration::from_mins(5);
const LONGEST_TEXT: usize = 200;

/// Why a webhook was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SendError {
    #[error("the event can't be written as JSON")]
    Encode,
    #[error("no secret for the signing key")]
    UnknownKey,
    #[error("can't be signed or requested")]
    Request,
    #[error("the receiver answered {status}")]
    Status { status: StatusCode, after: Option<Duration> },
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Connection(String),
    #[error("{0}")]
    Untrusted(String),
    #[error("the notifier was stopped before it was taken")]
    Stopped,
}

impl SendError {
    // A redirect is not followed and a 4xx won't change; what the receiver suffers from may.
    fn is_passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => match status.as_u16() {
                429 => true,
                501 => false,
                other => other >= 500,
            },
            Self::Timeout | Self::Connection(_) => true,
            _ => false,
        }
    }
}

/// The secrets to sign with.
pub(super) struct Signing {
    pub(super) keys: Keys,
    pub(super) default_key: String,
}

impl Signing {
    /// The key's name and its secret; without a name, the default key's. An empty secret is none.
    pub(super) fn secret<'a>(&'a self, key: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        let key = key.unwrap_or(&self.default_key);
        let secret = self.keys.secret(key).filter(|secret| !secret.is_empty())?;
        (!key.is_empty()).then_some((key, secret))
    }
}

/// How often a webhook is tried again, and when.
#[derive(Debug, Clone, Copy)]
struct Retries {
    most: u32,
    min: Duration,
    max: Duration,
}

impl Retries {
    // The pause after the attempt that had `before` ones before it; none where it was the last.
    fn pause(&self, before: u32, error: &SendError) -> Option<Duration> {
        if before >= self.most || !error.is_passing() {
            return None;
        }
        if let SendError::Status { after: Some(after), .. } = error {
            return Some((*after).min(LONGEST_WISH));
        }
        let backoff = self.min.saturating_mul(2u32.saturating_pow(before)).min(self.max);
        Some(jittered(backoff))
    }
}

// Up to a quarter more: senders that lost one receiver don't come back to it in step.
fn jittered(backoff: Duration) -> Duration {
    backoff.saturating_add(backoff / 4000 * fastrand::u32(..1000))
}

/// Sends webhooks.
pub(super) struct Sender {
    client: Client,
    timeout: Duration,
    retries: Retries,
    signing: RwLock<Signing>,
}

impl Sender {
    /// With `https`, a system without certificates is an error.
    pub(super) fn new(settings: &WebhookSettings, https: bool) -> Result<Self, WebhookError> {
        let WebhookSettings { retries, min_backoff, max_backoff, timeout, .. } = *settings;
        let signing =
            Signing { keys: settings.keys.clone(), default_key: settings.default_key.clone() };
        Ok(Self {
            client: client::new(https)?,
            timeout,
            retries: Retries { most: retries, min: min_backoff, max: max_backoff },
            signing: RwLock::new(signing),
        })
    }

    pub(super) fn set_signing(&self, signing: Signing) {
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
    }

    pub(super) fn can_sign(&self, key: Option<&str>) -> bool {
        self.signing.read().unwrap_or_else(PoisonError::into_inner).secret(key).is_some()
    }

    /// Sends `event` and tries again; gives the status that it was taken with. `permit` is for the
    /// first attempt: a pause holds none.
    pub(super) async fn send(
        &self,
        target: &Target,
        event: &WebhookEvent,
        permit: OwnedSemaphorePermit,
    ) -> Result<StatusCode, SendError> {
        let body = serde_json::to_vec(event).map_err(|_| SendError::Encode)?;
        let (body, mut permit) = (Bytes::from(body), Some(permit));
        let mut before = 0;
        loop {
            let answer = self.attempt(target, body.clone()).await;
            drop(permit);
            let Err(error) = answer else { return answer };
            let Some(pause) = self.retries.pause(before, &error) else { return Err(error) };
            tracing::debug!(host = target.uri.host(), %error, ?pause, "webhook is tried again");
            tokio::time::sleep(pause).await;
            permit = target.permit().await;
            before += 1;
        }
    }

    async fn attempt(&self, target: &Target, body: Bytes) -> Result<StatusCode, SendError> {
        let began = Instant::now();
        let request = self.client.request(self.request(target, body)?);
        let response = tokio::time::timeout(self.timeout, request)
            .await
            .map_err(|_| SendError::Timeout)?
            .map_err(|error| of_client(&error))?;
        let (head, answer) = response.into_parts();
        // Its words are of no use, but a connection that was read to the end is used again.
        let left = self.timeout.saturating_sub(began.elapsed());
        let _ = livekit_otel_transport::client::read(answer, left).await;
        if head.status.is_success() {
            return Ok(head.status);
        }
        Err(SendError::Status {
            status: head.status,
            after: retry_after(head.status, &head.headers),
        })
    }

    fn request(&self, target: &Target, body: Bytes) -> Result<Request<Full<Bytes>>, SendError> {
        let mut token =
            HeaderValue::from_str(&self.token(target, &body)?).map_err(|_| SendError::Request)?;
        token.set_sensitive(true);
        Request::post(&target.uri)
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/webhook+json")
            .body(Full::new(body))
            .map_err(|_| SendError::Request)
    }

    fn token(&self, target: &Target, body: &[u8]) -> Result<String, SendError> {
        let signing = self.signing.read().unwrap_or_else(PoisonError::into_inner);
        let (key, secret) = signing.secret(target.key.as_deref()).ok_or(SendError::UnknownKey)?;
        sign(body, key, secret).map_err(|_| SendError::Request)
    }
}

fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn of_client(error: &hyper_util::client::legacy::Error) -> SendError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let text = text.chars().filter(|each| !each.is_control()).take(LONGEST_TEXT).collect();
    if client::is_untrusted(error) {
        SendError::Untrusted(text)
    } else {
        SendError::Connection(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries =
        Retries { most: 4, min: Duration::from_secs(1), max: Duration::from_secs(30) };

    fn status(status: u16, after: Option<&str>) -> SendError {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = after.map(|after| (RETRY_AFTER, after.parse().unwrap()));
        let after = retry_after(status, &HeaderMap::from_iter(headers));
        SendError::Status { status, after }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let passing = |error: &SendError| RETRIES.pause(0, error).is_some();
        for code in (100..=599).filter(|code| !(200..300).contains(code)) {
            let expected = code == 429 || (code >= 500 && code != 501);
            assert_eq!(passing(&status(code, None)), expected, "{code}");
        }
        assert!(passing(&SendError::Timeout) && passing(&SendError::Connection(String::new())));
        let untrusted = SendError::Untrusted(String::new());
        for error in [SendError::Encode, SendError::UnknownKey, SendError::Request, untrusted] {
            assert!(!passing(&error), "{error}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_with_up_to_a_quarter_more() {
        let patient = Retries { most: u32::MAX, ..RETRIES };
        for (before, seconds) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (40, 30)] {
            let pause = patient.pause(before, &SendError::Timeout).unwrap();
            let backoff = Duration::from_secs(seconds);
            assert!(backoff <= pause && pause <= backoff * 5 / 4, "{before}: {pause:?}");
        }
        let mut pauses: Vec<_> = (0..20).map(|_| RETRIES.pause(0, &SendError::Timeout)).collect();
        pauses.dedup();
        assert!(pauses.len() > 1, "no jitter");
        assert!(RETRIES.pause(3, &SendError::Timeout).is_some());
        assert_eq!(RETRIES.pause(4, &SendError::Timeout), None);
    }

    #[test]
    fn a_wish_for_later_is_obeyed_on_429_and_503() {
        let pause = |error| RETRIES.pause(0, &error).unwrap();
        for code in [429, 503] {
            assert_eq!(pause(status(code, Some("7"))), Duration::from_secs(7));
            assert_eq!(pause(status(code, Some("0"))), Duration::ZERO);
            assert_eq!(pause(status(code, Some("86400"))), LONGEST_WISH);
            for odd in ["-1", "soon"] {
                assert!(pause(status(code, Some(odd))) >= RETRIES.min);
            }
        }
        assert!(pause(status(500, Some("7"))) < Duration::from_secs(2));
        assert_eq!(RETRIES.pause(4, &status(503, Some("7"))), None);
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let mut keys = Keys::default();
        keys.insert("full", "secret");
        keys.insert("hollow", "");
        keys.insert("", "secret");
        let signing = Signing { keys, default_key: "full".to_owned() };
        assert_eq!(signing.secret(None), Some(("full", "secret")));
        for key in ["hollow", "", "unknown"] {
            assert_eq!(signing.secret(Some(key)), None, "{key}");
        }
    }
}
