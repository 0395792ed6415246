//! Messages in every shape that servers send, and messages of newer servers.

use std::collections::{BTreeMap, BTreeSet};

use livekit_otel_engine::{Batch, Engine, session, stats};
use livekit_otel_livekit as livekit;
use livekit_otel_livekit::{ApiAnswer, ApiRooms, Read};
use livekit_otel_model::event::answer::Question;
use livekit_otel_model::event::{RoomName, RoomSid, Unknown};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{LogRecord, Value};
use protox::prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value as Json, json};

use crate::fields::{Classes, EVENTS, WEBHOOK, filled, pool, table};
use crate::messages::at;

fn engine() -> Engine {
    Engine::new(session::Settings::default(), stats::Settings::default(), at(0))
}

fn webhook(body: &Json) -> Read {
    livekit::webhook(body.to_string().as_bytes()).unwrap()
}

#[test]
fn null_is_a_default_and_an_integer_may_have_a_fraction_of_zeros() {
    let bodies = [
        r#"{"event":"room_started","id":"EV_1","createdAt":"1795980000","room":{"sid":"RM_c4","name":"c4","metadata":null}}"#,
        r#"{"event":"participant_joined","id":"EV_2","createdAt":"1795980001","room":{"sid":"RM_c4","name":"c4"},"participant":{"sid":"PA_c4","identity":"p","joinedAt":"1795980001","attributes":null,"kind":null,"tracks":null}}"#,
        r#"{"event":"room_finished","id":"EV_3","createdAt":1795980009.0,"room":{"sid":"RM_c4","name":"c4"}}"#,
    ];
    let (mut engine, mut out) = (engine(), Batch::default());
    let start = livekit_otel_model::event::Time::from_secs(1_795_980_000).unwrap();
    for body in bodies {
        let read = livekit::webhook(body.as_bytes()).unwrap();
        assert_eq!(read.unknown, Unknown::default());
        engine.apply(&read.decoded, start, false, &mut out);
    }
    engine.close(start + std::time::Duration::from_mins(1), "shutdown", &mut out);
    let room = out.spans.iter().find(|each| each.name == span::ROOM).unwrap();
    let seconds = |time: livekit_otel_model::event::Time| time.nanos() / 1_000_000_000;
    assert_eq!((seconds(room.start), seconds(room.end)), (1_795_980_000, 1_795_980_009));
    assert_eq!(out.logs.len(), 3);
}

#[test]
fn unknown_fields_are_counted_in_webhooks() {
    for (body, fields) in [
        (
            json!({"event": "room_started", "room": {"sid": "RM_c3", "name": "c3", "brandNew": 1}}),
            1,
        ),
        (json!({"event": "room_finished", "room": {"sid": "RM_c3"}, "topNew": {"a": 1}}), 1),
        (
            json!({"event": "participant_left", "participant": {"sid": "PA_1", "attributes": {"new": ""}}}),
            0,
        ),
        (
            json!({"event": "track_published", "track": {"layers": [{"new": 1}, {"new": 2}], "new": null}}),
            3,
        ),
        (
            json!({"event": "egress_ended", "egressInfo": {"fileResults": [{"filename": "f", "new": []}]}}),
            1,
        ),
    ] {
        assert_eq!(webhook(&body).unknown.fields, fields, "{body}");
    }
}

// Field 1000 as a varint.
const NEW: &[u8] = b"\xc0\x3e\x01";

fn nested(number: u8, inner: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(inner.len()).unwrap()], inner].concat()
}

