//! How sessions treat messages that the capture does not contain: failures, gaps, duplicates.

use std::time::Duration;

use livekit_otel_engine::Tally;
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, Event, Time};
use livekit_otel_model::semconv::{event as name, key, span};
use livekit_otel_model::signal::{Number, Severity, Value};
use serde_json::{Value as Json, json};

use crate::messages::{ROOM, analytics, at, merge, participant, rfc3339, webhook, with_track};
use crate::run::{Run, text};

#[test]
fn a_participant_whose_media_never_connects_fails() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(9000, &analytics("PARTICIPANT_CONNECTION_ABORTED", 9000, participant("PA_1")))
        .tick(9000 + 35_000);
    let connect = run.span(span::PARTICIPANT_CONNECT);
    assert_eq!(text(&connect.attributes, key::ERROR_TYPE), Some("connection_aborted"));
    assert_eq!(text(&connect.attributes, key::CONNECT_RESULT), Some("aborted"));
    assert!(connect.failure().is_some());
    let own = run.span(span::PARTICIPANT);
    assert!(own.failure().is_some());
    assert_eq!(own.end.since(own.start).as_secs(), 8);
    let log = run.out.logs.iter().find(|log| log.severity == Severity::Warn).unwrap();
    assert_eq!(&*log.event_name, name::PARTICIPANT_CONNECTION_ABORTED);
}

#[test]
fn a_failed_subscribe_has_its_reason() {
    let mut run = Run::new();
    let mut failed = with_track("PA_1", "TR_1");
    merge(&mut failed, json!({"error": "no permission"}));
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(2000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 2000, with_track("PA_1", "TR_1")))
        .apply(2100, &analytics("TRACK_SUBSCRIBE_REQUESTED", 2100, with_track("PA_1", "TR_1")))
        .apply(2500, &analytics("TRACK_SUBSCRIBE_FAILED", 2500, failed))
        .apply(3000, &analytics("PARTICIPANT_LEFT", 3000, participant("PA_1")))
        .tick(3000 + 35_000);
    let subscribe = run.span(span::TRACK_SUBSCRIBE);
    assert_eq!(subscribe.failure(), Some("subscribe_failed"));
    assert_eq!(text(&subscribe.attributes, key::ERROR), Some("no permission"));
    assert_eq!(text(&subscribe.attributes, key::ERROR_TYPE), Some("subscribe_failed"));
    assert_eq!(subscribe.end.since(subscribe.start).as_millis(), 500);
    let attempts = subscribe.attributes.iter().find(|each| each.key == key::ATTEMPTS).unwrap();
    assert_eq!(attempts.value, Value::Int(2));
}

#[test]
fn a_subscribe_after_an_unsubscribe_is_a_new_attempt() {
    let mut run = Run::new();
    run.apply(1000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 1000, with_track("PA_1", "TR_1")))
        .apply(1100, &analytics("TRACK_SUBSCRIBED", 1100, with_track("PA_1", "TR_1")))
        .apply(2000, &analytics("TRACK_UNSUBSCRIBED", 2000, with_track("PA_1", "TR_1")))
        .apply(3000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 3000, with_track("PA_1", "TR_1")))
        .apply(3100, &analytics("TRACK_SUBSCRIBED", 3100, with_track("PA_1", "TR_1")))
        .apply(4000, &analytics("PARTICIPANT_LEFT", 4000, participant("PA_1")))
        .tick(4000 + 35_000);
    let spans = run.spans(span::TRACK_SUBSCRIBE);
    assert_eq!(spans.len(), 2);
    assert_ne!(spans[0].span_id, spans[1].span_id);
}

#[test]
fn a_subscribe_ended_by_an_unpublish_is_no_error() {
    let mut run = Run::new();
    run.apply(500, &analytics("TRACK_PUBLISHED", 500, with_track("PA_2", "TR_1")))
        .apply(1000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 1000, with_track("PA_1", "TR_1")))
        .apply(1200, &analytics("TRACK_UNPUBLISHED", 1200, with_track("PA_2", "TR_1")))
        .apply(4000, &analytics("PARTICIPANT_LEFT", 4000, participant("PA_1")))
        .tick(4000 + 35_000);
    let subscribe = run.span(span::TRACK_SUBSCRIBE);
    assert_eq!(text(&subscribe.attributes, key::SUBSCRIBE_RESULT), Some("track_unpublished"));
    assert!(subscribe.failure().is_none());
    assert_eq!(text(&subscribe.attributes, key::PUBLISHER_ID), Some("PA_2"));
    assert_eq!(subscribe.links.len(), 1);
}

