//! LiveKit's messages to [`crate::event`]'s words, field by field from an allowlist: what is not
//! named here does not leave. The only importer of `livekit_protocol`.

mod details;
mod events;
mod lenient;
mod names;
mod stats;

use livekit_protocol as lk;
use prost::Message;
use serde_json::Value;
use thiserror::Error;

use crate::event::{Event, StreamStat, Telling, Unknown};

/// A message that cannot be read. Says where, never what: a message may hold secrets.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unreadable message: {0}")]
pub struct Unreadable(String);

/// A message that was read.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// What it tells.
    pub telling: Telling,
    /// How many items it holds that can be used.
    pub items: u64,
    /// How many it holds that can't: a stat without room, participant or track.
    pub unusable: u64,
    /// What in it this version has no name for.
    pub unknown: Unknown,
}

impl Read {
    fn events(events: Vec<Event>, unknown: Unknown) -> Self {
        let items = events.len() as u64;
        Self { telling: Telling::Events(events), items, unusable: 0, unknown }
    }

    fn stats(stats: Vec<StreamStat>, unusable: u64, unknown: Unknown) -> Self {
        let items = stats.len() as u64;
        Self { telling: Telling::Stats(stats), items, unusable, unknown }
    }
}

/// Reads a webhook's body (`livekit.WebhookEvent` as proto3 JSON), leniently: unknown fields and
/// enum names are left out and counted.
///
/// # Errors
/// Where it is no JSON, or a known field has a value of the wrong type.
pub fn webhook(body: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::WebhookEvent = lenient::read(json(body)?, &mut unknown)?;
    let event = events::from_webhook(&message, &mut unknown)
        .ok_or_else(|| Unreadable("no event named".to_owned()))?;
    Ok(Read::events(vec![event], unknown))
}

/// Reads an `AnalyticsEvents` message.
///
/// # Errors
/// Where it is no such message.
pub fn events(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsEvents = binary(message, &mut unknown)?;
    let events =
        message.events.iter().map(|event| events::from_analytics(event, &mut unknown)).collect();
    Ok(Read::events(events, unknown))
}

/// Reads an `AnalyticsStats` message: one stats worker's flush.
///
/// # Errors
/// Where it is no such message.
pub fn stats(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsStats = binary(message, &mut unknown)?;
    let all = message.stats.len();
    let stats: Vec<_> =
        message.stats.iter().filter_map(|stat| stats::window(stat, &mut unknown)).collect();
    let unusable = (all - stats.len()) as u64;
    Ok(Read::stats(stats, unusable, unknown))
}

/// Reads an `AnalyticsNodeRooms` message as one event.
///
/// # Errors
/// Where it is no such message.
pub fn node_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsNodeRooms = binary(message, &mut unknown)?;
    Ok(Read::events(vec![events::from_node_rooms(&message)], unknown))
}

/// Encodes the body of a capture's line (proto3 JSON) as the message that its stream carries.
/// `kind` is the line's: `events`, `stats` or `nodeRooms`.
///
/// # Errors
/// Where the kind is none of these, or the body no such message.
pub fn encode_capture(kind: &str, body: &Value) -> Result<Vec<u8>, Unreadable> {
    fn encode<T: Message + serde::de::DeserializeOwned>(
        body: &Value,
    ) -> Result<Vec<u8>, Unreadable> {
        Ok(lenient::read::<T>(body.clone(), &mut Unknown::default())?.encode_to_vec())
    }
    match kind {
        "events" => encode::<lk::AnalyticsEvents>(body),
        "stats" => encode::<lk::AnalyticsStats>(body),
        "nodeRooms" => encode::<lk::AnalyticsNodeRooms>(body),
        _ => Err(Unreadable("no such kind of line".to_owned())),
    }
}

fn json(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body)
        .map_err(|error| Unreadable(format!("no JSON at {}:{}", error.line(), error.column())))
}

fn binary<T: Message + Default>(bytes: &[u8], unknown: &mut Unknown) -> Result<T, Unreadable> {
    let message =
        T::decode(bytes).map_err(|_| Unreadable("no such protobuf message".to_owned()))?;
    // prost drops fields that it has no name for: what is left is shorter than what came.
    unknown.fields += u64::from(message.encoded_len() < bytes.len());
    Ok(message)
}
