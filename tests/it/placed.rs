//! Events that name no room: it is found by the SIDs of their participant and track.

use std::time::Duration;

use livekit_otel_engine::ids;
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, RoomSid};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{LogRecord, Value};
use serde_json::{Value as Json, json};

use crate::messages::{ROOM, analytics, at, merge, participant, rfc3339, webhook, with_track};
use crate::run::{Run, text};

// As the helpers of the same names, but without a room.
fn bare_analytics(kind: &str, millis: i64, more: Json) -> Decoded {
    let id = format!("AE_{kind}_{millis}");
    let mut event = json!({"id": id, "type": kind, "timestamp": rfc3339(millis)});
    merge(&mut event, more);
    let body = json!({"events": [event]});
    livekit::events(&livekit::encode_capture("events", &body).unwrap()).unwrap().decoded
}

fn bare_webhook(event: &str, millis: i64, more: Json) -> Decoded {
    let created = ((1_795_406_960_000 + millis) / 1000).to_string();
    let id = format!("EV_{event}_{millis}");
    let mut body = json!({"event": event, "id": id, "createdAt": created});
    merge(&mut body, more);
    livekit::webhook(body.to_string().as_bytes()).unwrap().decoded
}

fn room() -> RoomSid {
    RoomSid::new(ROOM).unwrap()
}

fn is_in_room(log: &LogRecord) -> bool {
    let trace = log.context.map(|(trace, _)| trace);
    trace == Some(ids::trace(&room())) && text(&log.attributes, key::ROOM_ID) == Some(ROOM)
}

fn leaving(sid: &str) -> Json {
    let reason = "CLIENT_INITIATED";
    json!({"participant": {"sid": sid, "identity": "w", "disconnectReason": reason}})
}

fn joined(millis: i64) -> Decoded {
    let joined = (1_795_406_960_000 + millis).to_string();
    let who = json!({"participant": {"sid": "PA_1", "identity": "w", "joinedAtMs": joined}});
    webhook("participant_joined", millis, who)
}

fn of_track(sid: &str) -> Json {
    json!({"participant": {"sid": "PA_1", "identity": "w"},
        "track": {"sid": sid, "type": "AUDIO", "source": "MICROPHONE"}})
}

// A call of which only the start, the join and the end name the room.
fn call() -> Vec<(i64, Decoded)> {
    vec![
        (0, webhook("room_started", 0, json!({}))),
        (1000, joined(1000)),
        (3000, bare_webhook("track_published", 3000, of_track("TR_1"))),
        (8000, bare_webhook("track_unpublished", 8000, of_track("TR_1"))),
        (9000, bare_webhook("participant_left", 9000, leaving("PA_1"))),
        (20_000, webhook("room_finished", 20_000, json!({}))),
    ]
}

fn check_call(run: &Run) {
    let [room, who, track] =
        [span::ROOM, span::PARTICIPANT, span::TRACK].map(|name| run.span(name));
    assert_eq!((who.parent, track.parent), (Some(room.span_id), Some(who.span_id)));
    let took = [room, who, track].map(|span| span.end.since(span.start).as_secs());
    assert_eq!(took, [20, 8, 5]);
    for span in [who, track] {
        assert_eq!(text(&span.attributes, key::END_INFERRED), None);
    }
    let reason = text(&who.attributes, key::DISCONNECT_REASON).unwrap();
    assert_eq!(reason, "CLIENT_INITIATED");
    assert_eq!(run.out.logs.len(), 6);
    assert!(run.out.logs.iter().all(is_in_room), "{:?}", run.out.logs);
}

#[test]
fn events_without_a_room_happen_in_that_of_their_participant() {
    let mut run = Run::new();
    for (millis, decoded) in call() {
        run.apply_as(millis, &decoded, false);
    }
    check_call(run.wait());
}

#[test]
fn events_without_a_room_wait_for_their_participant() {
    for restarts in [false, true] {
        let mut run = Run::new();
        for (nth, (_, decoded)) in (20_100..).step_by(100).zip(call().into_iter().rev()) {
            run.apply_as(nth, &decoded, false);
            if restarts {
                run.restart();
            }
        }
        check_call(run.wait());
        let mut observed: Vec<_> = run.out.logs.iter().map(|log| log.observed).collect();
        observed.sort();
        let received: Vec<_> = (0..6).map(|nth| at(20_100 + 100 * nth)).collect();
        assert_eq!(observed, received, "{restarts}");
    }
}

#[test]
fn every_kind_of_event_finds_its_room() {
    let kinds = crate::behaviour::analytics_types();
    for kind in &kinds {
        let mut run = Run::new();
        run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
            .apply(2000, &analytics("TRACK_PUBLISHED", 2000, with_track("PA_1", "TR_1")))
            .apply(3000, &bare_analytics(kind, 3000, json!({"participantId": "PA_1"})))
            .apply(4000, &bare_analytics(kind, 4000, json!({"trackId": "TR_1"})));
        assert_eq!(run.out.logs.len(), 4, "{kind}");
        assert!(run.out.logs.iter().all(is_in_room), "{kind}: {:?}", run.out.logs);
    }
}

