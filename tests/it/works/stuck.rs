//! Egresses that are stuck: what is logged, counted and kept on their spans, and when.

use std::collections::BTreeMap;

use livekit_otel_engine::session::{Outputs, Sessions, Settings};
use livekit_otel_model::semconv::event as name;
use livekit_otel_model::signal::{LogRecord, Severity};
use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::run::Run;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

fn started() -> Decoded {
    let info = json!({"startedAt": nanos(1000), "roomComposite": {"roomName": "test"}});
    egress("egress_started", 1000, info)
}

fn updated(status: &str, millis: i64) -> Decoded {
    let info = json!({"status": status, "startedAt": nanos(1000), "updatedAt": nanos(millis)});
    egress("egress_updated", millis, info)
}

fn ended(status: &str, millis: i64) -> Decoded {
    let info = json!({"status": status, "startedAt": nanos(1000), "endedAt": nanos(millis)});
    egress("egress_ended", millis, info)
}

// The egress's participant `sid`, which joined at `joined`.
fn recorder(event: &str, millis: i64, sid: &str, joined: i64, reason: &str) -> Decoded {
    let info = json!({
        "sid": sid, "identity": "EG_1", "kind": "EGRESS", "disconnectReason": reason,
        "joinedAtMs": (at(joined).nanos() / 1_000_000).to_string(),
    });
    analytics(event, millis, json!({"participantId": sid, "participant": info}))
}

fn joined(sid: &str, millis: i64) -> Decoded {
    recorder("PARTICIPANT_JOINED", millis, sid, millis, "UNKNOWN_REASON")
}

fn left(sid: &str, joined: i64, millis: i64) -> Decoded {
    recorder("PARTICIPANT_LEFT", millis, sid, joined, "CLIENT_INITIATED")
}

fn room_ended(millis: i64) -> Decoded {
    analytics("ROOM_ENDED", millis, json!({}))
}

// Messages that arrive when they say, until that time.
fn until(messages: &[(i64, Decoded)], end: i64) -> Run {
    let mut run = Run::new();
    let room = analytics("ROOM_CREATED", 0, json!({}));
    run.apply(0, &room);
    let due = |run: &Run, to: i64| run.engine.next_deadline().filter(|due| *due <= at(to));
    for (millis, message) in messages {
        while let Some(due) = due(&run, *millis) {
            run.engine.tick(due, &mut run.out);
        }
        run.apply(*millis, message);
        run.restart();
    }
    while let Some(due) = due(&run, end) {
        run.engine.tick(due, &mut run.out);
    }
    run
}

fn records(logs: &[LogRecord]) -> Vec<&LogRecord> {
    logs.iter().filter(|record| &*record.event_name == name::EGRESS_STUCK).collect()
}

fn text_of(record: &LogRecord) -> &'static str {
    let reason = text(&record.attributes, key::EGRESS_STUCK_REASON).unwrap();
    REASONS.into_iter().find(|known| *known == reason).unwrap()
}

// Why and when an egress was stuck, by the log: seconds after the start.
fn logged(run: &Run) -> Vec<(&str, u64)> {
    let reason = |record: &&LogRecord| {
        let at = record.time.since(at(0)).as_secs();
        (text_of(record), at)
    };
    records(&run.out.logs).iter().map(reason).collect()
}

const REASONS: [&str; 4] = ["starting", "ending", "room_ended", "participant_left"];

fn by_arrival(messages: impl IntoIterator<Item = (i64, Decoded)>) -> Vec<(i64, Decoded)> {
    messages.into_iter().collect()
}

