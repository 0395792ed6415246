//! Sends one webhook, signed anew and retried as LiveKit's sender does (hashicorp's go-retryablehttp
//! with its defaults, and the limits of livekit protocol 1.54, webhook/resource_url_notifier.go).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;

use super::client::{self, Client};
use super::settings::{WebhookError, WebhookSettings};
use super::target::Target;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::messages::WebhookEvent;
use livekit_otel_livekit::post::{PostError, SignedWebhook};
use livekit_otel_transport::{hint, words};

/// Why a webhook was not delivered.
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
    #[error("{text}")]
    Connection { text: String, hint: Option<String> },
    #[error("{text}")]
    Untrusted { text: String, hint: Option<String> },
    #[error("the notifier was stopped before it was delivered")]
    Stopped,
}

impl SendError {
    /// The likely reason, and what to do.
    pub(super) fn hint(&self, target: &Target) -> Option<String> {
        match self {
            Self::Connection { hint, .. } | Self::Untrusted { hint, .. } => hint.clone(),
            Self::Timeout => Some(hint::silent(&target.attempt())),
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => Some(
                "The receiver does not accept the signature. Check that it knows the key and its secret, and both \
                 clocks."
                    .to_owned(),
            ),
            _ => None,
        }
    }

    // A redirect is not followed and a 4xx won't change; an error of the receiver may pass.
    fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => match status.as_u16() {
                429 => true,
                501 => false,
                other => other >= 500,
            },
            Self::Timeout | Self::Connection { .. } => true,
            _ => false,
        }
    }
}

/// The secrets that sign.
pub(super) struct Signing {
    pub(super) keys: Keys,
    pub(super) default_key: String,
}

impl Signing {
    /// The key's name and its secret; the default key's if there is no name. An empty secret does not
    /// count.
    pub(super) fn secret<'a>(&'a self, key: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        let key = key.unwrap_or(&self.default_key);
        let secret = self.keys.secret(key).filter(|secret| !secret.is_empty())?;
        (!key.is_empty()).then_some((key, secret))
    }
}

/// How often and when a webhook is sent again.
#[derive(Debug, Clone, Copy)]
struct Retries {
    most: u32,
    min: Duration,
    max: Duration,
}

impl Retries {
    // The pause after an attempt with `before` earlier ones; `None` if it was the last.
    fn pause(&self, before: u32, error: &SendError) -> Option<Duration> {
        if before >= self.most || !error.is_transient() {
            return None;
        }
        let pause = match error {
            SendError::Status { after: Some(after), .. } => *after,
            _ => jittered(self.min.saturating_mul(2u32.saturating_pow(before))),
        };
        // The whole queue waits, so the receiver can't ask for more.
        Some(pause.min(self.max))
    }
}

// Up to a quarter more, so that senders that lost one receiver do not return to it at once.
fn jittered(backoff: Duration) -> Duration {
    backoff.saturating_add(backoff / 4000 * fastrand::u32(..1000))
}

/// Sends webhooks.
pub(super) struct Sender {
    client: Client,
    user_agent: HeaderValue,
    timeout: Duration,
    retries: Retries,
    signing: RwLock<Signing>,
}

impl Sender {
    /// It is an error if the settings' `User-Agent` can't be sent, and with `https`, if the system has no
    /// certificates.
    pub(super) fn new(settings: &WebhookSettings, https: bool) -> Result<Self, WebhookError> {
        let user_agent = HeaderValue::try_from(&settings.user_agent);
        let user_agent = user_agent.map_err(|_| WebhookError::BadUserAgent)?;
        let WebhookSettings { retries, min_backoff, max_backoff, timeout, .. } = *settings;
        let signing =
            Signing { keys: settings.keys.clone(), default_key: settings.default_key.clone() };
        Ok(Self {
            client: client::new(https)?,
            user_agent,
            timeout,
            retries: Retries { most: retries, min: min_backoff, max: max_backoff },
            signing: RwLock::new(signing),
        })
    }

    pub(super) fn set_signing(&self, signing: Signing) {
        *self.signing.write() = signing;
    }

    pub(super) fn can_sign(&self, key: Option<&str>) -> bool {
        self.signing.read().secret(key).is_some()
    }