#[test]
fn open_tracks_end_with_their_participant_and_name_the_rule() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(1100, &analytics("TRACK_PUBLISH_REQUESTED", 1100, with_track("PA_1", "TR_1")))
        .apply(1200, &analytics("TRACK_PUBLISHED", 1200, with_track("PA_1", "TR_1")))
        .apply(1300, &analytics("TRACK_PUBLISH_REQUESTED", 1300, with_track("PA_1", "TR_2")))
        .apply(5000, &analytics("PARTICIPANT_LEFT", 5000, participant("PA_1")))
        .tick(5000 + 35_000);
    let track = run.span(span::TRACK);
    assert_eq!(text(&track.attributes, key::END_INFERRED), Some("participant_left"));
    assert_eq!(track.end, run.span(span::PARTICIPANT).end);
    let publishes = run.spans(span::TRACK_PUBLISH);
    assert_eq!(publishes.len(), 2);
    let unanswered =
        publishes.iter().find(|span| text(&span.attributes, key::END_INFERRED).is_some());
    assert!(unanswered.unwrap().failure().is_none(), "an unanswered publish is no error");
}

#[test]
fn a_participant_that_outlives_its_room_ends_with_it_after_the_linger() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(8000, &analytics("ROOM_ENDED", 8000, json!({})))
        .tick(8000 + 34_999);
    assert!(run.out.spans.is_empty(), "a late PARTICIPANT_LEFT may still arrive");
    run.tick(8000 + 35_000);
    let own = run.span(span::PARTICIPANT);
    assert_eq!(text(&own.attributes, key::END_INFERRED), Some("room_ended"));
    assert_eq!(own.end, run.span(span::ROOM).end);
}

#[test]
fn a_participant_that_leaves_after_its_rooms_end_has_its_own_linger() {
    let mut run = Run::new();
    run.apply(0, &analytics("PARTICIPANT_JOINED", 0, participant("PA_1")))
        .apply(1000, &analytics("ROOM_ENDED", 1000, json!({})))
        .apply(2000, &analytics("PARTICIPANT_LEFT", 2000, participant("PA_1")))
        .tick(1000 + 35_000);
    assert!(run.out.spans.is_empty());
    assert_eq!(run.engine.next_deadline(), Some(at(2000 + 35_000)));
    run.tick(2000 + 35_000);
    let ends = [span::PARTICIPANT, span::ROOM].map(|name| run.span(name).end);
    assert_eq!(ends.map(|end| end.since(at(0)).as_secs()), [2, 1]);
}

#[test]
fn a_shutdown_ends_open_spans_at_their_last_known_time() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(5000, &analytics("PARTICIPANT_ACTIVE", 5000, participant("PA_1")));
    run.engine.close(at(60_000), "shutdown", &mut run.out);
    let own = run.span(span::PARTICIPANT);
    assert_eq!(text(&own.attributes, key::END_INFERRED), Some("shutdown"));
    assert_eq!(own.end.since(at(5000)).as_millis(), 0);
    let room = run.span(span::ROOM);
    assert_eq!(text(&room.attributes, key::END_INFERRED), Some("shutdown"));
    assert!(run.span(span::PARTICIPANT_CONNECT).failure().is_none());
}

#[test]
fn a_shutdown_does_not_change_reported_ends() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(5000, &analytics("PARTICIPANT_LEFT", 5000, participant("PA_1")));
    assert!(run.out.spans.is_empty(), "its last stats may still arrive");
    run.engine.close(at(6000), "shutdown", &mut run.out);
    assert_eq!(text(&run.span(span::PARTICIPANT).attributes, key::END_INFERRED), None);
}

