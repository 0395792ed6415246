//! The endpoints for an operator. They have a listener of their own, so that senders can't block probes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::{Shared, prometheus};
use livekit_otel_durable::journal::{DeadLetters, IntakeBudget};
use livekit_otel_ledger::Ledger;
use livekit_otel_ledger::status::Status;
use livekit_otel_pipeline::own::Own;

/// The state of the endpoints. It does not hold the journal, which could not end then.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    own: Own,
    ledger: Arc<Ledger>,
    budget: Option<Arc<IntakeBudget>>,
    dead_letters: Arc<DeadLetters>,
    stop: watch::Receiver<bool>,
}

impl Admin {
    pub(super) fn new(shared: &Shared, stop: watch::Receiver<bool>) -> Self {
        let budget = shared.journal.is_durable().then(|| Arc::clone(shared.journal.budget()));
        let ledger = Arc::clone(&shared.ledger);
        let own = Own::new(Arc::clone(&ledger), budget.clone());
        Self { own, ledger, budget, dead_letters: Arc::clone(&shared.dead_letters), stop }
    }

    /// GET /healthz (the process lives) and GET /readyz (it accepts input).
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
        self.clone().probes().merge(self.status()).merge(metrics)
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    if *admin.stop.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    let disk_bytes = admin.budget.as_ref().map(|budget| budget.on_disk());
    let status = Status::new(
        admin.ledger.snapshot(),
        admin.ledger.health().report(),
        disk_bytes,
        admin.dead_letters.len(),
    );
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
    use tonic::codegen::Service;

    use super::*;
    use livekit_otel_durable::journal;
    use livekit_otel_livekit::keys::KeyRing;

    #[tokio::test]
    async fn it_is_not_ready_during_shutdown() {
        let ledger = Arc::<Ledger>::default();
        let (journal, _) = journal::in_memory(1000, &ledger);
        let dead_letters = Arc::new(DeadLetters::in_memory(0));
        let shared = Shared {
            keys: KeyRing::default(),
            journal,
            ledger,
            dead_letters,
            reader: Arc::default(),
        };
        for (stopped, ready) in [(false, 200), (true, 503)] {
            let (_, stop) = watch::channel(stopped);
            let mut router = Admin::new(&shared, stop).all();
            for (path, status) in [("/readyz", ready), ("/healthz", 200), ("/status", 200)] {
                let request = Request::get(path).body(Body::empty()).unwrap();
                assert_eq!(router.call(request).await.unwrap().status(), status, "{path}");
            }
        }
    }
}