#[test]
fn a_tracks_event_without_a_participant_is_its_publishers() {
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_1")))
        .apply(2000, &analytics("TRACK_PUBLISHED", 2000, with_track("PA_1", "TR_1")))
        .apply(3000, &analytics("TRACK_MUTED", 3000, json!({"trackId": "TR_1"})))
        .apply(4000, &bare_analytics("TRACK_UNPUBLISHED", 4000, json!({"trackId": "TR_1"})))
        .apply(9000, &analytics("PARTICIPANT_LEFT", 9000, participant("PA_1")))
        .wait();
    let track = run.span(span::TRACK);
    assert_eq!(track.end.since(track.start), Duration::from_secs(2));
    assert_eq!(text(&track.attributes, key::END_INFERRED), None);
    let mutes = track.attributes.iter().find(|each| each.key == key::TRACK_MUTES);
    assert_eq!(mutes.unwrap().value, Value::Int(1));
}

#[test]
fn an_event_of_an_unknown_participant_is_logged_without_a_room_after_half_a_minute() {
    let mut run = Run::new();
    let left = bare_webhook("participant_left", 9000, leaving("PA_9"));
    run.apply_as(9000, &left, false).tick(38_999);
    assert!(run.out.logs.is_empty());
    run.restart().tick(39_000);
    let [log] = &run.out.logs[..] else { panic!("{:?}", run.out.logs) };
    assert_eq!((log.context, log.observed), (None, at(9000)));
    assert_eq!(run.apply_as(40_000, &left, false).tally.duplicates, 1);

    // What waits at shutdown is logged too.
    let mut run = Run::new();
    run.apply_as(9000, &left, false);
    run.engine.close(at(9500), "shutdown", &mut run.out);
    assert_eq!(run.out.logs.len(), 1);
}

#[test]
fn of_too_many_waiting_events_the_oldest_is_logged_at_once() {
    let mut run = Run::new();
    for nth in 0..10_003 {
        let who = json!({"participant": {"sid": format!("PA_{nth}")}});
        run.apply_as(1000, &bare_webhook("participant_left", nth, who), false);
    }
    let sids: Vec<_> =
        run.out.logs.iter().map(|log| text(&log.attributes, key::PARTICIPANT_ID)).collect();
    assert_eq!(sids, [Some("PA_0"), Some("PA_1"), Some("PA_2")]);
}

#[test]
fn late_events_without_a_room_find_an_ended_room_until_it_is_forgotten() {
    const QUIET: i64 = 20_000 + 35_000 + 11_000;
    for restarts in [false, true] {
        let mut run = Run::new();
        for (millis, decoded) in call() {
            run.apply_as(millis, &decoded, false);
        }
        run.tick(56_000).tick(QUIET);
        let mut late = |millis: i64| {
            if restarts {
                run.restart();
            }
            let event = bare_webhook("track_unpublished", millis, of_track("TR_1"));
            run.apply_as(millis, &event, false);
            run.out.logs.pop()
        };
        assert!(late(QUIET + 1000).is_some_and(|log| is_in_room(&log)), "packed");
        assert!(late(QUIET + 2000).is_some_and(|log| is_in_room(&log)), "unpacked");
        let forgotten = QUIET + 3_700_000;
        run.tick(forgotten - 50_000).tick(forgotten);
        let event = bare_webhook("track_unpublished", forgotten, of_track("TR_1"));
        let logs = run.out.logs.len();
        run.apply_as(forgotten, &event, false).wait();
        assert_eq!(run.out.logs.len(), logs + 1);
        assert_eq!(run.out.logs[logs].context, None, "forgotten");
        assert_eq!(run.spans(span::ROOM).len(), 1);
    }
}

#[test]
fn of_several_rooms_with_a_track_an_open_one_is_meant() {
    let in_room = |room: &str, millis: i64| {
        let mut of_it = with_track("PA_1", "TR_1");
        merge(&mut of_it, json!({"roomId": room, "room": {"sid": room, "name": room}}));
        analytics("TRACK_PUBLISHED", millis, of_it)
    };
    let mut run = Run::new();
    run.apply(1000, &in_room("RM_a", 1000)).apply(2000, &in_room("RM_b", 2000));
    let ended = json!({"roomId": "RM_b", "room": {"sid": "RM_b"}});
    let muted = |millis| bare_analytics("TRACK_MUTED", millis, json!({"trackId": "TR_1"}));
    run.apply(3000, &muted(3000))
        .apply(4000, &analytics("ROOM_ENDED", 4000, ended))
        .apply(5000, &muted(5000));
    let rooms = [2, 4].map(|nth| text(&run.out.logs[nth].attributes, key::ROOM_ID));
    assert_eq!(rooms, [Some("RM_b"), Some("RM_a")]);
    let traces = [2, 4].map(|nth| run.out.logs[nth].context.unwrap().0);
    let expected = ["RM_b", "RM_a"].map(|room| ids::trace(&RoomSid::new(room).unwrap()));
    assert_eq!(traces, expected);
}
