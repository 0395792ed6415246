//! LiveKit's messages to [`livekit_otel_model::event`]'s words, field by field from an allowlist: what is not
//! named here does not leave. The only importer of `livekit_protocol`.

mod details;
mod events;
pub mod keys;
mod lenient;
mod names;
mod rooms;
mod stats;
pub mod token;
mod traceparent;
mod work;

pub use stats::StatReport;

pub use rooms::ApiRooms;

/// LiveKit's messages, of the version that this crate reads: what a [`livekit_otel_telemetry`] is told.
pub use livekit_protocol as messages;

use livekit_protocol as lk;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::Value;
use thiserror::Error;

use livekit_otel_model::Source;
use livekit_otel_model::event::rooms::Rooms;
use livekit_otel_model::event::{Decoded, Event, StreamStat, TrackKind, Unknown};

/// A message that cannot be read. Says where, never what: a message may hold secrets.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unreadable message: {0}")]
pub struct Unreadable(String);

/// A message that was read.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// What it tells.
    pub decoded: Decoded,
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

/// Reads a webhook's body (`livekit.WebhookEvent` as proto3 JSON), leniently: unknown fields and
/// enum names are left out and counted.
///
/// # Errors
/// Where it is no JSON, or a known field has a value of the wrong type.
pub fn webhook(body: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    // Where livekit-protocol's own reading takes it, there is nothing to be lenient about.
    let message: lk::WebhookEvent = match serde_json::from_slice(body) {
        Ok(message) => message,
        Err(_) => lenient::read(json(body)?, &mut unknown)?,
    };
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
    let message: lk::AnalyticsEvents = binary(message, MOST_ITEMS, &mut unknown)?;
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
    let message: lk::AnalyticsStats = binary(message, MOST_ITEMS, &mut unknown)?;
    let read = windows(&message.stats);
    unknown.enum_values += read.unknown.enum_values;
    Ok(Read { unknown, ..read })
}

/// Reads an `AnalyticsNodeRooms` message: one event, and the rooms of a node.
///
/// # Errors
/// Where it is no such message.
pub fn node_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let message: lk::AnalyticsNodeRooms = binary(message, MOST_ROOMS, &mut unknown)?;
    Ok(Read { unknown, ..rooms(&message) })
}

/// Reads what [`ApiRooms`] encoded.
///
/// # Errors
/// Where it is no such message.
pub fn api_rooms(message: &[u8]) -> Result<Read, Unreadable> {
    let mut unknown = Unknown::default();
    let rooms = rooms::of_api(message, &mut unknown)?;
    Ok(Read::rooms(rooms, unknown))
}

/// Reads an event that is a message already.
pub fn event(message: &lk::AnalyticsEvent) -> Read {
    let mut unknown = Unknown::default();
    let event = events::from_analytics(message, &mut unknown);
    Read::events(vec![event], unknown)
}

/// Reads finished windows that are messages already.
pub fn windows(messages: &[lk::AnalyticsStat]) -> Read {
    let mut unknown = Unknown::default();
    let stats: Vec<_> =
        messages.iter().filter_map(|stat| stats::window(stat, &mut unknown)).collect();
    let unusable = (messages.len() - stats.len()) as u64;
    Read::stats(stats, unusable, unknown)
}

/// Reads a node's rooms that are a message already.
pub fn rooms(message: &lk::AnalyticsNodeRooms) -> Read {
    Read::rooms(rooms::of_node(message), Unknown::default())
}

