//! A receiver of webhooks that answers as a test wants.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use livekit_api::webhooks::WebhookReceiver;
use livekit_otel_telemetry::messages::WebhookEvent;
use livekit_token::{Claims, TokenVerifier};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::LONG;

/// A request that the receiver holds until it is answered.
pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    answer: oneshot::Sender<(StatusCode, HeaderMap)>,
}

impl Received {
    pub(super) fn event(&self) -> WebhookEvent {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn id(&self) -> String {
        self.event().id
    }

    #[allow(deprecated)]
    pub(super) fn num_dropped(&self) -> i32 {
        self.event().num_dropped
    }

    pub(super) fn token(&self) -> &str {
        self.headers["authorization"].to_str().unwrap()
    }

    pub(super) fn key(&self) -> String {
        Claims::from_unverified(self.token()).unwrap().iss
    }

    /// As LiveKit's own receiver reads it.
    pub(super) fn read(&self, key: &str, secret: &str) -> Option<WebhookEvent> {
        let receiver = WebhookReceiver::new(TokenVerifier::with_api_key(key, secret));
        receiver.receive(std::str::from_utf8(&self.body).unwrap(), self.token()).ok()
    }

    pub(super) fn answer(self, status: u16) {
        self.answer_with(status, &[]);
    }

    pub(super) fn answer_with(self, status: u16, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), value.parse().unwrap())
        });
        let status = StatusCode::from_u16(status).unwrap();
        // The notifier may have ended.
        let _ = self.answer.send((status, headers.collect()));
    }
}

pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, received) = mpsc::unbounded_channel();
        let router = Router::new().fallback(receive).with_state(requests);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn next(&mut self) -> Received {
        timeout(LONG, self.received.recv()).await.expect("a webhook in time").unwrap()
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

async fn receive(
    State(requests): State<mpsc::UnboundedSender<Received>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let (answer, answered) = oneshot::channel();
    let path = uri.to_string();
    requests.send(Received { path, headers, body, answer }).unwrap();
    // A request that the test drops is never answered.
    match answered.await {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}
