//! Rooms that go on after their end was reported, and participants that begin after it.

use livekit_otel_model::event::Decoded;
use livekit_otel_model::semconv::{event as name, key, span};
use livekit_otel_model::signal::{Data, Number, Span};
use serde_json::{Value as Json, json};

use crate::messages::{analytics, at, merge, participant, webhook};
use crate::run::{Run, text};

const HOUR: i64 = 3_600_000;

fn who(sid: &str, joined: i64) -> Json {
    let joined = (1_795_406_960_000 + joined).to_string();
    json!({"participantId": sid, "participant": {"sid": sid, "joinedAtMs": joined}})
}

fn started(millis: i64) -> Decoded {
    webhook("room_started", millis, json!({}))
}

fn finished(millis: i64) -> Decoded {
    webhook("room_finished", millis, json!({"roomEndReason": "ROOM_END_REASON_DEPARTURE_TIMEOUT"}))
}

fn joined(sid: &str, millis: i64) -> Decoded {
    analytics("PARTICIPANT_JOINED", millis, who(sid, millis))
}

fn left(sid: &str, joined: i64, millis: i64) -> Decoded {
    analytics("PARTICIPANT_LEFT", millis, who(sid, joined))
}

// A call of 20 s with one participant.
fn first_life(run: &mut Run) {
    run.apply_as(0, &started(0), false)
        .apply_as(1000, &joined("PA_1", 1000), false)
        .apply_as(19_000, &left("PA_1", 1000, 19_000), false)
        .apply_as(20_000, &finished(20_000), false);
}

fn seconds(span: &Span) -> (u64, u64) {
    (span.start.since(at(0)).as_secs(), span.end.since(at(0)).as_secs())
}

fn open_rooms(run: &mut Run, millis: i64) -> Option<Number> {
    run.engine.flush(at(millis), &mut run.out);
    let metrics = run.out.all_metrics();
    let rooms = metrics.iter().rfind(|metric| metric.name == "lk.room.count").unwrap();
    let (Data::Sum { points, .. } | Data::Gauge(points)) = &rooms.data else { panic!("points") };
    points.last().unwrap().value
}

#[test]
fn a_room_that_is_started_again_goes_on() {
    for restarts in [false, true] {
        let mut run = Run::new();
        first_life(&mut run);
        run.apply_as(30_000, &started(30_000), false);
        assert_eq!(open_rooms(&mut run, 30_500), Some(Number::Int(1)));
        if restarts {
            run.restart();
        }
        run.apply_as(31_000, &joined("PA_2", 31_000), false).tick(100_000);
        assert_eq!(run.spans(span::PARTICIPANT).len(), 1, "PA_2 is still there");
        run.apply_as(400_000, &left("PA_2", 31_000, 400_000), false)
            .apply_as(401_000, &finished(401_000), false)
            .wait();
        let room = run.span(span::ROOM);
        assert_eq!(seconds(room), (0, 401));
        assert_eq!(text(&room.attributes, key::END_INFERRED), None);
        let participants = run.spans(span::PARTICIPANT);
        assert_eq!(
            participants.iter().map(|it| seconds(it)).collect::<Vec<_>>(),
            [(1, 19), (31, 400)]
        );
        assert!(participants.iter().all(|who| who.parent == Some(room.span_id)));
        // Its record has the time of the restart, not that of the room's creation.
        let logs = run.out.logs.iter().filter(|log| &*log.event_name == name::ROOM_CREATED);
        let times: Vec<_> = logs.map(|log| log.time.since(at(0)).as_secs()).collect();
        assert_eq!(times, [0, 30]);
    }
}

#[test]
fn a_room_whose_span_was_emitted_goes_on_in_another_of_its_trace() {
    // While it is kept as it was, once it is packed, and once it is forgotten.
    for again in [60, 100, 7200] {
        let again = again * 1000;
        let mut run = Run::new();
        first_life(&mut run);
        while let Some(due) = run.engine.next_deadline().filter(|due| *due <= at(again)) {
            run.engine.tick(due, &mut run.out);
        }
        assert_eq!(run.spans(span::ROOM).len(), 1);
        run.apply_as(again, &started(again), false)
            .restart()
            .apply_as(again + 1000, &joined("PA_2", again + 1000), false)
            .apply_as(again + 50_000, &left("PA_2", again + 1000, again + 50_000), false)
            .apply_as(again + 60_000, &finished(again + 60_000), false)
            .wait();
        let rooms = run.spans(span::ROOM);
        let [first, second] = rooms[..] else { panic!("{rooms:?}") };
        let since = u64::try_from(again / 1000).unwrap();
        assert_eq!((seconds(first), seconds(second)), ((0, 20), (since, since + 60)));
        assert_eq!(first.trace_id, second.trace_id);
        assert_ne!(first.span_id, second.span_id);
        let links: Vec<_> = second.links.iter().map(|link| link.span_id).collect();
        assert_eq!((second.parent, links), (None, vec![first.span_id]));
        let participants = run.spans(span::PARTICIPANT);
        let parents: Vec<_> = participants.iter().map(|who| who.parent).collect();
        assert_eq!(parents, [Some(first.span_id), Some(second.span_id)]);
        assert_eq!(seconds(participants[1]), (since + 1, since + 50));
    }
}

