//! Sends a simulation to a running server, like a LiveKit server and its agents.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::posting::Posting;
use super::report::{Outcome, Report};
use super::{Due, Message, Simulation};
use crate::destination::{Destination, Unreachable, reach};
use crate::post::{WebhookError, Webhooks};
use crate::replay::pause;
use crate::streams::{self, StreamError};
use crate::uploads::Uploads;
use livekit_otel_livekit::post::ATTEMPT;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_telemetry::{
    AnalyticsForwarder, AnalyticsService, ForwardError, ForwardSettings, TokenError, Tokens,
};
use livekit_otel_transport::hint::Attempt;

// Each room uses one of these connections, which keeps its order.
const CONNECTIONS: usize = 16;
const WAITING_WEBHOOKS: usize = 16;
// As much as four streams.
const WAITING_MESSAGES: usize = 2048;

/// Why a simulation could not start.
#[derive(Debug, Error)]
pub enum SendError {
    /// A server was not there at the start.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
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
/// everything is acknowledged, or nothing was for [`Destination::retry_for`]; until then, the server
/// may restart. When `stop` is ready, all participants leave and all rooms end.
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
        if timeout(to.retry_for + ATTEMPT, targets.send(due)).await != Ok(true) {
            break;
        }
    }
    let outcomes = targets.finish().await;
    let took = began.elapsed();
    Ok(Report { population: simulation.population(), simulated, took, outcomes })
}

type Counted = Arc<Mutex<Outcome>>;

// The destinations and the outcomes.
struct Targets {
    retry_for: Duration,
    connections: Vec<mpsc::Sender<Bytes>>,
    posting: JoinSet<()>,
    webhooks: Counted,
    forwarder: Option<(Attempt, AnalyticsForwarder)>,
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
            reach(&Webhooks::address(to), &to.webhook).await?;
            let poster = Arc::new(Webhooks::new(to));
            for _ in 0..CONNECTIONS {
                let (bodies, waiting) = mpsc::channel(WAITING_WEBHOOKS);
                connections.push(bodies);
                posting.spawn(post(Arc::clone(&poster), waiting, Arc::clone(&webhooks)));
            }
        }
        let mut forwarder = None;
        if settings.analytics {
            let address = streams::address(to);
            reach(&address, &to.analytics).await?;
            let is_signed = !to.key.is_empty();
            let tokens = is_signed.then(|| Tokens::minted(&to.key, &to.secret)).transpose()?;
            let forward = ForwardSettings::to(&to.analytics.to_string())?
                .tokens(tokens)
                .node_id(simulation.node())
                // Messages are limited by their number.
                .max_bytes(usize::MAX);
            forwarder = Some((address, AnalyticsForwarder::start(forward)?));
        }
        let mut uploads = None;
        if settings.agents > 0 {
            reach(&Uploads::address(to), &to.uploads).await?;
            uploads = Some(Posting::start(to));
        }
        let (events, stats) = (Outcome::default(), Outcome::default());
        let retry_for = to.retry_for;
        Ok(Self { retry_for, connections, posting, webhooks, forwarder, events, stats, uploads })
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
            (Message::Event(event), Some((_, forwarder))) => {
                forwarder.wait_for_capacity(Source::Events, WAITING_MESSAGES).await;
                forwarder.send_event(*event);
            }
            (Message::Stats(stats), Some((_, forwarder))) => {
                forwarder.wait_for_capacity(Source::Stats, WAITING_MESSAGES).await;
                forwarder.send_stats(stats);
            }
            _ => {}
        }
        true
    }

    // Waits until everything is acknowledged.
    async fn finish(mut self) -> Vec<(Source, Outcome)> {
        let deadline = Instant::now() + self.retry_for + ATTEMPT;
        let has_webhooks = !self.connections.is_empty();
        self.connections.clear();
        let mut outcomes = Vec::new();
        if let Some((address, forwarder)) = &self.forwarder {
            forwarder.shutdown(deadline).await;
            for (source, outcome) in [(Source::Events, self.events), (Source::Stats, self.stats)] {
                let acknowledged = forwarder.counts(source).acknowledged;
                let retried = forwarder.retried(source).messages;
                let failure = forwarder.last_failure(source);
                let failure = failure.as_deref().and_then(|it| it.downcast_ref::<tonic::Status>());
                let error = failure
                    .map(|it| StreamError::of(it, address.clone(), source.as_str()).to_string());
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
        let posted = poster.send(body, || lock(&counted).retried += 1).await;
        let is_gone = matches!(posted, Err(WebhookError::Away { .. }));
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