#[test]
fn an_egress_that_does_not_begin_to_record_is_stuck_after_90_seconds() {
    let messages = by_arrival([(1000, started())]);
    assert_eq!(logged(&until(&messages, 90_900)), []);
    let run = until(&messages, 10 * MINUTE);
    assert_eq!(logged(&run), [("starting", 91)]);
    let record = records(&run.out.logs)[0];
    assert_eq!(record.severity, Severity::Warn);
    assert_eq!(record.observed, at(91_000));
    for (key, expected) in [
        (key::EGRESS_ID, "EG_1"),
        (key::EGRESS_STATUS, "EGRESS_STARTING"),
        (key::EGRESS_TYPE, "room_composite"),
        (key::ROOM_ID, ROOM),
    ] {
        assert_eq!(text(&record.attributes, key), Some(expected), "{key}");
    }
    // It stays open, and its span says that it was stuck.
    assert!(run.spans(span::EGRESS).is_empty());
    let messages = [&messages[..], &[(200_000, ended("EGRESS_ABORTED", 200_000))]].concat();
    let mut run = until(&messages, 200_000);
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), Some("starting"));
    assert_eq!(Some((span.trace_id, span.span_id)), record.context);
}

#[test]
fn an_egress_that_starts_and_ends_in_time_is_not_stuck() {
    let messages = by_arrival([
        (1000, started()),
        (60_000, updated("EGRESS_ACTIVE", 60_000)),
        (30 * MINUTE, updated("EGRESS_ENDING", 30 * MINUTE)),
        (34 * MINUTE, ended("EGRESS_COMPLETE", 34 * MINUTE)),
    ]);
    let mut run = until(&messages, 40 * MINUTE);
    assert_eq!(logged(&run), []);
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), None);
}

#[test]
fn an_egress_whose_first_report_is_its_end_was_not_starting_all_the_time() {
    let file = json!({"status": "EGRESS_COMPLETE", "startedAt": nanos(1000),
        "endedAt": nanos(30 * MINUTE), "fileResults": [{"startedAt": nanos(2000)}]});
    let messages = by_arrival([(30 * MINUTE, egress("egress_ended", 30 * MINUTE, file))]);
    let mut run = until(&messages, 40 * MINUTE);
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), None);
}

#[test]
fn an_egress_that_does_not_end_is_stuck_after_five_minutes() {
    let messages = by_arrival([
        (1000, started()),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, updated("EGRESS_ENDING", 10_000)),
        (20_000, room_ended(20_000)),
    ]);
    assert_eq!(logged(&until(&messages, 309_000)), []);
    assert_eq!(logged(&until(&messages, 10 * MINUTE)), [("ending", 310)]);
}

#[test]
fn an_active_egress_whose_participant_left_is_stuck_unless_it_comes_back_or_ends() {
    let lost = [
        (1000, started()),
        (1500, joined("PA_1", 1500)),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, left("PA_1", 1500, 10_000)),
    ];
    assert_eq!(logged(&until(&lost, 39_000)), []);
    assert_eq!(logged(&until(&lost, 5 * MINUTE)), [("participant_left", 40)]);
    let with = |more: (i64, Decoded)| [&lost[..], &[more]].concat();
    for sound in [
        (15_000, updated("EGRESS_ENDING", 15_000)),
        (15_000, ended("EGRESS_FAILED", 15_000)),
        (15_000, joined("PA_2", 15_000)),
        // It was there before the other one left.
        (15_000, joined("PA_2", 9000)),
    ] {
        assert_eq!(logged(&until(&with(sound.clone()), 5 * MINUTE)), [], "{sound:?}");
    }
    // The second participant leaves too.
    let both =
        [&with((15_000, joined("PA_2", 15_000)))[..], &[(60_000, left("PA_2", 15_000, 60_000))]];
    assert_eq!(logged(&until(&both.concat(), 5 * MINUTE)), [("participant_left", 90)]);
}

#[test]
fn each_reason_is_logged_once() {
    let messages = by_arrival([
        (1000, started()),
        (1500, joined("PA_1", 1500)),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, left("PA_1", 1500, 10_000)),
        (20_000, room_ended(20_000)),
        (100_000, updated("EGRESS_ACTIVE", 2000)),
        (200_000, updated("EGRESS_ACTIVE", 2000)),
    ]);
    let mut run = until(&messages, 10 * MINUTE);
    assert_eq!(logged(&run), [("participant_left", 40), ("room_ended", 50)]);
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), Some("participant_left"));
    assert_eq!(text(&span.attributes, key::END_INFERRED), Some("silence"));
}

