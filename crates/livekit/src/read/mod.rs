//! Reads LiveKit's messages into events, field by field from an allowlist. A field that is not
//! named here is never sent.

mod answers;
mod details;
mod events;
mod json;
mod kept;
mod limits;
mod names;
mod newer;
mod number;
mod requested;
mod rooms;
mod schema;
mod sip;
mod stats;
mod traceparent;
mod unknown;
mod unreadable;
mod wire;
mod work;

pub use answers::{ApiAnswer, ApiRequest, ApiRooms};
pub use stats::{StatReport, stream_of};
pub use unreadable::Unreadable;

use livekit_protocol as lk;
use prost::Message;
use serde_json::Value;

use crate::post::TEST_EVENT;
use limits::{MOST_ITEMS, MOST_ROOMS, limit, limit_nested};
use livekit_otel_model::event::{self, Decoded, Event, TrackKind};
use unknown::Unknown;

/// A decoded message.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// Its content.
    pub decoded: Decoded,
    /// How many usable items it has; a list of rooms and an answer of the API are one.
    pub items: u64,
    /// How many items it has that can't be used: stats without a room, participant or track.
    pub unusable: u64,
    /// What this version does not know of it.
    pub unknown: event::Unknown,
}

impl Read {
    fn events(events: Vec<Event>) -> Self {
        let items = events.len() as u64;
        Self::new(Decoded::Events(events), items, 0)
    }

    fn new(decoded: Decoded, items: u64, unusable: u64) -> Self {
        Self { decoded, items, unusable, unknown: event::Unknown::default() }
    }

    fn with(self, unknown: &Unknown) -> Self {
        Self { unknown: unknown.counts(), ..self }
    }
}

/// Reads a webhook's body (`livekit.WebhookEvent` as proto3 JSON). What this version does not know
/// of it is counted. A [`TEST_EVENT`] is an item without an event.
///
/// # Errors
/// If the body is not JSON, a known field has a value of the wrong type, or no event is named.
pub fn webhook(body: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let bytes = json::encode(body, schema::message("WebhookEvent"), &mut unknown)?;
    let message = lk::WebhookEvent::decode(&*bytes).map_err(|_| Unreadable::protobuf())?;
    if message.event == TEST_EVENT {
        return Ok(Read::new(Decoded::Events(Vec::new()), 1, 0));
    }
    let newer = message.job.as_ref().map(|_| newer::job(&bytes)).transpose()?.unwrap_or_default();
    let event = events::from_webhook(&message, &newer, &mut unknown)
        .ok_or_else(|| Unreadable::new("it names no event"))?;
    Ok(Read::events(vec![event]).with(&unknown))
}

/// Reads an `AnalyticsEvents` message.
///
/// # Errors
/// If the bytes are not such a message.
pub fn events(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsEvents =
        binary(message, "AnalyticsEvents", MOST_ITEMS, &mut unknown)?;
    let events =
        message.events.iter().map(|event| events::from_analytics(event, &mut unknown)).collect();
    Ok(Read::events(events).with(&unknown))
}

/// Reads an `AnalyticsStats` message, which is one flush of a stats worker.
///
/// # Errors
/// If the bytes are not such a message.
pub fn stats(message: &[u8]) -> Result<Read, Unreadable> {
    let stats: lk::AnalyticsStats = decode(message, MOST_ITEMS)?;
    let mut unknown = Unknown::default();
    // Its length is computed in a tenth of the time of a walk. Without maps and packed lists it
    // shrinks by what prost has dropped.
    let has_unknown = stats.encoded_len() < message.len()
        || stats.stats.iter().any(|stat| lk::StreamType::try_from(stat.kind).is_err());
    if has_unknown {
        wire::count(message, schema::message("AnalyticsStats"), &mut unknown);
    }
    Ok(windows(&stats.stats).with(&unknown))
}

/// Reads an `AnalyticsNodeRooms` message: the rooms of a node, and the event that reports them.
///
/// # Errors
/// If the bytes are not such a message.
pub fn node_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsNodeRooms =
        binary(message, "AnalyticsNodeRooms", MOST_ROOMS, &mut unknown)?;
    Ok(rooms(&message).with(&unknown))
}

/// Reads the bytes that [`ApiRooms::encode`] or [`ApiAnswer::encode`] made. Their `unknown` has what is
/// unknown in the API's responses.
///
/// # Errors
/// If the bytes are not such a message.
pub fn api(message: &[u8]) -> Result<Read, Unreadable> {
    Ok(Read::new(answers::of_api(message)?, 1, 0))
}

/// Reads a decoded event message, which has no unknown fields any more.
pub fn event(message: &lk::AnalyticsEvent) -> Read {
    let mut unknown = Unknown::default();
    let event = events::from_analytics(message, &mut unknown);
    Read::events(vec![event]).with(&unknown)
}

