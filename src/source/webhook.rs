//! LiveKit's webhooks: signed JSON over HTTP (livekit/protocol webhook/, auth/).

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, RETRY_AFTER, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::budget::{Budget, Lease};
use super::connections::Use;
use super::refusals::{Refusals, Sender, Warnings, advice};
use super::{OpenStreams, Shared, accepted, parse};
use livekit_otel_durable::journal::Full;
use livekit_otel_ledger::Refused;
use livekit_otel_livekit::post;
use livekit_otel_livekit::token::{self, Refusal};
use livekit_otel_model::Source;

// LiveKit's sender ends an attempt after 10 s (livekit_otel_livekit::post).
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
// For the memory of a body.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(4);

/// The state of the handlers.
#[derive(Debug, Clone)]
pub(super) struct Webhooks {
    shared: Shared,
    open: OpenStreams,
    budget: Budget,
    max_body: usize,
    refusals: Arc<Refusals>,
    unreadable: Arc<Warnings<()>>,
}

impl Webhooks {
    pub(super) fn new(
        shared: Shared,
        open: OpenStreams,
        (budget, max_body): (Budget, usize),
    ) -> Self {
        let refusals = Arc::new(Refusals::new(&shared.ledger));
        Self { shared, open, budget, max_body, refusals, unreadable: Arc::default() }
    }

    /// POST /webhook.
    pub(super) fn router(self) -> Router {
        Router::new().route("/webhook", any(webhook)).with_state(Arc::new(self))
    }

    fn refuse(
        &self,
        sender: &Sender,
        (why, text): (Refused, &str),
        status: StatusCode,
    ) -> Response {
        self.refusals.note((Source::Webhook, why, text), sender);
        closed(status)
    }

    fn unauthorized(&self, head: &Parts, rule: Refusal) -> Response {
        let sender = Sender::of(&head.extensions).named(&head.headers, &self.shared.keys.now());
        if head.headers.get(USER_AGENT).is_some_and(|agent| agent == post::DOCTOR) {
            let text = format!("{rule}. {}", advice::DOCTOR);
            return self.refuse(&sender, (advice::reason(rule), &text), StatusCode::UNAUTHORIZED);
        }
        self.refusals.token(Source::Webhook, rule, &sender);
        closed(StatusCode::UNAUTHORIZED)
    }

    fn busy(&self, sender: &Sender, text: &str, seconds: &'static str) -> Response {
        self.refusals.note((Source::Webhook, Refused::Busy, text), sender);
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)]).into_response()
    }

    fn too_large(&self, sender: &Sender, size: u64) -> Response {
        let text = advice::too_large(size, self.max_body as u64, "limits.webhook_body");
        self.refuse(sender, (Refused::TooLarge, &text), StatusCode::PAYLOAD_TOO_LARGE)
    }

    async fn body(&self, head: &Parts, body: Body) -> Result<(Bytes, Lease), Response> {
        let sender = Sender::of(&head.extensions);
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length > self.max_body as u64) {
            return Err(self.too_large(&sender, length));
        }
        let size = length.and_then(|length| usize::try_from(length).ok());
        let used = head.extensions.get::<Arc<Use>>();
        let share = used.map_or_else(|| self.budget.share(), |used| used.share(&self.budget));
        let lease = self.budget.reserve(&share, size.unwrap_or(self.max_body));
        let lease = timeout(BUDGET_TIMEOUT, lease).await;
        let lease = lease.map_err(|_| self.busy(&sender, advice::NO_MEMORY, "2"))?;
        let body = collect(Limited::new(body, self.max_body), size.unwrap_or(0), used);
        let body = tokio::select! {
            body = timeout(BODY_TIMEOUT, body) => body,
            () = lease.displaced() => return Err(self.busy(&sender, advice::DISPLACED, "1")),
        };
        let malformed = |text, status| self.refuse(&sender, (Refused::Malformed, text), status);
        match body {
            Ok(Ok(body)) => {
                lease.finished();
                Ok((body, lease))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(self.too_large(&sender, self.max_body as u64 + 1))
            }
            Ok(Err(_)) => Err(malformed(advice::INCOMPLETE, StatusCode::BAD_REQUEST)),
            Err(_) => Err(malformed(advice::SLOW_BODY, StatusCode::REQUEST_TIMEOUT)),
        }
    }

    // The body is signed, so it must not be lost, even if it can't be read.
    async fn accept(&self, sender: &Sender, body: Bytes, lease: Lease) -> Response {
        let read = match parse(Source::Webhook, &body) {
            Ok(read) => Some(read),
            Err(unreadable) => {
                if !self.shared.dead_letters.has_capacity(body.len()) {
                    return self.busy(sender, advice::DEAD_LETTERS_FULL, "3");
                }
                if let Some(webhooks) = self.unreadable.due((), Instant::now()) {
                    tracing::warn!(webhooks, %unreadable, "signed webhooks can't be read and become dead letters, the last one for this reason");
                }
                None
            }
        };
        let size = body.len();
        let input = accepted(Source::Webhook, read, body, self.open.any());
        let mut pending = match self.shared.journal.try_append(input) {
            Ok(pending) => pending,
            Err(Full) => {
                return self.busy(sender, &self.shared.journal.why_refused(size, false), "1");
            }
        };
        // The journal's budget has the message now.
        drop(lease);
        if pending.durable().await.is_err() {
            return self.busy(sender, advice::NOT_WRITTEN, "2");
        }
        StatusCode::OK.into_response()
    }
}