/// The kind of a `TrackType`; `None` where this version does not know it.
pub fn track_kind(value: i32) -> Option<TrackKind> {
    names::track_kind(value, &mut Unknown::default())
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

// A message in memory is far larger than on the wire: two bytes there are an empty event of 4 kB
// here. Upstream sends one event a message, and one worker's stats; a node may hold many rooms.
const MOST_ITEMS: usize = 10_000;
const MOST_ROOMS: usize = 100_000;

// Refuses a message of more than `most` items before it is read. All three have their items, and
// little else, as fields of their own.
fn limit(mut bytes: &[u8], most: usize) -> Result<(), Unreadable> {
    let broken = |_| Unreadable("no such protobuf message".to_owned());
    for _ in 0..=most {
        if bytes.is_empty() {
            return Ok(());
        }
        let (tag, wire) = decode_key(&mut bytes).map_err(broken)?;
        skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(broken)?;
    }
    Err(Unreadable(format!("more than {most} items in one message")))
}

// Refuses a message with far more messages within its items than any sender has: so many for an item, and
// one for so many bytes.
const WITHIN: usize = 4;
const BYTES: usize = 32;
// LiveKit's have five: an event's participant's track's codec's layer.
const DEEPEST: u32 = 8;

fn limit_within(bytes: &[u8], most: usize) -> Result<(), Unreadable> {
    let most = WITHIN * most + bytes.len() / BYTES;
    // None is shorter than two bytes.
    if bytes.len() / 2 <= most || within(bytes, DEEPEST).is_none_or(|found| found <= most) {
        return Ok(());
    }
    Err(Unreadable(format!("more than {most} messages within one")))
}

// How many messages there are in one, at any depth; `None` where it is none. A text that reads as one
// counts.
fn within(mut bytes: &[u8], depth: u32) -> Option<usize> {
    let mut found = 0;
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (inner, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if let Some(deeper) = depth.checked_sub(1).map_or(Some(0), |depth| within(inner, depth)) {
            found += 1 + deeper;
        }
    }
    Some(found)
}

fn binary<T: Message + Default>(
    bytes: &[u8],
    most: usize,
    unknown: &mut Unknown,
) -> Result<T, Unreadable> {
    limit(bytes, most)?;
    limit_within(bytes, most)?;
    let message =
        T::decode(bytes).map_err(|_| Unreadable("no such protobuf message".to_owned()))?;
    // prost drops fields that it has no name for: what is left is shorter than what came.
    unknown.fields += u64::from(message.encoded_len() < bytes.len());
    Ok(message)
}

/// The path of a source's method; what is no stream has none.
pub fn method(source: Source) -> Option<&'static str> {
    match source {
        Source::Stats => Some("/livekit.AnalyticsRecorderService/IngestStats"),
        Source::Events => Some("/livekit.AnalyticsRecorderService/IngestEvents"),
        Source::NodeRooms => Some("/livekit.AnalyticsRecorderService/IngestNodeRoomStates"),
        Source::Webhook | Source::Api => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_very_many_items_is_refused_before_it_is_read() {
        // Empty events, stats or rooms: two bytes each.
        let many = |count: usize| [0x0a, 0x00].repeat(count);
        assert_eq!(events(&many(MOST_ITEMS)).unwrap().items, 10_000);
        assert!(events(&many(MOST_ITEMS + 1)).is_err());
        assert!(stats(&many(2_000_000)).is_err());
        let rooms = [0x22, 0x00].repeat(MOST_ROOMS + 1);
        assert!(node_rooms(&rooms).is_err());
    }

    #[test]
    fn a_message_of_very_many_messages_within_its_items_is_refused_before_it_is_read() {
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
        // A long text is none of them, and as many messages as a sender may have are taken.
        let text = "a text of some words ".repeat(100_000);
        let event = wrapped(&[0x3a, 0x32, 0x0a], text.as_bytes());
        assert!(event.len() > 2_000_000 && events(&event).is_ok());
        let track = wrapped(&[0x22], b"\x0a\x0fTR_abcdefghijkl");
        let participant = wrapped(&[0x32, 0x0a], &track.repeat(1000));
        assert_eq!(events(&participant.repeat(50)).unwrap().items, 50);
    }

    #[test]
    fn a_webhook_reads_the_same_strictly_and_leniently() {
        let capture = include_str!("../../../examples/captures/one-call.jsonl");
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
    fn what_is_no_protobuf_is_refused_without_its_bytes() {
        for bytes in [&[0xff; 12][..], b"\x0a\x05ab", b"secret"] {
            let error = events(bytes).unwrap_err().to_string();
            assert_eq!(error, "unreadable message: no such protobuf message");
        }
    }
}