#[test]
fn the_linger_does_not_move_the_recorded_end() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(5000, &analytics("PARTICIPANT_LEFT", 5000, participant("PA_1")))
        .tick(5000 + 35_000);
    assert_eq!(run.span(span::PARTICIPANT).end.nanos() / 1_000_000, at(5000).nanos() / 1_000_000);
}

#[test]
fn a_duplicate_changes_nothing_and_is_counted() {
    let joined = analytics("PARTICIPANT_JOINED", 1000, participant("PA_1"));
    let mut run = Run::new();
    run.apply(1000, &joined).apply(1500, &joined);
    assert_eq!(run.tally, Tally { duplicates: 1, merged: 0 });
    assert_eq!(run.out.logs.len(), 1);
    let left = webhook("participant_left", 2000, json!({"participant": {"sid": "PA_1"}}));
    run.apply_as(2000, &left, false).apply_as(9000, &left, false);
    assert_eq!(run.tally, Tally { duplicates: 1, merged: 0 });
    assert_eq!(run.out.logs.len(), 2);
}

#[test]
fn a_webhook_waits_two_seconds_for_its_twin() {
    let mut run = Run::new();
    let left = webhook("participant_left", 2000, json!({"participant": {"sid": "PA_1"}}));
    run.apply(2000, &left).tick(3999);
    assert!(run.out.logs.is_empty());
    run.tick(4000);
    assert_eq!(text(&run.out.logs[0].attributes, key::SOURCE), Some("webhook"));
    // A twin that arrives later makes no second record.
    run.apply(4100, &analytics("PARTICIPANT_LEFT", 2000, participant("PA_1")));
    assert_eq!((run.out.logs.len(), run.tally.merged), (1, 1));
}

#[test]
fn a_webhook_does_not_wait_without_connected_analytics() {
    let mut run = Run::new();
    let left = webhook("participant_left", 2000, json!({"participant": {"sid": "PA_1"}}));
    run.apply_as(2000, &left, false);
    assert_eq!(run.out.logs.len(), 1);
}

#[test]
fn a_waiting_webhook_gets_its_exact_time_from_its_delivery() {
    let mut run = Run::new();
    let left = webhook("participant_left", 2000, json!({"participant": {"sid": "PA_1"}}));
    let delivery = json!({"webhook": {
        "eventId": "EV_participant_left_2000", "event": "participant_left", "roomId": ROOM,
        "queuedAt": rfc3339(2345),
    }});
    run.apply(2400, &left).apply(2500, &analytics("WEBHOOK", 2500, delivery)).tick(5000);
    let log = run.out.logs.iter().find(|log| &*log.event_name == name::PARTICIPANT_LEFT).unwrap();
    assert_eq!(log.time.nanos() / 1_000_000, at(2345).nanos() / 1_000_000);
    assert_eq!(text(&log.attributes, key::TIME_PRECISION), None);
}

#[test]
fn a_whole_second_is_raised_to_the_newest_time_known_of_its_entity() {
    let mut run = Run::new();
    // created_at is truncated to 1 s and so is before joined_at_ms, as in 8 of 13 real webhooks.
    let joined = json!({"participant": {"sid": "PA_1", "joinedAtMs": "1795406961937"}});
    run.apply_as(1990, &webhook("participant_joined", 1940, joined), false);
    let log = &run.out.logs[0];
    assert_eq!(log.time, Time::from_millis(1_795_406_961_937).unwrap());
    assert_eq!(text(&log.attributes, key::TIME_PRECISION), Some("1s"));
}

