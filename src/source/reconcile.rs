//! Asks LiveKit's API: lists the rooms at intervals, and asks what the engine wants to know. Each answer is
//! one input.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{StatusCode, Uri};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::api::{Api, ApiError, TIMEOUT};
use super::refusals::{Refusals, Sender};
use super::tasks::stopped;
use super::{Shared, accepted, parse};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_livekit::{ApiAnswer, ApiRequest, ApiRooms, Read};
use livekit_otel_model::Source;
use livekit_otel_model::event::answer::Question;
use livekit_otel_model::event::{Time, Unknown};
use livekit_otel_pipeline::Questions;
use livekit_otel_transport::chain;
use livekit_otel_transport::client;
use livekit_otel_transport::proxy::Route;

// So many failures in a row are a warning: a room may end while it is asked about. The list of rooms has no
// such reason.
const FAILING: u32 = 3;

/// The API's address, and how often it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The base URL, http or https.
    pub url: Uri,
    /// The API key that signs requests; its secret is in [`Shared::keys`].
    pub key: String,
    /// Time from one list of the rooms to the next.
    pub interval: Duration,
    /// The most requests in a second, from 1 to 1000.
    pub requests_per_second: u32,
    /// The proxy, if the environment's variables name one for this URL.
    pub route: Route,
}

/// The system's certificates can't be used.
#[derive(Debug, Error)]
#[error("can't connect to LiveKit's API")]
pub struct StartError(#[source] client::CertificatesError);

/// A reconciler that is not started yet.
#[derive(Debug)]
pub struct Prepared {
    interval: Duration,
    api: Api,
    shared: Shared,
    refusals: Refusals,
    // How often in a row each method has failed.
    failures: BTreeMap<&'static str, u32>,
}

/// The running task. A drop stops it without waiting.
#[derive(Debug)]
pub struct Reconciler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reconciler {
    /// Stops, and waits until `deadline` for an answer that is being written to the journal.
    pub async fn stop(mut self, deadline: Instant) {
        // An error means that the task has ended.
        let _ = self.stop.send(true);
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            // It keeps the journal open until it has ended.
            let _ = self.task.await;
        }
    }
}

// An answer for the journal, and what is unknown in it.
type Encoded = (Bytes, Unknown);

impl Prepared {
    /// # Errors
    /// If the API is used over https, and the system has no certificates.
    pub fn new(settings: Settings, shared: Shared) -> Result<Self, StartError> {
        let Settings { url, key, interval, requests_per_second, route } = settings;
        let api = Api::new((url, key, requests_per_second, route), shared.keys.clone());
        let (api, refusals) = (api.map_err(StartError)?, Refusals::new(&shared.ledger));
        Ok(Self { interval, api, shared, refusals, failures: BTreeMap::new() })
    }

    /// Starts the task.
    pub(crate) fn start(self, questions: Questions, faults: &Faults) -> Reconciler {
        let (stop, stopping) = watch::channel(false);
        let faults = faults.clone();
        let task = tokio::spawn(async move {
            faults.watch("the reconciler", self.run(questions, stopping)).await;
        });
        Reconciler { stop, task }
    }

    async fn run(mut self, mut questions: Questions, stop: watch::Receiver<bool>) {
        let mut rounds = tokio::time::interval(self.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = pin!(stopped(stop));
        loop {
            let (method, answer) = tokio::select! {
                biased;
                () = &mut stopped => return,
                asked = self.ask(&mut rounds, &mut questions) => asked,
            };
            let done = match answer {
                Ok(Some(answer)) => self.accept(answer).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            self.record(method, done);
        }
    }

    // Asks what is due next; returns the method and the answer, if there is one.
    async fn ask(
        &mut self,
        rounds: &mut Interval,
        questions: &mut Questions,
    ) -> (&'static str, Result<Option<Encoded>, ApiError>) {
        self.api.ready().await;
        let question = tokio::select! {
            biased;
            _ = rounds.tick() => None,
            question = questions.next() => Some(question),
        };
        let request = question.as_ref().map_or_else(ApiRequest::rooms, ApiRequest::new);
        let method = request.method;
        let at = Time::from_system(SystemTime::now());
        let response = self.api.send(request).await;
        (method, answer(at, question.as_ref(), response))
    }

    async fn accept(&self, (raw, unknown): Encoded) -> Result<(), ApiError> {
        let read = Read { unknown, ..parse(Source::Api, &raw)? };
        let input = accepted(Source::Api, Some(read), raw, false);
        let appended = tokio::time::timeout(TIMEOUT, self.shared.journal.append(input)).await;
        let mut pending = appended.map_err(|_| ApiError::Busy)?.map_err(|_| ApiError::Busy)?;
        pending.durable().await.map_err(|_| ApiError::Busy)
    }

    fn record(&mut self, method: &'static str, done: Result<(), ApiError>) {
        let failures = self.failures.entry(method).or_default();
        let most = self::most(method);
        let attempt = self.api.attempt();
        let address = attempt.address();
        match done {
            Ok(()) => {
                if std::mem::take(failures) >= most {
                    tracing::info!(address, method, "LiveKit's API answers again");
                    let fails = |(of, failures): (&&str, &u32)| *failures >= self::most(of);
                    if !self.failures.iter().any(fails) {
                        self.refusals.end(Source::Api);
                    }
                }
            }
            Err(error) => {
                *failures = failures.saturating_add(1);
                let (why, hint) = (error.refused(), self.api.hint(&error));
                let error = chain(&error);
                if *failures >= most {
                    let hint = hint.map(|hint| format!(". {hint}")).unwrap_or_default();
                    let text = format!("{method} at {attempt}: {error}{hint}");
                    let sender = Sender::ours(self.api.key());
                    self.refusals.note((Source::Api, why, &text), &sender);
                } else {
                    self.refusals.count(Source::Api, why);
                    tracing::debug!(address, method, error, "LiveKit's API does not answer");
                }
            }
        }
    }
}

// So many failures in a row are a warning.
fn most(method: &str) -> u32 {
    if method == ApiRequest::ROOMS { 1 } else { FAILING }
}

// What a response means. The API answers 404 for a participant that has left, and for a room that has ended.
fn answer(
    at: Time,
    question: Option<&Question>,
    response: Result<Bytes, ApiError>,
) -> Result<Option<Encoded>, ApiError> {
    let Some(question) = question else {
        let rooms = ApiRooms::new(at, &response?)?;
        return Ok(Some((rooms.encode(), rooms.unknown())));
    };
    let answer = match response {
        Err(ApiError::Status(StatusCode::NOT_FOUND)) => ApiAnswer::gone(at, question),
        response => Some(ApiAnswer::new(at, question, &response?)?),
    };
    Ok(answer.map(|answer| {
        let unknown = answer.unknown();
        (answer.encode(), unknown)
    }))
}
