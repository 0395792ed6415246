//! LiveKit's API, asked at intervals which rooms and participants there are: one input a round.

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
use livekit_otel_livekit::{ApiRooms, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_transport::client::{self, Client};

// For one answer, and for room in the journal.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 8 << 20;
// From this size on no more is asked in a round; what was not, is in the next.
const MAX_LIST: usize = 8 << 20;
// So are those after as many rooms.
const MAX_ROOMS: usize = 1000;
// And those after so long: a list must not be old when it is compared.
const MAX_ROUND: Duration = Duration::from_secs(30);
const TOKEN_TTL: Duration = Duration::from_mins(1);

/// Where the API is, and how often it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its base, over http or https.
    pub url: Uri,
    /// The API key that signs; its secret is that of [`Shared::keys`].
    pub key: String,
    /// From one round to the next.
    pub interval: Duration,
}

/// The system's certificates can't be used.
#[derive(Debug, Error)]
#[error("LiveKit's API can't be asked: {0}")]
pub struct StartError(String);

// Why a question has no answer.
#[derive(Debug, Error)]
enum AskError {
    #[error("there is no secret for the API key")]
    NoSecret,
    #[error("no token can be made: {0}")]
    Token(#[from] AccessTokenError),
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
    #[error("it can't be reached: {0}")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is too large")]
    TooLarge,
    #[error("its answer broke off")]
    BrokeOff,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the journal is full")]
    Busy,
}

impl AskError {
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

/// All that it takes to ask.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    client: Client,
    shared: Shared,
    // The SID up to which rooms were asked who is in them.
    asked: String,
    is_failing: bool,
}

/// The task that asks. Dropped, it stops without being waited for.
#[derive(Debug)]
pub struct Reconciler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Reconciler {
    /// Ends it; a list that the journal is taking is waited for until `deadline`.
    pub async fn stop(mut self, deadline: Instant) {
        // Nobody left to hear it is as good.
        let _ = self.stop.send(true);
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            self.task.abort();
            // It holds the journal until it is gone.
            let _ = self.task.await;
        }
    }
}

impl Prepared {
    /// # Errors
    /// Where the API is asked over https, and the system has no certificates.
    pub fn new(settings: Settings, shared: Shared) -> Result<Self, StartError> {
        let client = client::new(settings.url.scheme_str() == Some("https")).map_err(StartError)?;
        Ok(Self { settings, client, shared, asked: String::new(), is_failing: false })
    }

    /// Asks from now on.
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
            self.note(done);
        }
    }

    // The rooms and who is in them, as far as that could be learned.
    async fn list(&mut self) -> Result<(ApiRooms, Option<AskError>), AskError> {
        let began = Instant::now();
        let at = Time::from_system(SystemTime::now());
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        let answer = self.ask("ListRooms", grants, Bytes::new()).await?;
        let mut rooms = ApiRooms::new(at, &answer)?;
        let all: Vec<_> =
            rooms.rooms().map(|(sid, name)| (sid.to_owned(), name.to_owned())).collect();
        let first = all.partition_point(|(sid, _)| *sid <= self.asked);
        let asked = (first..all.len()).chain(0..first).take(MAX_ROOMS);
        let mut size = rooms.size();
        for nth in asked {
            if size >= MAX_LIST || began.elapsed() >= MAX_ROUND {
                break;
            }
            let (sid, name) = &all[nth];
            self.asked.clone_from(sid);
            let grants =
                VideoGrants { room_admin: true, room: name.clone(), ..VideoGrants::default() };
            let answer = self.ask("ListParticipants", grants, ApiRooms::request(name)).await;
            match answer.and_then(|answer| Ok(rooms.add(nth, &answer)?)) {
                Ok(more) => size += more,
                // It has ended since.
                Err(AskError::Status(StatusCode::NOT_FOUND)) => {}
                Err(error) => return Ok((rooms, Some(error))),
            }
        }
        Ok((rooms, None))
    }

    async fn ask(&self, method: &str, grants: VideoGrants, body: Bytes) -> Result<Bytes, AskError> {
        let Settings { url, key, .. } = &self.settings;
        let keys = self.shared.keys.now();
        let secret = keys.secret(key).ok_or(AskError::NoSecret)?;
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
        answer.map_err(|_| AskError::Timeout)?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, AskError> {
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(AskError::TooLarge),
            Err(_) => Err(AskError::BrokeOff),
        }
    }

    async fn accept(&self, rooms: &ApiRooms) -> Result<(), AskError> {
        let raw = rooms.encode();
        let input = accepted(Source::Api, Some(parse(Source::Api, &raw)?), raw, false);
        let taken = tokio::time::timeout(TIMEOUT, self.shared.journal.append(input)).await;
        let mut pending = taken.map_err(|_| AskError::Busy)?.map_err(|_| AskError::Busy)?;
        pending.durable().await.map_err(|_| AskError::Busy)
    }

    // A streak of failures is told once.
    fn note(&mut self, done: Result<(), AskError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        let host = self.settings.url.host().unwrap_or_default();
        match done {
            Ok(()) if was_failing => tracing::info!(host, "LiveKit's API answers again"),
            Ok(()) => {}
            Err(error) => {
                self.shared.ledger.refused(Source::Api, error.refused());
                if was_failing {
                    tracing::debug!(host, %error, "LiveKit's API does not say which rooms there are");
                } else {
                    tracing::warn!(host, %error, "LiveKit's API does not say which rooms there are");
                }
            }
        }
    }
}