#[test]
fn an_unknown_type_is_logged_as_itself() {
    let read = livekit::webhook(
        json!({"event": "room_upgraded", "id": "EV_1", "room": {"sid": ROOM}})
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(read.unknown.event_types, 1);
    let mut run = Run::new();
    run.apply(0, &read.decoded);
    assert_eq!(&*run.out.logs[0].event_name, "lk.room.upgraded");
    assert_eq!(text(&run.out.logs[0].attributes, key::EVENT_TYPE), Some("room_upgraded"));
    assert_eq!(run.out.logs[0].severity, Severity::Warn);

    // AnalyticsEvents { events: [ { type: 99, room_id: "RM_test" } ] }
    let message = [&[0x0a, 11, 0x08, 99, 0x1a, 7][..], ROOM.as_bytes()].concat();
    let read = livekit::events(&message).unwrap();
    assert_eq!(read.unknown.event_types, 1);
    run.apply(0, &read.decoded);
    assert_eq!(&*run.out.logs[1].event_name, name::UNKNOWN);
    assert_eq!(text(&run.out.logs[1].attributes, key::EVENT_TYPE), Some("99"));
}

#[test]
fn a_repeated_identity_is_two_participants() {
    let mut run = Run::new();
    let who = |sid: &str| {
        json!({"participantId": sid,
            "participant": {"sid": sid, "identity": "ann", "joinedAtMs": "1795406961000"}})
    };
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, who("PA_1")))
        .apply(5000, &analytics("PARTICIPANT_LEFT", 5000, who("PA_1")))
        .apply(5000, &analytics("PARTICIPANT_JOINED", 5001, who("PA_2")))
        .tick(5000 + 35_000);
    run.engine.close(at(60_000), "shutdown", &mut run.out);
    assert_eq!(run.spans(span::PARTICIPANT).len(), 2);
}

#[test]
fn every_analytics_type_has_a_name_of_its_own() {
    let kinds = analytics_types();
    assert_eq!(kinds.len(), 45);
    let mut names = std::collections::BTreeSet::new();
    for kind in &kinds {
        let mut run = Run::new();
        run.apply(1000, &analytics(kind, 1000, participant("PA_1")));
        let log = &run.out.logs[0];
        assert!(names.insert(log.event_name.to_string()), "{kind} shares {}", log.event_name);
        let words: String = log.event_name.trim_start_matches("lk.").replace('.', "_");
        assert!(words.to_uppercase() == *kind || *kind == "API_CALL", "{kind}: {words}");
    }
}

#[test]
fn every_webhook_is_known() {
    let proto = proto_file("livekit_webhook.proto");
    let (_, list) = proto.split_once("// one of ").unwrap();
    let (list, _) = list.split_once("string event").unwrap();
    let events: Vec<&str> = list
        .split(|each: char| !(each.is_ascii_lowercase() || each == '_'))
        .filter(|each| each.contains('_'))
        .collect();
    assert_eq!(events.len(), 14);
    for event in events {
        let Decoded::Events(decoded) = webhook(event, 0, json!({})) else { panic!("events") };
        let [Event { kind, .. }] = &decoded[..] else { panic!("one event") };
        let unknown = matches!(kind, livekit_otel_model::event::EventKind::Unknown(_));
        assert!(!unknown, "{event} is not known");
    }
}

/// A .proto file of the livekit-protocol version that this build uses.
fn proto_file(name: &str) -> String {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Json = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "livekit-protocol").unwrap();
    let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
    let path = manifest.parent().unwrap().join("protocol/protobufs").join(name);
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn analytics_types() -> Vec<String> {
    let proto = proto_file("livekit_analytics.proto");
    let (_, list) = proto.split_once("enum AnalyticsEventType {").unwrap();
    let (list, _) = list.split_once('}').unwrap();
    let names = list.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().to_owned()).filter(|name| !name.contains("//")).collect()
}

#[test]
fn stats_of_an_unknown_participant_are_counted() {
    let body = json!({"stats": [{
        "id": "AS_1", "timeStamp": rfc3339(1000), "roomId": ROOM, "participantId": "PA_1",
        "trackId": "TR_1", "mime": "audio/opus", "score": 4.0,
        "streams": [{"primaryPackets": 100, "packetsLost": 5, "rtt": 30, "jitter": 2000}],
    }]});
    let read = livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap();
    let mut run = Run::new();
    run.apply(1000, &read.decoded).apply(1001, &read.decoded);
    assert_eq!(run.tally.duplicates, 1);
    run.engine.flush(at(2000), &mut run.out);
    let metrics = run.out.all_metrics();
    let packets = metrics.iter().find(|metric| metric.name == "lk.stream.packets");
    let livekit_otel_model::signal::Data::Sum { points, .. } = &packets.unwrap().data else {
        panic!("a sum")
    };
    let values: Vec<_> = points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(Number::Int(0)), Some(Number::Int(100))], "a zero opens the series");
    assert!(points[0].time < points[1].time);
}

