//! Sends a simulation to a running server, like a LiveKit server and its agents.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::posting::Posting;
use super::report::{Outcome, Report};
use super::{Due, Message, Simulation};
use crate::post::{WebhookError, Webhooks};
use crate::replay::{Destination, pause};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_telemetry::{
    AnalyticsForwarder, AnalyticsService, ForwardError, ForwardSettings, Retried, TokenError,
    Tokens,
};

// Each room uses one of these connections, which keeps its order.
const CONNECTIONS: usize = 16;
const WAITING_WEBHOOKS: usize = 16;
// As much as four streams.
const WAITING_MESSAGES: usize = 2048;
// A server that acknowledges nothing for this long is considered gone.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);

/// Why a simulation could not start.
#[derive(Debug, Error)]
pub enum SendError {
    /// The address can't be reached.
    #[error("{uri} can't be reached: {kind}")]
    Unreachable {
        /// The address.
        uri: Uri,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// The address for analytics can't be used.
    #[error("the analytics can't be sent: {0}")]
    Forward(#[from] ForwardError),
    /// Tokens for the analytics can't be made.
    #[error("the analytics can't be sent: {0}")]
    Token(#[from] TokenError),
}

/// The start of a simulation that is sent from `now` on, chosen so that no message is in the
/// future.
pub fn start(duration: Duration, speed: f64, now: Time) -> Time {
    let takes = Duration::try_from_secs_f64(duration.as_secs_f64() / speed).unwrap_or(duration);
    let ahead = duration.saturating_sub(takes);
    let nanos = now.nanos().saturating_sub(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX));
    Time::from_nanos(nanos).unwrap_or(now)
}

/// Sends `simulation`, and calls `progress` with the simulated time that has passed. Returns when
/// everything is acknowledged, or nothing was for half a minute. When `stop` is ready, all
/// participants leave and all rooms end.
///
/// # Errors
/// If the server can't be reached.
pub async fn send(
    mut simulation: Simulation,
    to: &Destination,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(Duration),
) -> Result<Report, SendError> {
    let mut targets = Targets::start(&simulation, to).await?;
    let mut stop = pin!(stop);
    let mut is_stopped = false;
    let mut simulated = Duration::ZERO;
    let began = Instant::now();
    while let Some(at) = simulation.next_at() {
        if !is_stopped {
            tokio::select! {
                biased;
                () = &mut stop => {
                    is_stopped = true;
                    simulation.stop();
                    continue;
                }
                () = pause(began, at, to.speed) => {}
            }
        }
        let Some(due) = simulation.next() else { break };
        simulated = at;
        progress(at);
        if timeout(PATIENCE, targets.send(due)).await != Ok(true) {
            break;
        }
    }
    let outcomes = targets.finish().await;
    let took = began.elapsed();
    Ok(Report { population: simulation.population(), simulated, took, outcomes })
}

async fn reach(uri: &Uri) -> Result<(), SendError> {
    let unreachable = |kind| SendError::Unreachable { uri: uri.clone(), kind };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let connected = TcpStream::connect((host, uri.port_u16().unwrap_or(80)));
    let connected = timeout(CONNECT, connected).await;
    let connected = connected.map_err(|_| unreachable(std::io::ErrorKind::TimedOut))?;
    connected.map(|_| ()).map_err(|error| unreachable(error.kind()))
}

type Counted = Arc<Mutex<Outcome>>;

// The destinations and the outcomes.
struct Targets {
    connections: Vec<mpsc::Sender<Bytes>>,
    posting: JoinSet<()>,
    webhooks: Counted,
    forwarder: Option<AnalyticsForwarder>,
    events: Outcome,
    stats: Outcome,
    uploads: Option<Posting>,
}

impl Targets {
    async fn start(simulation: &Simulation, to: &Destination) -> Result<Self, SendError> {
        let settings = simulation.settings();
        let webhooks = Counted::default();
        let mut posting = JoinSet::new();
        let mut connections = Vec::new();
        if settings.webhooks {
            reach(&to.webhook).await?;
            let poster = Arc::new(Webhooks::new(to.webhook.clone(), &to.key, &to.secret));
            for _ in 0..CONNECTIONS {
                let (bodies, waiting) = mpsc::channel(WAITING_WEBHOOKS);
                connections.push(bodies);
                posting.spawn(post(Arc::clone(&poster), waiting, Arc::clone(&webhooks)));
            }
        }
        let mut forwarder = None;
        if settings.analytics {
            reach(&to.analytics).await?;
            let is_signed = !to.key.is_empty();
            let tokens = is_signed.then(|| Tokens::minted(&to.key, &to.secret)).transpose()?;
            let forward = ForwardSettings::to(&to.analytics.to_string())?
                .tokens(tokens)
                .node_id(simulation.node())
                // Messages are limited by their number.
                .max_bytes(usize::MAX);
            forwarder = Some(AnalyticsForwarder::start(forward)?);
        }
        let mut uploads = None;
        if settings.agents > 0 {
            reach(&to.uploads).await?;
            uploads = Some(Posting::start(to, PATIENCE));
        }
        let (events, stats) = (Outcome::default(), Outcome::default());
        Ok(Self { connections, posting, webhooks, forwarder, events, stats, uploads })
    }

    // Waits for space in a queue. Returns false if the server is gone. A message without a
    // destination is not sent.
    async fn send(&mut self, due: Due) -> bool {
        let message = due.message;
        match &message {
            Message::Webhook(_) => lock(&self.webhooks).count(&message),
            Message::Event(_) => self.events.count(&message),
            Message::Stats(_) => self.stats.count(&message),
            Message::Upload(upload) => {
                if let Some(uploads) = &self.uploads {
                    uploads.count(upload.source, &message);
                }
            }
        }
        match (message, &self.forwarder) {
            (Message::Webhook(webhook), _) if !self.connections.is_empty() => {
                // LiveKit's messages can always be written as JSON.
                let body = serde_json::to_vec(&webhook).unwrap_or_default();
                let connection = &self.connections[due.place % self.connections.len()];
                return connection.send(body.into()).await.is_ok();
            }
            (Message::Upload(upload), _) => {
                return match &self.uploads {
                    Some(uploads) => uploads.send(due.place, upload).await,
                    None => true,
                };
            }
            (Message::Event(event), Some(forwarder)) => {
                forwarder.wait_for_capacity(Source::Events, WAITING_MESSAGES).await;
                forwarder.send_event(*event);
            }
            (Message::Stats(stats), Some(forwarder)) => {
                forwarder.wait_for_capacity(Source::Stats, WAITING_MESSAGES).await;
                forwarder.send_stats(stats);
            }
            _ => {}
        }
        true
    }

    // Waits until everything is acknowledged.
    async fn finish(mut self) -> Vec<(Source, Outcome)> {
        let deadline = Instant::now() + PATIENCE;
        let has_webhooks = !self.connections.is_empty();
        self.connections.clear();
        let mut outcomes = Vec::new();
        if let Some(forwarder) = &self.forwarder {
            forwarder.shutdown(deadline).await;
            for (source, outcome) in [(Source::Events, self.events), (Source::Stats, self.stats)] {
                let acknowledged = forwarder.counts(source).acknowledged;
                let Retried { messages: retried, last, .. } = forwarder.retried(source);
                let error = last.map(|code| format!("a stream failed: {code}"));
                outcomes.push((source, Outcome { acknowledged, retried, error, ..outcome }));
            }
        }
        while let Ok(Some(_)) = timeout_at(deadline, self.posting.join_next()).await {}
        if has_webhooks {
            outcomes.insert(0, (Source::Webhook, lock(&self.webhooks).clone()));
        }
        if let Some(uploads) = self.uploads {
            outcomes.extend(uploads.finish(deadline).await);
        }
        outcomes
    }
}

fn lock(counted: &Counted) -> std::sync::MutexGuard<'_, Outcome> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

// Posts one webhook after the other, until the server is gone.
async fn post(poster: Arc<Webhooks>, mut waiting: mpsc::Receiver<Bytes>, counted: Counted) {
    while let Some(body) = waiting.recv().await {
        let posted = patiently(&poster, body, &counted).await;
        let is_gone = matches!(posted, Err(WebhookError::Unreachable(_)));
        let mut counted = lock(&counted);
        match posted {
            Ok(()) => counted.acknowledged += 1,
            Err(error) => {
                counted.error.get_or_insert_with(|| error.to_string());
            }
        }
        if is_gone {
            return;
        }
    }
}

// Waits for a server that can't be reached.
async fn patiently(poster: &Webhooks, body: Bytes, counted: &Counted) -> Result<(), WebhookError> {
    let retrying = || lock(counted).retried += 1;
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_secs(1);
    loop {
        match poster.send(body.clone(), retrying).await {
            Err(WebhookError::Unreachable(_)) if Instant::now() + pause < until => {
                retrying();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}