#[test]
fn a_participant_that_left_with_its_room_is_no_reason_of_its_own() {
    for reason in ["ROOM_DELETED", "ROOM_CLOSED"] {
        let messages = by_arrival([
            (1000, started()),
            (1500, joined("PA_1", 1500)),
            (2000, updated("EGRESS_ACTIVE", 2000)),
            (9990, recorder("PARTICIPANT_LEFT", 9990, "PA_1", 1500, reason)),
            (10_000, room_ended(10_000)),
        ]);
        assert_eq!(logged(&until(&messages, 5 * MINUTE)), [("room_ended", 40)], "{reason}");
    }
    // Nor is one whose leave was not reported.
    let messages = by_arrival([
        (1000, started()),
        (1500, joined("PA_1", 1500)),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, room_ended(10_000)),
    ]);
    assert_eq!(logged(&until(&messages, 5 * MINUTE)), [("room_ended", 40)]);
}

// The same message of another room.
fn elsewhere(event: &str, millis: i64, more: Json) -> Decoded {
    let room = json!({"roomId": "RM_other", "room": {"sid": "RM_other", "name": "other"}});
    analytics(event, millis, with(more, room))
}

#[test]
fn another_room_changes_no_egress_whatever_its_participants_are_named() {
    let info = json!({"sid": "PA_other", "identity": "EG_1", "kind": "EGRESS"});
    let other = json!({"participantId": "PA_other", "participant": info});
    let messages = by_arrival([
        (1000, started()),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (3000, elsewhere("PARTICIPANT_JOINED", 3000, other.clone())),
        (10_000, elsewhere("PARTICIPANT_LEFT", 10_000, other.clone())),
        (20_000, elsewhere("ROOM_ENDED", 20_000, json!({}))),
    ]);
    assert_eq!(logged(&until(&messages, 5 * MINUTE)), []);
    // Nor does it make one sound that is stuck.
    let messages = by_arrival([
        (1000, started()),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, room_ended(10_000)),
        (20_000, elsewhere("PARTICIPANT_JOINED", 20_000, other)),
    ]);
    assert_eq!(logged(&until(&messages, 5 * MINUTE)), [("room_ended", 40)]);
}

#[test]
fn a_participant_of_long_ago_that_is_reported_again_delays_nothing() {
    let old = 12;
    let sid = |nth: i64| format!("PA_{nth:02}");
    let mut messages = vec![
        (1000, started()),
        (1100, joined(&sid(0), 1100)),
        (2000, updated("EGRESS_ACTIVE", 2000)),
    ];
    for nth in 1..=old {
        let at = nth * 10_000;
        messages.push((at, joined(&sid(nth), at)));
        messages.push((at + 1, left(&sid(nth - 1), 1100.max(at - 10_000), at + 1)));
    }
    let end = (old + 1) * 10_000;
    messages.push((end, left(&sid(old), end - 10_000, end)));
    for again in [10_000, 20_000, 28_000] {
        let active = recorder("PARTICIPANT_ACTIVE", end + again, &sid(0), 1100, "UNKNOWN_REASON");
        messages.push((end + again, active));
    }
    let run = until(&messages, end + 5 * MINUTE);
    let since = u64::try_from(end / 1000).unwrap() + 30;
    assert_eq!(logged(&run), [("participant_left", since)]);
    assert_eq!(records(&run.out.logs)[0].observed.since(at(0)).as_secs(), since);
}

#[test]
fn a_room_that_goes_on_takes_its_egress_with_it() {
    let again = analytics("ROOM_CREATED", 25_000, json!({"id": "AE_again"}));
    let messages = by_arrival([
        (1000, started()),
        (2000, updated("EGRESS_ACTIVE", 2000)),
        (10_000, room_ended(10_000)),
        (25_000, again),
    ]);
    assert_eq!(logged(&until(&messages, 5 * MINUTE)), []);
}

