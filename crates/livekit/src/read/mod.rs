//! Reads LiveKit's messages into events, field by field from an allowlist. A field that is not
//! named here is never sent.

mod details;
mod events;
mod lenient;
mod limits;
mod names;
mod rooms;
mod stats;
mod traceparent;
mod unreadable;
mod work;

pub use rooms::ApiRooms;
pub use stats::{StatReport, stream_of};
pub use unreadable::Unreadable;

use livekit_protocol as lk;
use prost::Message;
use serde_json::Value;

use limits::{MOST_ITEMS, MOST_ROOMS, limit, limit_nested};
use livekit_otel_model::event::rooms::Rooms;
use livekit_otel_model::event::{Decoded, Event, StreamStat, TrackKind, Unknown};

/// A decoded message.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// Its content.
    pub decoded: Decoded,
    /// How many usable items it has.
    pub items: u64,
    /// How many items it has that can't be used: stats without a room, participant or track.
    pub unusable: u64,
    /// What this version does not know of it.
    pub unknown: Unknown,
}

impl Read {
    fn events(events: Vec<Event>, unknown: Unknown) -> Self {
        let items = events.len() as u64;
        Self { decoded: Decoded::Events(events), items, unusable: 0, unknown }
    }

    // A list of rooms is one item.
    fn rooms(rooms: Rooms, unknown: Unknown) -> Self {
        Self { decoded: Decoded::Rooms(rooms), items: 1, unusable: 0, unknown }
    }

    fn stats(stats: Vec<StreamStat>, unusable: u64, unknown: Unknown) -> Self {
        let items = stats.len() as u64;
        Self { decoded: Decoded::Stats(stats), items, unusable, unknown }
    }
}

/// Reads a webhook's body (`livekit.WebhookEvent` as proto3 JSON). Unknown fields and enum names
/// are left out and counted.
///
/// # Errors
/// If the body is not JSON, a known field has a value of the wrong type, or no event is named.
pub fn webhook(body: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    // The strict reader of livekit-protocol is faster; the lenient one reads what it refuses.
    let message: lk::WebhookEvent = match serde_json::from_slice(body) {
        Ok(message) => message,
        Err(_) => lenient::read(json(body)?, &mut unknown)?,
    };
    let event = events::from_webhook(&message, &mut unknown)
        .ok_or_else(|| Unreadable::new("it names no event"))?;
    Ok(Read::events(vec![event], unknown))
}

/// Reads an `AnalyticsEvents` message.
///
/// # Errors
/// If the bytes are not such a message.
pub fn events(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsEvents = binary(message, MOST_ITEMS, &mut unknown)?;
    let events =
        message.events.iter().map(|event| events::from_analytics(event, &mut unknown)).collect();
    Ok(Read::events(events, unknown))
}

/// Reads an `AnalyticsStats` message, which is one flush of a stats worker.
///
/// # Errors
/// If the bytes are not such a message.
pub fn stats(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsStats = binary(message, MOST_ITEMS, &mut unknown)?;
    let read = windows(&message.stats);
    unknown.enum_values += read.unknown.enum_values;
    Ok(Read { unknown, ..read })
}

/// Reads an `AnalyticsNodeRooms` message: the rooms of a node, and the event that reports them.
///
/// # Errors
/// If the bytes are not such a message.
pub fn node_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsNodeRooms = binary(message, MOST_ROOMS, &mut unknown)?;
    Ok(Read { unknown, ..rooms(&message) })
}

/// Reads the bytes that [`ApiRooms::encode`] made.
///
/// # Errors
/// If the bytes are not such a message.
pub fn api_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let rooms = rooms::of_api(message, &mut unknown)?;
    Ok(Read::rooms(rooms, unknown))
}

/// Reads a decoded event message.
pub fn event(message: &lk::AnalyticsEvent) -> Read {
    let mut unknown = Unknown::default();
    let event = events::from_analytics(message, &mut unknown);
    Read::events(vec![event], unknown)
}

/// Reads decoded messages of finished stats windows.
pub fn windows(messages: &[lk::AnalyticsStat]) -> Read {
    let mut unknown = Unknown::default();
    let stats: Vec<_> =
        messages.iter().filter_map(|stat| stats::window(stat, &mut unknown)).collect();
    let unusable = (messages.len() - stats.len()) as u64;
    Read::stats(stats, unusable, unknown)
}

/// Reads a decoded message of a node's rooms.
pub fn rooms(message: &lk::AnalyticsNodeRooms) -> Read {
    Read::rooms(rooms::of_node(message), Unknown::default())
}

/// The kind that a `TrackType` stands for; `None` if this version does not know it.
pub fn track_kind(value: i32) -> Option<TrackKind> {
    names::track_kind(value, &mut Unknown::default())
}

/// Encodes the body of a capture's line (proto3 JSON) as the message that a stream carries.
/// `kind` is the line's: `events`, `stats` or `nodeRooms`.
///
/// # Errors
/// If the kind is none of these, or the body is not such a message.
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
        _ => Err(Unreadable::new("its line has an unknown kind")),
    }
}

fn json(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body).map_err(|error| {
        Unreadable::new(format!("invalid JSON at {}:{}", error.line(), error.column()))
    })
}

fn binary<T: Message + Default>(
    bytes: &[u8],
    most: usize,
    unknown: &mut Unknown,
) -> Result<T, Unreadable> {
    limit(bytes, most)?;
    limit_nested(bytes, most)?;
    let message = T::decode(bytes).map_err(|_| Unreadable::protobuf())?;
    // prost drops unknown fields, so the decoded message is then shorter than its bytes.
    unknown.fields += u64::from(message.encoded_len() < bytes.len());
    Ok(message)
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
    fn a_webhook_reads_the_same_strictly_and_leniently() {
        let capture = include_str!("../../../../examples/captures/one-call.jsonl");
        let mut webhooks = 0;
        for line in capture.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["kind"] == "webhook" {
                webhooks += 1;
                let mut unknown = Unknown::default();
                let leniently: lk::WebhookEvent =
                    lenient::read(line["body"].clone(), &mut unknown).unwrap();
                let strictly = serde_json::from_str(&line["body"].to_string());
                assert_eq!((strictly.unwrap(), unknown), (leniently, Unknown::default()));
            }
        }
        assert!(webhooks > 3);
    }

    #[test]
    fn an_error_of_invalid_protobuf_shows_none_of_its_bytes() {
        for bytes in [&[0xff; 12][..], b"\x0a\x05ab", b"secret"] {
            let error = events(bytes).unwrap_err().to_string();
            assert_eq!(error, "unreadable message: not a protobuf message of the expected type");
        }
    }
}