#[test]
fn a_start_that_is_reported_late_opens_no_room_again() {
    let start = json!({"roomId": "", "room": {"sid": "RM_test", "name": "test"}});
    let late = || analytics("ROOM_CREATED", 0, start.clone());
    let mut run = Run::new();
    first_life(&mut run);
    run.apply_as(21_000, &late(), false);
    assert_eq!(open_rooms(&mut run, 21_500), Some(Number::Int(0)));
    assert_eq!(seconds(run.wait().span(span::ROOM)), (0, 20));
    // Also if it is the first report of the start.
    let mut run = Run::new();
    run.apply_as(1000, &joined("PA_1", 1000), false)
        .apply_as(19_000, &left("PA_1", 1000, 19_000), false)
        .apply_as(20_000, &finished(20_000), false)
        .apply_as(21_000, &late(), false);
    assert_eq!(open_rooms(&mut run, 21_500), Some(Number::Int(0)));
    assert_eq!(seconds(run.wait().span(span::ROOM)), (0, 20));
}

#[test]
fn an_end_before_the_restart_is_not_that_of_the_room() {
    let steps = [
        (0, started(0)),
        (1000, joined("PA_1", 1000)),
        (19_000, left("PA_1", 1000, 19_000)),
        (20_000, finished(20_000)),
        (24_000, started(24_000)),
        (25_000, joined("PA_2", 25_000)),
        (50_000, left("PA_2", 25_000, 50_000)),
        (60_000, finished(60_000)),
    ];
    // The first end and the restart in any place between what is around them.
    for order in [[3, 4, 5], [4, 3, 5], [4, 5, 3], [5, 4, 3], [3, 5, 4], [5, 3, 4]] {
        for first in [0, 4] {
            let mut order: Vec<usize> = [&[0, 1, 2][..], &order, &[6, 7]].concat();
            order.swap(0, first);
            let mut run = Run::new();
            for nth in &order {
                run.apply_as(26_000 + steps[*nth].0 / 100, &steps[*nth].1, false);
            }
            run.wait();
            assert_eq!(seconds(run.span(span::ROOM)), (0, 60), "{order:?}");
            let of: Vec<_> = run.spans(span::PARTICIPANT).iter().map(|it| seconds(it)).collect();
            assert_eq!(of, [(1, 19), (25, 50)], "{order:?}");
        }
    }
}

#[test]
fn who_joins_after_the_rooms_end_stays_until_it_leaves() {
    for (after, stays) in [(100, 60), (100, 600), (2000, 60), (30, 1)] {
        let (came, went) = (after * 1000, (after + stays) * 1000);
        let mut run = Run::new();
        first_life(&mut run);
        run.tick(came)
            .apply_as(came, &joined("PA_2", came), false)
            .tick(came + 36_000.min(stays * 1000 - 1))
            .apply_as(went, &left("PA_2", came, went), false)
            .wait();
        let seconds = |secs: i64| u64::try_from(secs).unwrap();
        let late = run.spans(span::PARTICIPANT)[1];
        assert_eq!(self::seconds(late), (seconds(after), seconds(after + stays)));
        assert_eq!(text(&late.attributes, key::END_INFERRED), None);
        // So long after it, the end was not the room's.
        let rooms = run.spans(span::ROOM);
        assert_eq!(rooms.len(), if after + stays > 20 + 240 { 2 } else { 1 }, "{after} {stays}");
        let parent = rooms.last().unwrap();
        assert_eq!(late.parent, Some(parent.span_id));
        if rooms.len() > 1 {
            assert!(parent.start <= late.start && late.end <= parent.end);
        }
    }
}

#[test]
fn who_joins_after_the_rooms_end_and_is_not_heard_of_ends_within_an_hour() {
    let mut run = Run::new();
    first_life(&mut run);
    run.tick(60_000).apply_as(60_000, &joined("PA_2", 60_000), false).tick(60_000 + HOUR - 1000);
    assert_eq!(run.spans(span::PARTICIPANT).len(), 1);
    run.tick(60_000 + HOUR);
    let late = run.spans(span::PARTICIPANT)[1];
    assert_eq!(text(&late.attributes, key::END_INFERRED), Some("room_ended"));
}

#[test]
fn a_participant_whose_join_was_lost_begins_with_its_first_event() {
    let mut run = Run::new();
    let bare = |sid: &str| json!({"participantId": sid});
    let mut muted = bare("PA_1");
    merge(&mut muted, json!({"trackId": "TR_1"}));
    run.apply(5000, &analytics("PARTICIPANT_LEFT", 5000, bare("PA_1")))
        .apply(5100, &analytics("TRACK_MUTED", 2000, muted.clone()))
        .apply(5200, &analytics("TRACK_PUBLISHED", 1000, muted))
        .wait();
    assert_eq!(seconds(run.span(span::PARTICIPANT)), (1, 5));
    // The room's first event is theirs, too.
    let mut run = Run::new();
    let room = json!({"room": {"sid": "RM_test"}});
    let mut bare = participant("PA_1");
    merge(&mut bare, room.clone());
    run.apply(5000, &analytics("ROOM_ENDED", 5000, room))
        .apply(5100, &analytics("PARTICIPANT_ACTIVE", 1500, bare))
        .wait();
    assert_eq!(seconds(run.span(span::ROOM)).0, 1);
}

#[test]
fn a_room_that_is_silent_after_its_restart_ends_as_others_do() {
    let mut run = Run::new();
    first_life(&mut run);
    run.apply_as(30_000, &started(30_000), false).wait();
    let room = run.span(span::ROOM);
    assert_eq!(seconds(room), (0, 30));
    assert_eq!(text(&room.attributes, key::END_INFERRED), Some("empty"));
    assert_eq!(text(&room.attributes, key::ROOM_END_REASON), None);
}