    /// Sends `event`, with retries; returns the status of the answer that accepted it. `permit` is for the
    /// first attempt. It is released before a pause, and each retry waits for another.
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
            tracing::debug!(url = target.printable, %error, ?pause, "webhook is sent again");
            tokio::time::sleep(pause).await;
            permit = target.permit().await;
            before += 1;
        }
    }

    // Signed anew for each attempt, as the signature expires.
    async fn attempt(&self, target: &Target, body: Bytes) -> Result<StatusCode, SendError> {
        let signed = self.signed(target, body)?;
        let posted = signed.post(&self.client, &target.uri, self.timeout).await;
        posted.map_err(|error| match error {
            PostError::Request(_) => SendError::Request,
            PostError::Timeout(_) => SendError::Timeout,
            PostError::Connection(error) => of_client(&error, target),
            PostError::Refused { status, retry_after } => {
                SendError::Status { status, after: retry_after }
            }
        })
    }

    fn signed(&self, target: &Target, body: Bytes) -> Result<SignedWebhook, SendError> {
        let signing = self.signing.read();
        let (key, secret) = signing.secret(target.key.as_deref()).ok_or(SendError::UnknownKey)?;
        let signed = SignedWebhook::new(body, key, secret).map_err(|_| SendError::Request)?;
        Ok(signed.user_agent(self.user_agent.clone()))
    }
}

fn of_client(error: &hyper_util::client::legacy::Error, target: &Target) -> SendError {
    let text = words::clean(&livekit_otel_transport::chain(error));
    let hint = hint::hint(error, &target.attempt());
    if client::is_untrusted(error) {
        SendError::Untrusted { text, hint }
    } else {
        SendError::Connection { text, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries =
        Retries { most: 4, min: Duration::from_secs(1), max: Duration::from_secs(30) };

    fn status(status: u16, after: Option<u64>) -> SendError {
        let status = StatusCode::from_u16(status).unwrap();
        SendError::Status { status, after: after.map(Duration::from_secs) }
    }

    #[test]
    fn transient_errors_are_retried() {
        let is_transient = |error: &SendError| RETRIES.pause(0, error).is_some();
        for code in (100..=599).filter(|code| !(200..300).contains(code)) {
            let expected = code == 429 || (code >= 500 && code != 501);
            assert_eq!(is_transient(&status(code, None)), expected, "{code}");
        }
        assert!(
            is_transient(&SendError::Timeout)
                && is_transient(&SendError::Connection { text: String::new(), hint: None })
        );
        let untrusted = SendError::Untrusted { text: String::new(), hint: None };
        for error in [SendError::Encode, SendError::UnknownKey, SendError::Request, untrusted] {
            assert!(!is_transient(&error), "{error}");
        }
    }

    #[test]
    fn pauses_double_with_up_to_a_quarter_more_up_to_the_longest() {
        let patient = Retries { most: u32::MAX, ..RETRIES };
        for (before, seconds) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (40, 30)] {
            let backoff = Duration::from_secs(seconds);
            for _ in 0..20 {
                let pause = patient.pause(before, &SendError::Timeout).unwrap();
                let longest = (backoff * 5 / 4).min(RETRIES.max);
                assert!(backoff <= pause && pause <= longest, "{before}: {pause:?}");
            }
        }
        let mut pauses: Vec<_> = (0..20).map(|_| RETRIES.pause(0, &SendError::Timeout)).collect();
        pauses.dedup();
        assert!(pauses.len() > 1, "no jitter");
        assert!(RETRIES.pause(3, &SendError::Timeout).is_some());
        assert_eq!(RETRIES.pause(4, &SendError::Timeout), None);
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_longest_pause() {
        let pause = |error| RETRIES.pause(0, &error).unwrap();
        assert_eq!(pause(status(503, Some(7))), Duration::from_secs(7));
        assert_eq!(pause(status(503, Some(0))), Duration::ZERO);
        for seconds in [31, 315_360_000, u64::MAX] {
            assert_eq!(pause(status(429, Some(seconds))), RETRIES.max);
        }
        assert!(pause(status(503, None)) >= RETRIES.min);
        assert_eq!(RETRIES.pause(4, &status(503, Some(7))), None);
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
