//! The endpoints for an operator. They have a listener of their own, so that senders can't block probes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::refusals::{Refusals, Sender, advice};
use super::{Shared, prometheus};
use livekit_otel_durable::journal::{DeadLetters, IntakeBudget, Readiness};
use livekit_otel_ledger::health::Paused;
use livekit_otel_ledger::status::Status;
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_model::Source;
use livekit_otel_pipeline::own::Own;

/// The state of the endpoints. It does not hold the journal, which could not end then.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    own: Own,
    ledger: Arc<Ledger>,
    budget: Option<Arc<IntakeBudget>>,
    dead_letters: Arc<DeadLetters>,
    readiness: Arc<Readiness>,
    refusals: Arc<Refusals>,
}

impl Admin {
    pub(super) fn new(shared: &Shared) -> Self {
        let budget = shared.journal.is_durable().then(|| Arc::clone(shared.journal.budget()));
        let ledger = Arc::clone(&shared.ledger);
        let own = Own::new(Arc::clone(&ledger), budget.clone());
        let dead_letters = Arc::clone(&shared.dead_letters);
        Self {
            own,
            ledger,
            budget,
            dead_letters,
            readiness: Arc::clone(shared.journal.readiness()),
            refusals: Arc::new(Refusals::new(&shared.ledger)),
        }
    }

    /// GET /healthz (the process lives) and GET /readyz (it accepts input, or why it does not).
    pub(super) fn probes(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .with_state(self)
    }

    /// GET /status: the ledger, which holds counts and no data of rooms or participants.
    pub(super) fn status(self) -> Router {
        Router::new().route("/status", get(status)).with_state(self)
    }

    /// These, and GET /metrics: the program's own metrics for Prometheus.
    pub(super) fn all(self) -> Router {
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(self.clone());
        let other = Router::new().fallback(other).with_state(self.clone());
        self.clone().probes().merge(self.status()).merge(metrics).merge(other)
    }
}

// LiveKit's webhooks, if their URL has this listener's port.
async fn other(State(admin): State<Admin>, request: Request) -> StatusCode {
    if request.method() == Method::POST {
        let sender = Sender::of(request.extensions()).asking(request.uri().path());
        let refusal = (Source::Webhook, Refused::WrongPath, advice::ADMIN);
        admin.refusals.note(refusal, &sender);
    }
    StatusCode::NOT_FOUND
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.readiness.check() {
        Some(Paused { reason, text, .. }) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}: {text}\n")).into_response()
        }
        None => "ok\n".into_response(),
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    admin.readiness.check();
    let disk_bytes = admin.budget.as_ref().map(|budget| budget.on_disk());
    let mut status = Status::new(
        admin.ledger.snapshot(),
        admin.ledger.health().report(),
        disk_bytes,
        admin.dead_letters.len(),
    );
    status.journal = Some(admin.readiness.usage());
    let json = serde_json::to_vec_pretty(&status).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], prometheus::text(&admin.own)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tonic::codegen::Service;

    use super::super::accepted;
    use super::*;
    use livekit_otel_durable::journal;
    use livekit_otel_livekit::keys::KeyRing;
    use livekit_otel_model::Source;

    async fn get(router: &mut Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.call(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_exactly_while_a_message_would_be_accepted() {
        let ledger = Arc::<Ledger>::default();
        let (journal, mut reader) = journal::in_memory(1500, &ledger);
        let dead_letters = Arc::new(DeadLetters::in_memory(0));
        let shared = Shared {
            keys: KeyRing::default(),
            journal,
            ledger,
            dead_letters,
            reader: Arc::default(),
        };
        let mut router = Admin::new(&shared).all();
        let append = || {
            let raw = vec![b' '; 1000].into();
            shared.journal.try_append(accepted(Source::Webhook, None, raw, false)).is_ok()
        };
        assert!(append());
        let full = "journal_full: 1000 B of messages wait in memory, and at most 1.5 KiB may wait \
                    (journal.max_bytes). Set journal.dir, or raise journal.max_bytes\n";
        assert_eq!(get(&mut router, "/readyz").await, (503, full.to_owned()));
        assert!(!append());
        let status: Status = serde_json::from_str(&get(&mut router, "/status").await.1).unwrap();
        assert_eq!(status.health.intake.unwrap().reason.as_str(), "journal_full");
        let usage = status.journal.unwrap();
        assert_eq!((usage.used, usage.limit, usage.highest), (1000, 1500, 1000));
        reader.next().await.unwrap();
        assert_eq!(get(&mut router, "/readyz").await, (200, "ok\n".to_owned()));
        assert!(append());

        shared.journal.readiness().drain();
        let draining =
            "draining: the program is shutting down; what it accepted is delivered first\n";
        assert_eq!(get(&mut router, "/readyz").await, (503, draining.to_owned()));
        assert_eq!(get(&mut router, "/healthz").await.0, 200);
    }
}