// The rest of the body is not read.
fn closed(status: StatusCode) -> Response {
    (status, [(CONNECTION, "close")]).into_response()
}

async fn collect(
    mut body: Limited<Body>,
    size: usize,
    used: Option<&Arc<Use>>,
) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    let mut bytes = BytesMut::with_capacity(size);
    while let Some(frame) = body.frame().await {
        if let Some(used) = used {
            used.touch();
        }
        bytes.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(bytes.freeze())
}

// The span follows OpenTelemetry's conventions for HTTP servers.
async fn webhook(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Response {
    if request.method() != Method::POST {
        webhooks.refusals.count(Source::Webhook, Refused::WrongPath);
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")]).into_response();
    }
    // At this level, the log does not format the fields for each webhook.
    let span = tracing::debug_span!(
        "POST /webhook",
        otel.kind = "server",
        http.request.method = "POST",
        http.route = "/webhook",
        http.response.status_code = tracing::field::Empty,
    );
    let response = verify_and_accept(&webhooks, request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

async fn verify_and_accept(webhooks: &Webhooks, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // The token is checked before the body is read.
    let keys = webhooks.shared.keys.now();
    let hash = match token::webhook(&parts.headers, &keys, SystemTime::now()) {
        Ok(hash) => hash,
        Err(rule) => return webhooks.unauthorized(&parts, rule),
    };
    let (body, lease) = match webhooks.body(&parts, body).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    if !bool::from(Sha256::digest(&body).ct_eq(&hash)) {
        return webhooks.unauthorized(&parts, Refusal::OtherBody);
    }
    webhooks.accept(&Sender::of(&parts.extensions), body, lease).await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::UNIX_EPOCH;

    use axum::http::header::AUTHORIZATION;
    use livekit_token::TokenVerifier;
    use tonic::codegen::Service;

    use super::*;
    use livekit_otel_durable::journal::{self, DeadLetters};
    use livekit_otel_ledger::Ledger;
    use livekit_otel_livekit::keys::Keys;
    use livekit_otel_livekit::token::sign;

    const SECRET: &str = "made-up-secret-of-thirty-two-characters";

    fn router() -> (Router, Arc<Ledger>) {
        let mut keys = Keys::default();
        keys.insert("key", SECRET);
        let ledger = Arc::new(Ledger::default());
        let (journal, _) = journal::in_memory(1000, &ledger);
        let dead_letters = Arc::new(DeadLetters::in_memory(0));
        let shared = Shared {
            keys: keys.into(),
            journal,
            ledger: Arc::clone(&ledger),
            dead_letters,
            reader: Arc::default(),
        };
        (
            Webhooks::new(shared, OpenStreams::default(), (Budget::new(1000, 1000), 1000)).router(),
            ledger,
        )
    }

    // A body that never arrives, and whether it was read.
    fn pending() -> (Body, Arc<AtomicBool>) {
        let is_read = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_read);
        let stream = futures_util::stream::poll_fn(move |_| {
            flag.store(true, Relaxed);
            std::task::Poll::<Option<Result<Bytes, Infallible>>>::Pending
        });
        (Body::from_stream(stream), is_read)
    }

    async fn post(router: &mut Router, token: Option<&str>, body: Body) -> StatusCode {
        let request = Request::post("/webhook");
        let request = token.into_iter().fold(request, |to, token| to.header(AUTHORIZATION, token));
        router.call(request.body(body).unwrap()).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_times_out() {
        let (mut router, ledger) = router();
        let (body, _) = pending();
        let token = sign(b"{}", "key", SECRET).unwrap();
        assert_eq!(post(&mut router, Some(&token), body).await, StatusCode::REQUEST_TIMEOUT);
        let refused = ledger.snapshot().inputs[0].refused;
        assert!(refused.contains(&(Refused::Malformed, 1)), "{refused:?}");
    }

    #[tokio::test]
    async fn a_body_without_a_valid_token_is_not_read() {
        let (mut router, _) = router();
        let wrong = sign(b"{}", "key", "a-wrong-secret-of-some-length-too").unwrap();
        for token in [None, Some("Bearer "), Some(wrong.as_str())] {
            let (body, is_read) = pending();
            assert_eq!(post(&mut router, token, body).await, StatusCode::UNAUTHORIZED);
            assert!(!is_read.load(Relaxed), "{token:?}");
        }
    }

    #[test]
    fn a_key_with_an_empty_secret_verifies_no_token() {
        // HS256 over {"alg":"HS256","typ":"JWT"}.{"iss":"keyless","exp":99999999999} with "".
        let token = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
            "eyJpc3MiOiJrZXlsZXNzIiwiZXhwIjo5OTk5OTk5OTk5OX0.",
            "m4D0iRlT6wvhREvHw1F05tLx1vNe3G_fyvhK7Y__W4U",
        );
        let verifier = TokenVerifier::with_api_key("keyless", "");
        assert!(verifier.verify(token).is_ok(), "the token itself is valid");
        let mut keys = Keys::default();
        keys.insert("keyless", "");
        let headers = axum::http::HeaderMap::from_iter([(AUTHORIZATION, token.parse().unwrap())]);
        assert_eq!(token::webhook(&headers, &keys, UNIX_EPOCH), Err(Refusal::UnknownKey));
    }

    #[test]
    fn a_token_that_was_signed_long_ago_is_refused_even_before_it_expires() {
        // HS256 over {"alg":"HS256","typ":"JWT"}.{"iss":"key","nbf":1700000000,"exp":99999999999}.
        let old = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
            "eyJpc3MiOiJrZXkiLCJuYmYiOjE3MDAwMDAwMDAsImV4cCI6OTk5OTk5OTk5OTl9.",
            "W_E6iceHbVY1S0ej58-YvNOvVmvkSG02T6N6CHCDn64",
        );
        assert!(TokenVerifier::with_api_key("key", SECRET).verify(old).is_ok());
        let new = sign(b"", "key", SECRET).unwrap();
        let mut keys = Keys::default();
        for name in ["key", "another"] {
            // With one key and with several.
            keys.insert(name, SECRET);
            let refused = [old, &new].map(|token| {
                let headers =
                    axum::http::HeaderMap::from_iter([(AUTHORIZATION, token.parse().unwrap())]);
                token::webhook(&headers, &keys, SystemTime::now()).err()
            });
            assert!(matches!(refused, [Some(Refusal::Old { .. }), None]), "{refused:?}");
        }
    }
}