#[test]
fn messages_that_arrive_together_after_an_outage_report_nothing_stuck() {
    let reports = [
        started(),
        joined("PA_1", 1500),
        updated("EGRESS_ACTIVE", 2000),
        left("PA_1", 1500, 10 * MINUTE),
        room_ended(10 * MINUTE),
        ended("EGRESS_COMPLETE", 10 * MINUTE + SECOND),
    ];
    let messages: Vec<_> = (20 * MINUTE..).step_by(100).zip(reports).collect();
    let mut run = until(&messages, 30 * MINUTE);
    assert_eq!(logged(&run), []);
    let span = run.wait().span(span::EGRESS);
    assert_eq!(text(&span.attributes, key::EGRESS_STUCK_REASON), None);
}

#[test]
fn stuck_egresses_are_counted_until_they_go_on() {
    let mut sessions = Sessions::new(Settings::default());
    let mut out = Outputs::default();
    let mut apply = |millis: i64, message: Option<Decoded>| {
        sessions.tick(at(millis), &mut out);
        if let Some(Decoded::Events(events)) = message {
            for event in &events {
                sessions.event(event, at(millis), true, &mut out);
            }
        }
        sessions.census().stuck_egresses
    };
    let none = BTreeMap::new();
    assert_eq!(apply(1000, Some(started())), none);
    assert_eq!(apply(100_000, None), BTreeMap::from([("starting", 1)]));
    assert_eq!(apply(101_000, Some(joined("PA_1", 101_000))), BTreeMap::from([("starting", 1)]));
    assert_eq!(apply(102_000, Some(updated("EGRESS_ACTIVE", 102_000))), none);
    assert_eq!(apply(110_000, Some(left("PA_1", 101_000, 110_000))), none);
    assert_eq!(apply(140_001, None), BTreeMap::from([("participant_left", 1)]));
    assert_eq!(apply(150_000, Some(joined("PA_2", 150_000))), none);
    // Stuck again for the same reason, it is counted again.
    assert_eq!(apply(160_000, Some(left("PA_2", 150_000, 160_000))), none);
    assert_eq!(apply(190_001, None), BTreeMap::from([("participant_left", 1)]));
    assert_eq!(apply(200_000, Some(ended("EGRESS_COMPLETE", 200_000))), none);
    assert_eq!(records(&out.logs).len(), 2);
}

// One message of an egress, its participants or its room; `nth` makes its id, which has its time, unique.
fn message(random: &mut Random, nth: i64) -> Decoded {
    let mut time = || 1000 + 15 * SECOND * i64::try_from(random.below(40)).unwrap() + nth;
    let first = time();
    let (sid, at) = random.of(&[("PA_1", 20 * SECOND), ("PA_2", 200 * SECOND)]);
    match random.below(7) {
        0 => started(),
        1 => updated("EGRESS_ACTIVE", first),
        2 => updated("EGRESS_ENDING", first),
        3 => ended(random.of(&["EGRESS_COMPLETE", "EGRESS_ABORTED"]), first),
        4 => joined(sid, at),
        5 => left(sid, at, at.max(first)),
        _ => room_ended(first),
    }
}

proptest! {
    #[test]
    fn what_is_stuck_does_not_depend_on_the_order_of_messages(
        seed in any::<u64>(),
        messages in proptest::collection::vec(any::<u64>(), 1..8),
        restart in 0..8_usize,
    ) {
        let mut random = Random::new(seed);
        let [one, other] = [(), ()].map(|()| {
            let mut order: Vec<_> =
                messages.iter().zip(0..).map(|(seed, nth)| (random.next(), nth, *seed)).collect();
            order.sort_unstable();
            let mut run = Run::new();
            run.apply(0, &started());
            for (place, (_, nth, seed)) in order.into_iter().enumerate() {
                if place == restart {
                    run.restart();
                }
                run.apply(20 * MINUTE, &message(&mut Random::new(seed), nth));
            }
            run.wait();
            let mut logged: Vec<_> =
                logged(&run).into_iter().map(|(why, at)| (why.to_owned(), at)).collect();
            logged.sort_unstable();
            (logged, run.span(span::EGRESS).clone())
        });
        prop_assert_eq!(one, other);
    }
}