#[test]
fn a_stat_without_a_participant_is_dropped_and_counted() {
    let body = json!({"stats": [
        {"id": "AS_1", "roomId": ROOM, "trackId": "TR_1"},
        {"id": "AS_2", "roomId": ROOM, "participantId": "PA_1", "trackId": "TR_1"},
    ]});
    let read = livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap();
    assert_eq!((read.items, read.unusable), (1, 1));
}

#[test]
fn a_late_window_does_not_change_an_emitted_span() {
    let window = |id: &str, millis: i64| {
        let body = json!({"stats": [{
            "id": id, "timeStamp": rfc3339(millis), "roomId": ROOM, "participantId": "PA_1",
            "trackId": "TR_1", "streams": [{"primaryPackets": 100}],
        }]});
        livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap().decoded
    };
    let mut run = Run::new();
    run.apply(1000, &analytics("TRACK_PUBLISHED", 1000, with_track("PA_1", "TR_1")))
        .apply(2000, &window("AS_1", 2000))
        .apply(3000, &analytics("PARTICIPANT_LEFT", 3000, participant("PA_1")))
        .tick(3000 + 35_000)
        .apply(60_000, &window("AS_2", 33_000))
        .tick(200_000);
    let track = run.span(span::TRACK);
    let packets = track.attributes.iter().find(|each| each.key == key::STATS_PACKETS).unwrap();
    assert_eq!(packets.value, Value::Int(100));
    assert_eq!(run.spans(span::PARTICIPANT).len(), 1);
}

#[test]
fn a_closed_room_is_forgotten_after_an_hour() {
    let mut run = Run::new();
    run.apply(1000, &analytics("ROOM_ENDED", 1000, json!({}))).tick(40_000);
    assert_eq!(run.spans(span::ROOM).len(), 1);
    // After 10 quiet seconds it is packed.
    let quiet = run.engine.next_deadline().unwrap();
    assert_eq!(quiet.since(at(40_000)), Duration::from_secs(10));
    run.engine.tick(quiet, &mut run.out);
    let next = run.engine.next_deadline().unwrap();
    assert_eq!(next.since(at(40_000)), Duration::from_hours(1));
    run.engine.tick(next, &mut run.out);
    assert_eq!(run.engine.next_deadline(), None);
}

#[test]
fn a_participant_that_joins_after_its_rooms_end_has_a_span() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(2000, &analytics("PARTICIPANT_LEFT", 2000, participant("PA_1")))
        .apply(2000, &analytics("ROOM_ENDED", 2001, json!({})))
        .tick(40_000);
    assert_eq!(run.spans(span::ROOM).len(), 1);
    run.apply(41_000, &analytics("PARTICIPANT_JOINED", 41_000, participant("PA_2")));
    while let Some(next) = run.engine.next_deadline() {
        run.engine.tick(next, &mut run.out);
    }
    let late = run.spans(span::PARTICIPANT);
    assert_eq!(late.len(), 2);
    assert_eq!(text(&late[1].attributes, key::END_INFERRED), Some("room_ended"));
    assert_eq!(run.spans(span::ROOM).len(), 1);
}

#[test]
fn a_room_left_by_thousands_at_once_emits_each_span_once() {
    let mut run = Run::new();
    let count = 3000;
    for nth in 0..count {
        let who = participant(&format!("PA_{nth}"));
        run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000 + nth, who));
    }
    for nth in 0..count {
        let who = participant(&format!("PA_{nth}"));
        run.apply(9000, &analytics("PARTICIPANT_LEFT", 9000 + nth, who));
    }
    run.apply(9000, &analytics("ROOM_ENDED", 12_000, json!({}))).tick(9000 + 35_000);
    let ids: std::collections::BTreeSet<_> =
        run.spans(span::PARTICIPANT).iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), 3000);
    assert_eq!(run.spans(span::PARTICIPANT).len(), 3000);
    assert_eq!(run.out.spans.last().unwrap().name, span::ROOM, "the room's span is emitted last");
}
