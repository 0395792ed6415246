//! LiveKit's API: whether it accepts each key, and how many rooms it lists.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;

use super::check::{Check, millis, no_answer, words};
use crate::config::Config;
use crate::source::api::Api;
use crate::source::reconcile;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::{self as livekit, ApiRequest, ApiRooms};
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_transport::chain;
use livekit_otel_transport::hint::{Attempt, Protocol, silent};

const API: &str = "livekit.api";
const KEYS: &str = "livekit.keys";

/// Lists the rooms, once with each key.
pub(super) async fn check(config: Arc<Config>, limit: Duration) -> Vec<Check> {
    let Some(api) = &config.api else {
        let text = "livekit.url is not set: nothing is asked of LiveKit's API";
        return vec![Check::skip(API, text)];
    };
    let mut checks = vec![used(&config, api, limit).await];
    let others = config.keys.names().filter(|key| *key != api.key);
    for key in others {
        checks.push(another(&config, api, key, limit).await);
    }
    checks
}

// The key that the requests of the server are signed with.
async fn used(config: &Config, api: &reconcile::Settings, limit: Duration) -> Check {
    let (at, key) = (attempt(api), words(&api.key));
    match rooms(config, api, &api.key, limit).await {
        Ok((rooms, took)) => {
            let took = millis(took);
            Check::ok(API, format!("{at} accepts {key}, and lists {rooms} rooms in {took}"))
        }
        Err(Failed { text, hint }) => {
            let failed = Check::fail(API, format!("{at}, with {key}: {text}"));
            failed.advised(hint)
        }
    }
}

// Webhooks may be signed with any key.
async fn another(config: &Config, api: &reconcile::Settings, key: &str, limit: Duration) -> Check {
    let (at, name) = (attempt(api), words(key));
    match rooms(config, api, key, limit).await {
        Ok(_) => Check::ok(KEYS, format!("{at} accepts {name}")),
        Err(Failed { text, .. }) => {
            let advice =
                "Remove the key, or correct its secret: it may be a key of another LiveKit";
            Check::warn(KEYS, format!("{at}, with {name}: {text}")).advice(advice)
        }
    }
}

/// How the API is reached.
pub(super) fn attempt(api: &reconcile::Settings) -> Attempt {
    Attempt::new(&api.url, Protocol::Http).by(&api.route)
}

struct Failed {
    text: String,
    hint: Option<String>,
}

impl Failed {
    fn new(error: &dyn Error) -> Self {
        Self { text: chain(error), hint: None }
    }
}

// How many rooms are open.
async fn rooms(
    config: &Config,
    api: &reconcile::Settings,
    key: &str,
    limit: Duration,
) -> Result<(usize, Duration), Failed> {
    let keys = KeyRing::from(config.keys.clone());
    let (url, route) = (api.url.clone(), api.route.clone());
    let settings = (url, key.to_owned(), api.requests_per_second, route);
    let mut client = Api::new(settings, keys).map_err(|error| Failed::new(&error))?;
    let began = Instant::now();
    let answer = match timeout(limit, client.send(ApiRequest::rooms())).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(Failed { hint: client.hint(&error), ..Failed::new(&error) });
        }
        Err(_) => {
            let (text, hint) = (no_answer(limit), Some(silent(&attempt(api))));
            return Err(Failed { text, hint });
        }
    };
    let took = began.elapsed();
    let at = Time::from_system(SystemTime::now());
    let listed = ApiRooms::new(at, &answer).map_err(|error| Failed::new(&error))?;
    let read = livekit::api(&listed.encode()).map_err(|error| Failed::new(&error))?;
    let rooms = if let Decoded::Rooms(listed) = read.decoded { listed.rooms.len() } else { 0 };
    Ok((rooms, took))
}