#[test]
fn unknown_fields_are_counted_in_every_protobuf_message() {
    let stat = [&nested(10, NEW)[..], NEW].concat();
    let read = livekit::stats(&nested(1, &stat).repeat(2)).unwrap();
    assert_eq!(read.unknown.fields, 4, "stats and their streams");
    let layer = nested(1, &nested(10, &nested(15, NEW)));
    assert_eq!(livekit::stats(&layer).unwrap().unknown.fields, 1, "a stream's layers");
    let kind = livekit::stats(&nested(1, b"\x10\x63")).unwrap();
    assert_eq!((kind.unknown.enum_values, kind.unusable), (1, 1), "the direction of a stat");
    let event = [&nested(4, NEW)[..], &nested(6, NEW)[..]].concat();
    let read = livekit::events(&nested(1, &event)).unwrap();
    assert_eq!(read.unknown.fields, 2, "an event's room and participant");
    let rooms = nested(4, &nested(4, NEW));
    let read = livekit::node_rooms(&[&rooms[..], NEW].concat()).unwrap();
    assert_eq!(read.unknown.fields, 2, "a node's rooms and their participants");
    let room = [&nested(1, b"RM_1")[..], &nested(2, b"one"), NEW].concat();
    assert_eq!(ApiRooms::new(at(0), &nested(1, &room)).unwrap().unknown().fields, 1, "rooms");
    let (room, name) = (RoomSid::new("RM_1").unwrap(), RoomName::new("one").unwrap());
    let participant = [&nested(1, b"PA_1")[..], NEW, b"\x70\x63"].concat();
    let question = Question::Participants { room: room.clone(), name: name.clone() };
    let listed = ApiAnswer::new(at(0), &question, &nested(1, &participant)).unwrap().unknown();
    assert_eq!((listed.fields, listed.enum_values), (1, 1), "participants");
    let state = nested(5, &[&nested(1, &nested(8, NEW))[..], NEW].concat());
    let question = Question::Dispatches { room, name };
    let listed = ApiAnswer::new(at(0), &question, &nested(1, &state)).unwrap().unknown();
    assert_eq!(listed.fields, 2, "dispatches, their states and their jobs");
    for question in [Question::Egresses, Question::Ingresses] {
        let listed = ApiAnswer::new(at(0), &question, &nested(1, NEW)).unwrap().unknown();
        assert_eq!(listed.fields, 1, "{question:?}");
    }
}

#[test]
fn attributes_with_empty_values_are_no_unknown_fields() {
    // As Go encodes them: the entry has both its key and its value.
    let participant = nested(15, b"\x0a\x01k\x12\x00");
    let read = livekit::events(&nested(1, &nested(6, &participant))).unwrap();
    assert_eq!(read.unknown, Unknown::default());
}

// The enum fields of a message, but not an event's type.
fn set_enums(json: &mut Json, message: &MessageDescriptor, to: &Json) -> usize {
    let mut set = 0;
    for field in message.fields() {
        let Some(value) = json.get_mut(field.json_name()) else { continue };
        let values = match value {
            Json::Array(items) => &mut items[..],
            one => std::slice::from_mut(one),
        };
        for value in values {
            match field.kind() {
                Kind::Enum(of) if of.name() != "AnalyticsEventType" => {
                    *value = to.clone();
                    set += 1;
                }
                Kind::Message(inner) if !field.is_map() => set += set_enums(value, &inner, to),
                _ => {}
            }
        }
    }
    set
}

fn logs_of(read: &Read) -> Vec<LogRecord> {
    let (mut engine, mut out) = (engine(), Batch::default());
    engine.apply(&read.decoded, at(0), false, &mut out);
    engine.close(at(0), "shutdown", &mut out);
    out.logs
}

fn texts(logs: &[LogRecord]) -> BTreeMap<&'static str, String> {
    let attributes = logs.iter().flat_map(|log| &log.attributes);
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    };
    attributes.filter_map(|each| Some((each.key, text(&each.value)?))).collect()
}

// The keys of the enums that a log record can have.
const ENUMS: [&str; 14] = [
    key::CLIENT_SDK,
    key::EGRESS_STATUS,
    key::INGRESS_STATUS,
    key::DISCONNECT_REASON,
    key::PARTICIPANT_KIND,
    key::RECONNECT_REASON,
    key::REPORT_FEATURE,
    key::ROOM_END_REASON,
    key::SIP_CALL_DIRECTION,
    key::SIP_CALL_STATUS,
    key::SIP_DISCONNECT_REASON,
    key::TRACK_KIND,
    key::TRACK_SOURCE,
    key::VIDEO_QUALITY,
];

