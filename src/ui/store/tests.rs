use std::collections::BTreeSet;

use super::*;
use crate::ui::tests::played;
use livekit_otel_model::event::{
    Counter, Counts, Direction, ParticipantSid, RoomSid, StreamStat, TrackSid,
};
use livekit_otel_model::semconv::event;
use livekit_otel_model::signal::{LogRecord, Severity, Span, SpanKind};

fn at(secs: i64) -> Time {
    Time::from_secs(1_795_406_960 + secs).unwrap()
}

fn log(event: &str, room: &str, who: &str, secs: i64) -> Passed {
    let attributes = vec![
        Attribute::new(key::ROOM_ID, room),
        Attribute::new(key::PARTICIPANT_ID, who),
        Attribute::new(key::PARTICIPANT_IDENTITY, "ann"),
    ];
    Passed::Logs(vec![LogRecord {
        event_name: event.into(),
        time: at(secs),
        observed: at(secs),
        severity: Severity::Info,
        context: None,
        attributes,
    }])
}

fn span(name: &'static str, room: &str, who: &str, secs: i64) -> Span {
    let attributes = [(key::ROOM_ID, room), (key::PARTICIPANT_ID, who)];
    let attributes = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    Span {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent: None,
        name,
        kind: SpanKind::Internal,
        start: at(0),
        end: at(secs),
        attributes: attributes.map(|(key, value)| Attribute::new(key, value)).collect(),
        links: Vec::new(),
    }
}

fn window(room: &str, who: &str, track: &str, secs: i64) -> StreamStat {
    StreamStat {
        id: "".into(),
        at: Some(at(secs)),
        node: None,
        room: RoomSid::new(room).unwrap(),
        room_name: None,
        participant: ParticipantSid::new(who).unwrap(),
        track: TrackSid::new(track).unwrap(),
        direction: Direction::Upstream,
        mime_type: None,
        score: Some(4.0),
        min_score: None,
        start: Some(at(secs - 10)),
        end: Some(at(secs)),
        counts: Counts::from([(Counter::Packets, 90), (Counter::PacketsLost, 10)]),
        rtt: None,
        jitter: None,
    }
}

fn begin_and_end(store: &mut Store, room: &str, secs: i64) {
    store.add(log(event::ROOM_CREATED, room, "", secs));
    store.add(log(event::ROOM_ENDED, room, "", secs));
    store.add(Passed::Spans(vec![span(span::ROOM, room, "", secs)]));
}

// The number of bytes is the sum over the rooms.
fn check(store: &Store) {
    #[expect(clippy::disallowed_methods, reason = "a sum")]
    let bytes: usize = store.rooms.values().map(|room| room.bytes).sum();
    assert_eq!(store.bytes, bytes);
}

#[test]
fn an_open_room_has_its_bars() {
    let store = played("lost-client", 5);
    let room = store.room("RM_call").unwrap();
    assert_eq!((room.state(), room.name.as_deref()), (State::Open, Some("standup")));
    let open: BTreeSet<_> = room.bars().filter(|bar| bar.end.is_none()).map(|b| b.name).collect();
    assert_eq!(open, [span::PARTICIPANT, span::ROOM, span::TRACK].into());
    let connect = room.bars().find(|bar| bar.name == span::PARTICIPANT_CONNECT).unwrap();
    assert_eq!(connect.end.unwrap().since(connect.start).as_millis(), 120);
    assert!(room.bars().all(|bar| bar.sent.is_none() && !bar.failed()));
    assert_eq!(room.who("PA_Ann"), "ann");
    // The time in the room is the newest reported time, plus the time since it was received.
    let now = room.observed + Duration::from_secs(7);
    assert_eq!(room.end(now).since(room.end(room.observed)), Duration::from_secs(7));
    check(&store);
}

#[test]
fn a_failure_counts_once_before_and_after_its_span_is_sent() {
    for lines in 8..=12 {
        let store = played("lost-client", lines);
        let room = store.room("RM_call").unwrap();
        let failed: Vec<_> = room.bars().filter(|bar| bar.failed()).collect();
        assert_eq!(failed.len(), 1, "after {lines} lines");
        assert_eq!((failed[0].name, failed[0].error_type()), ("participant", "connection_timeout"));
        assert_eq!(room.failures(), 1);
        check(&store);
    }
}

#[test]
fn after_all_spans_are_sent_only_they_are_shown() {
    let store = played("lost-client", usize::MAX);
    let room = store.room("RM_call").unwrap();
    assert_eq!(room.state(), State::Over);
    assert!(room.bars().all(|bar| bar.sent.is_some()));
    assert_eq!(room.bars().count(), 7);
    check(&store);
}

#[test]
fn a_report_after_the_span_was_sent_opens_nothing() {
    let mut store = Store::new(Limits::default());
    store.add(log(event::PARTICIPANT_JOINED, "RM_1", "PA_1", 0));
    store.add(Passed::Spans(vec![span(span::PARTICIPANT, "RM_1", "PA_1", 5)]));
    store.add(log(event::PARTICIPANT_JOINED, "RM_1", "PA_1", 0));
    store.add(log(event::PARTICIPANT_LEFT, "RM_1", "PA_2", 6));
    let room = store.room("RM_1").unwrap();
    assert_eq!(room.bars().count(), 1);
    check(&store);
}

