//! LiveKit's API: whether it accepts each key, and how many rooms it lists.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;

use super::check::{Check, millis, no_answer, words};
use super::http::place;
use crate::config::Config;
use crate::source::api::Api;
use crate::source::reconcile;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::{self as livekit, ApiRequest, ApiRooms};
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_transport::chain;

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
    let (host, key) = (place(&api.url), words(&api.key));
    match rooms(config, api, &api.key, limit).await {
        Ok((rooms, took)) => {
            let took = millis(took);
            Check::ok(API, format!("{host} accepts {key}, and lists {rooms} rooms in {took}"))
        }
        Err(error) => Check::fail(API, format!("{host}, with {key}: {error}")),
    }
}

// Webhooks may be signed with any key.
async fn another(config: &Config, api: &reconcile::Settings, key: &str, limit: Duration) -> Check {
    let (host, name) = (place(&api.url), words(key));
    match rooms(config, api, key, limit).await {
        Ok(_) => Check::ok(KEYS, format!("{host} accepts {name}")),
        Err(error) => {
            let advice = "Webhooks that LiveKit signs with it would be refused, or it is no key of this LiveKit";
            Check::warn(KEYS, format!("{host}, with {name}: {error}")).advice(advice)
        }
    }
}

// How many rooms are open.
async fn rooms(
    config: &Config,
    api: &reconcile::Settings,
    key: &str,
    limit: Duration,
) -> Result<(usize, Duration), String> {
    let keys = KeyRing::from(config.keys.clone());
    let (url, route) = (api.url.clone(), api.route.clone());
    let settings = (url, key.to_owned(), api.requests_per_second, route);
    let mut api = Api::new(settings, keys).map_err(|error| chain(&error))?;
    let began = Instant::now();
    let answer = timeout(limit, api.send(ApiRequest::rooms())).await;
    let answer = answer.map_err(|_| no_answer(limit))?.map_err(|error| chain(&error))?;
    let took = began.elapsed();
    let at = Time::from_system(SystemTime::now());
    let listed = ApiRooms::new(at, &answer).map_err(|error| chain(&error))?;
    let read = livekit::api(&listed.encode()).map_err(|error| chain(&error))?;
    let rooms = if let Decoded::Rooms(listed) = read.decoded { listed.rooms.len() } else { 0 };
    Ok((rooms, took))
}