// A message with all fields set, all enums to `known` or to `unknown`: each attribute that has the
// name of an enum's value in one of them has the unknown value in the other.
fn kept(
    (message, classes): (&MessageDescriptor, &Classes),
    nth: usize,
    unknown: &Json,
    read: impl Fn(&Json) -> Read,
) -> BTreeSet<&'static str> {
    let mut body = filled(message, classes, nth, 6);
    if let Some(events) = body.get_mut("events") {
        events[0]["type"] = json!(nth);
    } else {
        body["event"] = json!("participant_left");
    }
    let set = set_enums(&mut body, message, &json!(1));
    let before = logs_of(&read(&body));
    assert_eq!(set_enums(&mut body, message, unknown), set);
    let read = read(&body);
    assert!(read.unknown.enum_values > 0 && read.unknown.fields == 0, "{:?}", read.unknown);
    let after = logs_of(&read);
    let text = unknown.as_str().map_or_else(|| unknown.to_string(), str::to_owned);
    let (before, after) = (texts(&before), texts(&after));
    for name in ENUMS.iter().filter(|name| before.contains_key(**name)) {
        assert_eq!(after.get(name), Some(&text), "{name} of {nth}");
    }
    after.into_iter().filter(|(_, value)| *value == text).map(|(name, _)| name).collect()
}

#[test]
fn an_unknown_enum_value_is_kept_as_its_number_in_the_log_record() {
    let (pool, classes) = (pool(), table());
    let message = pool.get_message_by_name(EVENTS).unwrap();
    let mut kept_by = BTreeSet::new();
    let types = pool.get_enum_by_name("livekit.AnalyticsEventType").unwrap().values().len();
    for nth in 0..types {
        kept_by.extend(kept((&message, &classes), nth, &json!(77), |body| {
            livekit::events(&livekit::encode_capture("events", body).unwrap()).unwrap()
        }));
    }
    assert_eq!(kept_by, BTreeSet::from(ENUMS));
}

#[test]
fn an_unknown_enum_value_is_kept_as_its_name_in_the_log_record() {
    let (message, classes) = (pool().get_message_by_name(WEBHOOK).unwrap(), table());
    for value in [json!("SOME_NEW_VALUE"), json!(99)] {
        let kept_by = kept((&message, &classes), 0, &value, webhook);
        for name in [
            key::EGRESS_STATUS,
            key::INGRESS_STATUS,
            key::DISCONNECT_REASON,
            key::PARTICIPANT_KIND,
            key::ROOM_END_REASON,
            key::TRACK_KIND,
            key::TRACK_SOURCE,
        ] {
            assert!(kept_by.contains(name), "{name} of {value}");
        }
    }
}

#[test]
fn a_text_that_is_no_name_of_an_enum_value_is_dropped() {
    for text in ["a secret", "+49 30 1234", &"A".repeat(100), ""] {
        let read = webhook(
            &json!({"event": "room_finished", "room": {"sid": "RM_1"}, "roomEndReason": text}),
        );
        assert_eq!(read.unknown.enum_values, 1);
        assert_eq!(texts(&logs_of(&read)).get(key::ROOM_END_REASON), None);
    }
}

#[test]
fn a_known_source_of_a_track_is_not_joined_by_an_unknown_one() {
    let body = |source: &str, event: &str| {
        json!({"event": event, "room": {"sid": "RM_1", "name": "r"}, "participant": {"sid": "PA_1"},
            "track": {"sid": "TR_1", "source": source, "type": "VIDEO"}})
    };
    let (mut engine, mut out) = (engine(), Batch::default());
    for (source, event) in [("CAMERA", "track_published"), ("HOLOGRAM", "track_unpublished")] {
        engine.apply(&webhook(&body(source, event)).decoded, at(0), false, &mut out);
    }
    assert_eq!(out.logs.len(), 2);
    for log in &out.logs {
        let sources = log.attributes.iter().filter(|each| each.key == key::TRACK_SOURCE);
        assert_eq!(sources.count(), 1);
    }
}