#[test]
fn ended_rooms_are_removed_for_others_and_open_ones_are_not() {
    let mut store = Store::new(Limits { rooms: 3, ..Limits::default() });
    store.add(log(event::ROOM_CREATED, "RM_open", "", 0));
    for n in 0..10 {
        begin_and_end(&mut store, &format!("RM_{n}"), n);
    }
    let held: BTreeSet<_> = store.rooms().iter().map(|room| room.sid.to_string()).collect();
    assert_eq!(held, ["RM_8", "RM_9", "RM_open"].map(str::to_owned).into());
    assert_eq!(store.rooms()[0].sid.as_ref(), "RM_open");
    assert_eq!(store.left_out(), 0);
    for n in 0..5 {
        store.add(log(event::ROOM_CREATED, &format!("RM_new{n}"), "", 20));
    }
    assert_eq!((store.rooms().len(), store.left_out()), (3, 3));
    // An idle room is removed.
    store.add(log(event::ROOM_CREATED, "RM_later", "", 20 + 11 * 60));
    assert!(store.room("RM_later").is_some());
    check(&store);
}

#[test]
fn a_room_with_failures_is_removed_last() {
    let mut store = Store::new(Limits { rooms: 2, ..Limits::default() });
    let mut failed = span(span::TRACK_SUBSCRIBE, "RM_bad", "PA_1", 0);
    failed.attributes.push(Attribute::new(key::ERROR_TYPE, "no"));
    store.add(Passed::Spans(vec![failed, span(span::ROOM, "RM_bad", "", 0)]));
    for n in 1..5 {
        begin_and_end(&mut store, &format!("RM_{n}"), n);
    }
    assert!(store.room("RM_bad").is_some());
}

#[test]
fn the_limits_are_kept() {
    let limits = Limits { bytes: 50_000, spans: 40, events: 20, ..Limits::default() };
    let mut store = Store::new(limits);
    for room in 0..20 {
        let sid = format!("RM_{room}");
        begin_and_end(&mut store, &sid, room);
        for n in 0..100 {
            store.add(log(event::TRACK_MUTED, &sid, &format!("PA_{n}"), n));
            let who = format!("PA_{n}");
            store.add(Passed::Spans(vec![span(span::TRACK_SUBSCRIBE, &sid, &who, n)]));
        }
        assert!(store.bytes() < 50_000 + 20_000, "{}", store.bytes());
        check(&store);
    }
    let room = store.rooms()[0];
    assert_eq!((room.events.len(), room.events_forgotten), (20, 82));
    assert_eq!(room.bars().count(), 40);
    assert_eq!(room.spans_left_out, 61);
}

#[test]
fn failures_are_held_when_other_spans_are_left_out() {
    let mut store = Store::new(Limits { spans: 4, ..Limits::default() });
    let some = |n: usize| vec![span(span::TRACK, "RM_1", "PA_1", 1); n];
    store.add(Passed::Spans(some(10)));
    let mut failed = span(span::TRACK_SUBSCRIBE, "RM_1", "PA_1", 2);
    failed.attributes.push(Attribute::new(key::ERROR_TYPE, "no"));
    store.add(Passed::Spans(vec![failed]));
    let room = store.room("RM_1").unwrap();
    assert_eq!((room.bars().count(), room.failures(), room.spans_left_out), (5, 1, 6));
}

#[test]
fn a_flush_of_several_tracks_is_one_window_and_signalling_is_none() {
    let mut store = Store::new(Limits { windows: 3, ..Limits::default() });
    for n in 1..=5 {
        let tracks = ["TR_AM1", "TR_VC1", "TR_SGPA_1"];
        let stats = tracks.map(|track| window("RM_1", "PA_1", track, n * 10));
        store.add(Passed::Windows(stats.to_vec(), at(n * 10)));
    }
    let [up, down] = store.room("RM_1").unwrap().windows("PA_1").unwrap();
    assert_eq!((up.all.len(), up.forgotten, down.all.len()), (3, 2, 0));
    let last = up.all.back().unwrap();
    assert_eq!(
        (last.packets, last.lost, last.loss(), last.score()),
        (180, 20, Some(0.1), Some(4.0))
    );
    let times: Vec<_> = up.all.iter().map(|window| window.at).collect();
    assert_eq!(times, [at(30), at(40), at(50)]);
    check(&store);
}

#[test]
fn a_window_without_packets_has_no_loss() {
    let mut store = Store::new(Limits::default());
    let mut silent = window("RM_1", "PA_1", "TR_AM1", 10);
    silent.counts = Counts::default();
    store.add(Passed::Windows(vec![silent], at(10)));
    let [up, _] = store.room("RM_1").unwrap().windows("PA_1").unwrap();
    assert_eq!((up.all[0].loss(), up.all[0].score()), (None, Some(4.0)));
}