/// Reads decoded messages of finished stats windows.
pub fn windows(messages: &[lk::AnalyticsStat]) -> Read {
    let stats: Vec<_> = messages.iter().filter_map(stats::window).collect();
    let (items, unusable) = (stats.len() as u64, (messages.len() - stats.len()) as u64);
    Read::new(Decoded::Stats(stats), items, unusable)
}

/// Reads a decoded message of a node's rooms.
pub fn rooms(message: &lk::AnalyticsNodeRooms) -> Read {
    Read::new(Decoded::Rooms(rooms::of_node(message)), 1, 0)
}

/// The kind that a `TrackType` stands for; `None` if this version does not know it.
pub fn track_kind(value: i32) -> Option<TrackKind> {
    names::track_kind(value)
}

/// Encodes the body of a capture's line (proto3 JSON) as the message that a stream carries.
/// `kind` is the line's: `events`, `stats` or `nodeRooms`; or the name of a message of the API, such as
/// `ListEgressResponse`.
///
/// # Errors
/// If the kind is none of these, or the body is not such a message.
pub fn encode_capture(kind: &str, body: &Value) -> Result<Vec<u8>, Unreadable> {
    let message = match kind {
        "events" => "AnalyticsEvents",
        "stats" => "AnalyticsStats",
        "nodeRooms" => "AnalyticsNodeRooms",
        "ListRoomsResponse"
        | "ListParticipantsResponse"
        | "ListAgentDispatchResponse"
        | "ListEgressResponse"
        | "ListIngressResponse" => kind,
        _ => return Err(Unreadable::new("its line has an unknown kind")),
    };
    // The names of unknown enum values can't be sent.
    let mut unknown = Unknown::without_names();
    json::encode(body.to_string().as_bytes(), schema::message(message), &mut unknown)
}

fn binary<T: Message + Default>(
    bytes: &[u8],
    name: &str,
    most: usize,
    unknown: &mut Unknown,
) -> Result<T, Unreadable> {
    let message = decode(bytes, most)?;
    wire::count(bytes, schema::message(name), unknown);
    Ok(message)
}

fn decode<T: Message + Default>(bytes: &[u8], most: usize) -> Result<T, Unreadable> {
    limit(bytes, most)?;
    limit_nested(bytes, most)?;
    T::decode(bytes).map_err(|_| Unreadable::protobuf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_too_many_items_is_refused_before_it_is_decoded() {
        // Empty events, stats or rooms: two bytes each.
        let many = |count: usize| [0x0a, 0x00].repeat(count);
        assert_eq!(events(&many(MOST_ITEMS)).unwrap().items, 10_000);
        assert!(events(&many(MOST_ITEMS + 1)).is_err());
        assert!(stats(&many(2_000_000)).is_err());
        let rooms = [0x22, 0x00].repeat(MOST_ROOMS + 1);
        assert!(node_rooms(&rooms).is_err());
    }

    #[test]
    fn a_message_of_too_many_nested_messages_is_refused_before_it_is_decoded() {
        use prost::encoding::encode_varint;

        let wrapped = |tags: &[u8], inner: &[u8]| {
            tags.iter().fold(inner.to_vec(), |inner, tag| {
                let mut outer = vec![*tag];
                encode_varint(inner.len() as u64, &mut outer);
                outer.extend(inner);
                outer
            })
        };
        let million = |tag: u8| [tag, 0x00].repeat(1_000_000);
        // A stat's streams; a participant's tracks, and a track's layers; a room's participants.
        assert!(stats(&wrapped(&[0x0a], &million(0x52))).is_err());
        assert!(events(&wrapped(&[0x32, 0x0a], &million(0x22))).is_err());
        assert!(events(&wrapped(&[0x42, 0x0a], &million(0x52))).is_err());
        assert!(node_rooms(&wrapped(&[0x22], &million(0x2a))).is_err());
        // A long text is not a message, and as many messages as a sender may have are accepted.
        let text = "a text of some words ".repeat(100_000);
        let event = wrapped(&[0x3a, 0x32, 0x0a], text.as_bytes());
        assert!(event.len() > 2_000_000 && events(&event).is_ok());
        let track = wrapped(&[0x22], b"\x0a\x0fTR_abcdefghijkl");
        let participant = wrapped(&[0x32, 0x0a], &track.repeat(1000));
        assert_eq!(events(&participant.repeat(50)).unwrap().items, 50);
    }

    #[test]
    fn a_test_webhook_is_one_item_without_an_event() {
        let body = crate::post::test_body();
        let read = webhook(&body).unwrap();
        assert_eq!(read, Read::new(Decoded::Events(Vec::new()), 1, 0));
        assert_ne!(body, crate::post::test_body(), "each has an id of its own");
    }

    #[test]
    fn an_error_of_invalid_protobuf_shows_none_of_its_bytes() {
        for bytes in [&[0xff; 12][..], b"\x0a\x05ab", b"secret"] {
            let error = events(bytes).unwrap_err().to_string();
            assert_eq!(error, "unreadable message: not a protobuf message of the expected type");
        }
    }
}
