//! The state kept of ended rooms: small, bounded, and enough for late events.

use std::time::Duration;

use livekit_otel_engine::session::{Forgotten, Settings};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, Event, EventKind};
use livekit_otel_model::signal::LogRecord;

use crate::fixtures::{self, at};
use crate::history::saved_and_loaded;

const LINGER: u64 = 36_000;
const QUIET: u64 = LINGER + 11_000;

fn engine(settings: &Settings) -> Engine {
    let stats = stats::Settings { level: stats::Level::Node, ..stats::Settings::default() };
    Engine::new(settings.clone(), stats, at(0))
}

fn apply(engine: &mut Engine, millis: u64, event: Event, out: &mut Batch) {
    engine.tick(at(millis), out);
    engine.apply(&Decoded::Events(vec![event]), at(millis), false, out);
}

fn of(kind: EventKind, millis: u64, room: u64, who: Option<u64>, track: bool) -> Event {
    let room = format!("RM_{room:012}");
    let mut event = fixtures::event(kind, at(millis), &room, at(0));
    event.participant = who.map(|who| fixtures::participant(&format!("{room}-PA_{who}"), at(0)));
    let sid = who.filter(|_| track).map(|who| format!("{room}-TR_{who}"));
    event.track = sid.map(|sid| fixtures::track(&sid, &event.kind));
    event
}

// A room of three participants with a track each, which begins and ends at `millis`.
fn room(engine: &mut Engine, millis: u64, nth: u64, out: &mut Batch) {
    let mut report = |kind, who, track| {
        let event = of(kind, millis, nth, who, track);
        apply(engine, millis, event, out);
    };
    report(EventKind::RoomCreated, None, false);
    for who in 0..3 {
        report(EventKind::ParticipantJoined, Some(who), false);
        report(EventKind::ParticipantActive, Some(who), false);
        report(EventKind::TrackPublishRequested, Some(who), true);
        report(EventKind::TrackPublished, Some(who), true);
    }
    for who in 0..3 {
        report(EventKind::TrackUnpublished, Some(who), true);
        report(EventKind::ParticipantLeft, Some(who), false);
    }
    report(EventKind::RoomEnded, None, false);
}

#[test]
fn an_ended_room_of_three_takes_little_memory() {
    const ROOMS: u64 = 500;
    let each = |until: u64| {
        let mut engine = engine(&Settings::default());
        let info = allocation_counter::measure(|| {
            for nth in 0..ROOMS {
                room(&mut engine, 1000 + nth, nth, &mut Batch::default());
            }
            // One timer after the other: spans emitted at once take memory too.
            while let Some(due) = engine.next_deadline().filter(|due| *due <= at(until)) {
                engine.tick(due, &mut Batch::default());
            }
        });
        u64::try_from(info.bytes_current).unwrap() / ROOMS
    };
    let (whole, packed) = (each(LINGER + 2000), each(QUIET + 2000));
    eprintln!("bytes of an ended room of 3: {whole}, packed {packed}");
    assert!(packed < 2_500 && packed * 2 < whole, "{packed} of {whole}");
}

#[test]
fn late_events_of_a_packed_room_are_joined_to_it() {
    let late = |wait: u64, is_restarted: bool| -> Vec<LogRecord> {
        let (mut engine, mut out) = (engine(&Settings::default()), Batch::default());
        room(&mut engine, 1000, 1, &mut out);
        engine.tick(at(LINGER + 1000), &mut out);
        assert_eq!(out.spans.iter().filter(|span| span.name == "room").count(), 1);
        engine.tick(at(wait), &mut out);
        if is_restarted {
            engine = saved_and_loaded(&engine, self::engine(&Settings::default()));
        }
        let (spans, logs) = (out.spans.len(), out.logs.len());
        for millis in [wait, wait + 1, wait + 30_000] {
            let mut event = of(EventKind::TrackMuted, 1000, 1, Some(2), true);
            event.participant.as_mut().unwrap().identity = None;
            event.room.as_mut().unwrap().name = None;
            apply(&mut engine, millis, event, &mut out);
        }
        while let Some(due) = engine.next_deadline() {
            engine.tick(due, &mut out);
        }
        assert_eq!(out.spans.len(), spans, "no span is emitted twice");
        let mut logs = out.logs.split_off(logs);
        for log in &mut logs {
            log.observed = at(0);
        }
        logs
    };
    let expected = late(LINGER + 2000, false);
    assert_eq!(expected.len(), 3);
    assert!(format!("{expected:?}").contains("identity of RM_000000000001-PA_2"));
    assert_eq!(late(QUIET + 2000, false), expected);
    assert_eq!(late(QUIET + 2000, true), expected);
}

#[test]
fn the_oldest_of_too_many_ended_rooms_are_forgotten_and_counted() {
    let settings = Settings { max_ended: 100_000, ..Settings::default() };
    let (mut engine, mut out) = (engine(&settings), Batch::default());
    for nth in 0..200 {
        room(&mut engine, 1000 * nth, nth, &mut out);
    }
    engine.tick(at(1000 * 200 + QUIET), &mut out);
    engine.tick(at(1000 * 200 + 2 * QUIET), &mut out);
    let Forgotten { ids, ended } = engine.forgotten();
    assert!(ids == 0 && ended > 100 && ended < 195, "{ended}");
    // Of the oldest only its id is known; of the newest everything.
    let (spans, logs) = (out.spans.len(), out.logs.len());
    assert_eq!(spans, 200 * (1 + 3 * 4), "all were emitted before");
    for nth in [0, 199] {
        let mut event = of(EventKind::ParticipantActive, 1000, nth, Some(0), false);
        event.participant.as_mut().unwrap().identity = None;
        apply(&mut engine, 400_000, event, &mut out);
    }
    engine.close(at(500_000), "shutdown", &mut out);
    assert_eq!(out.spans.len(), spans, "no span is emitted twice");
    let has_identity = |nth: usize| format!("{:?}", out.logs[logs + nth]).contains("identity of");
    assert!(!has_identity(0) && has_identity(1));
}

#[test]
fn ended_rooms_are_kept_as_long_as_configured() {
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    let settings =
        Settings { keep_ended: minutes(5), keep_ended_ids: minutes(60), ..Settings::default() };
    // For an event at each of these minutes: how many were joined to the known room, and how many rooms
    // there were.
    let events_at = |at_minutes: &[u64]| {
        let (mut engine, mut out) = (engine(&settings), Batch::default());
        room(&mut engine, 0, 1, &mut out);
        let before = out.logs.len();
        for minute in at_minutes {
            let mut event = of(EventKind::ParticipantActive, 1000, 1, Some(0), false);
            event.participant.as_mut().unwrap().identity = None;
            while let Some(due) = engine.next_deadline().filter(|due| *due <= at(minute * 60_000)) {
                engine.tick(due, &mut out);
            }
            apply(&mut engine, minute * 60_000, event, &mut out);
        }
        engine.close(at(100 * 60_000), "shutdown", &mut out);
        let late = out.logs[before..].iter();
        let joined = late.filter(|log| format!("{log:?}").contains("identity of")).count();
        (joined, out.spans.iter().filter(|span| span.name == "room").count())
    };
    assert_eq!(events_at(&[5]), (1, 1), "kept for 5 minutes after its last event");
    assert_eq!(events_at(&[5, 11, 69]), (1, 1), "not longer, but remembered for an hour");
    assert_eq!(events_at(&[5, 11, 69, 71]), (1, 2), "then it is a new room");
}
