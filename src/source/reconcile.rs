//! Lists rooms and participants with LiveKit's API at intervals. Each round is one input.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use livekit_token::{AccessToken, AccessTokenError, VideoGrants};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::tasks::stopped;
use super::{Shared, accepted, parse};
use livekit_otel_ledger::Refused;
use livekit_otel_ledger::faults::Faults;
use livekit_otel_livekit::{ApiRooms, Read, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_transport::chain;
use livekit_otel_transport::client::{self, Client};

// For one answer, and for the journal.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 8 << 20;
// A round ends at this size, this many rooms or this time (the list must not be old when it is
// compared). The next round continues after the last room.
const MAX_LIST: usize = 8 << 20;
const MAX_ROOMS: usize = 1000;
const MAX_ROUND: Duration = Duration::from_secs(30);
const TOKEN_TTL: Duration = Duration::from_mins(1);

/// The API's address, and how often its rooms are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The base URL, http or https.
    pub url: Uri,
    /// The API key that signs requests; its secret is in [`Shared::keys`].
    pub key: String,
    /// Time from one round to the next.
    pub interval: Duration,
}

/// The system's certificates can't be used.
#[derive(Debug, Error)]
#[error("can't connect to LiveKit's API")]
pub struct StartError(#[source] client::CertificatesError);

// Why a round fails.
#[derive(Debug, Error)]
enum ApiError {
    #[error("there is no secret for the API key")]
    NoSecret,
    #[error("the token can't be created")]
    Token(#[from] AccessTokenError),
    #[error("the request can't be created")]
    Request(#[from] http::Error),
    #[error("the request failed")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer is incomplete")]
    Incomplete,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the journal is full")]
    Busy,
}

impl ApiError {
    fn refused(&self) -> Refused {
        match self {
            Self::NoSecret
            | Self::Token(_)
            | Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Refused::Unauthorized
            }
            Self::TooLarge => Refused::TooLarge,
            Self::Unreadable(_) => Refused::Malformed,
            Self::Busy => Refused::Busy,
            _ => Refused::Unavailable,
        }
    }
}

/// A reconciler that is not started yet.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    client: Client,
    shared: Shared,
    // The last room whose participants were listed.
    last_listed: String,
    is_failing: bool,
}

/// The running task. A drop stops it without waiting.
#[derive(Debug)]
pub struct Reconciler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reconciler {
    /// Stops, and waits until `deadline` for a list that is being written to the journal.
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

impl Prepared {
    /// # Errors
    /// If the API is used over https, and the system has no certificates.
    pub fn new(settings: Settings, shared: Shared) -> Result<Self, StartError> {
        let client = client::new(settings.url.scheme_str() == Some("https")).map_err(StartError)?;
        Ok(Self { settings, client, shared, last_listed: String::new(), is_failing: false })
    }

    /// Starts the task.
    pub(crate) fn start(self, faults: &Faults) -> Reconciler {
        let (stop, stopping) = watch::channel(false);
        let faults = faults.clone();
        let task = tokio::spawn(async move {
            faults.watch("the reconciler", self.run(stopping)).await;
        });
        Reconciler { stop, task }
    }

    async fn run(mut self, stop: watch::Receiver<bool>) {
        let mut rounds = tokio::time::interval(self.settings.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = pin!(stopped(stop));
        loop {
            let round = async {
                rounds.tick().await;
                self.list().await
            };
            let listed = tokio::select! {
                biased;
                () = &mut stopped => return,
                listed = round => listed,
            };
            let done = match listed {
                Ok((rooms, failed)) => self.accept(&rooms).await.and(failed.map_or(Ok(()), Err)),
                Err(error) => Err(error),
            };
            self.record(done);
        }
    }

    // The rooms with their participants, as far as they could be listed, and the error that ended the round.
    async fn list(&mut self) -> Result<(ApiRooms, Option<ApiError>), ApiError> {
        let started = Instant::now();
        let at = Time::from_system(SystemTime::now());
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        let answer = self.request("ListRooms", grants, Bytes::new()).await?;
        let mut rooms = ApiRooms::new(at, &answer)?;
        let all: Vec<_> =
            rooms.rooms().map(|(sid, name)| (sid.to_owned(), name.to_owned())).collect();
        let first = all.partition_point(|(sid, _)| *sid <= self.last_listed);
        let order = (first..all.len()).chain(0..first).take(MAX_ROOMS);
        let mut size = rooms.size();
        for nth in order {
            if size >= MAX_LIST || started.elapsed() >= MAX_ROUND {
                break;
            }
            let (sid, name) = &all[nth];
            self.last_listed.clone_from(sid);
            let grants =
                VideoGrants { room_admin: true, room: name.clone(), ..VideoGrants::default() };
            let answer = self.request("ListParticipants", grants, ApiRooms::request(name)).await;
            match answer.and_then(|answer| Ok(rooms.add(nth, &answer)?)) {
                Ok(more) => size += more,
                // The room has ended.
                Err(ApiError::Status(StatusCode::NOT_FOUND)) => {}
                Err(error) => return Ok((rooms, Some(error))),
            }
        }
        Ok((rooms, None))
    }

    async fn request(
        &self,
        method: &str,
        grants: VideoGrants,
        body: Bytes,
    ) -> Result<Bytes, ApiError> {
        let Settings { url, key, .. } = &self.settings;
        let keys = self.shared.keys.now();
        let secret = keys.secret(key).ok_or(ApiError::NoSecret)?;
        let token = AccessToken::with_api_key(key, secret);
        let token = token.with_ttl(TOKEN_TTL).with_grants(grants).to_jwt()?;
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(http::Error::from)?;
        authorization.set_sensitive(true);
        let request = Request::post(format!("{url}twirp/livekit.RoomService/{method}"))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/protobuf")
            .body(Full::new(body))?;
        let answer = tokio::time::timeout(TIMEOUT, self.send(request)).await;
        answer.map_err(|_| ApiError::Timeout)?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ApiError> {
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(ApiError::Status(response.status()));
        }
        match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
            Err(_) => Err(ApiError::Incomplete),
        }
    }

    async fn accept(&self, rooms: &ApiRooms) -> Result<(), ApiError> {
        let raw = rooms.encode();
        let read = Read { unknown: rooms.unknown(), ..parse(Source::Api, &raw)? };
        let input = accepted(Source::Api, Some(read), raw, false);
        let appended = tokio::time::timeout(TIMEOUT, self.shared.journal.append(input)).await;
        let mut pending = appended.map_err(|_| ApiError::Busy)?.map_err(|_| ApiError::Busy)?;
        pending.durable().await.map_err(|_| ApiError::Busy)
    }

    // Only the first of successive failures is a warning.
    fn record(&mut self, done: Result<(), ApiError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        let host = self.settings.url.host().unwrap_or_default();
        match done {
            Ok(()) if was_failing => tracing::info!(host, "LiveKit's API lists rooms again"),
            Ok(()) => {}
            Err(error) => {
                self.shared.ledger.refused(Source::Api, error.refused());
                let error = chain(&error);
                if was_failing {
                    tracing::debug!(host, error, "LiveKit's API could not list rooms");
                } else {
                    tracing::warn!(host, error, "LiveKit's API could not list rooms");
                }
            }
        }
    }
}
