//! What is kept of rooms that have ended: little, not too much of it, and enough for what comes late.

use std::time::Duration;

use livekit_otel_engine::session::{Forgotten, Settings};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, Event, EventKind};
use livekit_otel_model::signal::LogRecord;

use crate::history::saved_and_loaded;
use crate::made::{self, at};

const LINGER: u64 = 36_000;
const QUIET: u64 = LINGER + 11_000;

fn engine(settings: &Settings) -> Engine {
    let stats = stats::Settings { level: stats::Level::Node, ..stats::Settings::default() };
    Engine::new(settings.clone(), stats, at(0))
}

fn tell(engine: &mut Engine, millis: u64, event: Event, out: &mut Batch) {
    engine.tick(at(millis), out);
    engine.apply(&Decoded::Events(vec![event]), at(millis), false, out);
}

fn of(kind: EventKind, millis: u64, room: u64, who: Option<u64>, track: bool) -> Event {
    let room = format!("RM_{room:012}");
    let mut event = made::event(kind, at(millis), &room, at(0));
    event.participant = who.map(|who| made::participant(&format!("{room}-PA_{who}"), at(0)));
    let sid = who.filter(|_| track).map(|who| format!("{room}-TR_{who}"));
    event.track = sid.map(|sid| made::track(&sid, &event.kind));
    event
}

// A room of three with a track each, which begins and ends then.
fn room(engine: &mut Engine, millis: u64, nth: u64, out: &mut Batch) {
    let mut told = |kind, who, track| {
        let event = of(kind, millis, nth, who, track);
        tell(engine, millis, event, out);
    };
    told(EventKind::RoomCreated, None, false);
    for who in 0..3 {
        told(EventKind::ParticipantJoined, Some(who), false);
        told(EventKind::ParticipantActive, Some(who), false);
        told(EventKind::TrackPublishRequested, Some(who), true);
        told(EventKind::TrackPublished, Some(who), true);
    }
    for who in 0..3 {
        told(EventKind::TrackUnpublished, Some(who), true);
        told(EventKind::ParticipantLeft, Some(who), false);
    }
    told(EventKind::RoomEnded, None, false);
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
            // One after the other, as what leaves at once takes memory too.
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
fn what_comes_late_of_a_packed_room_is_joined_to_it() {
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
            tell(&mut engine, millis, event, &mut out);
        }
        while let Some(due) = engine.next_deadline() {
            engine.tick(due, &mut out);
        }
        assert_eq!(out.spans.len(), spans, "no span is made twice");
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
fn of_too_many_ended_rooms_the_oldest_are_forgotten_and_counted() {
    let settings = Settings { max_ended: 100_000, ..Settings::default() };
    let (mut engine, mut out) = (engine(&settings), Batch::default());
    for nth in 0..200 {
        room(&mut engine, 1000 * nth, nth, &mut out);
    }
    engine.tick(at(1000 * 200 + QUIET), &mut out);
    engine.tick(at(1000 * 200 + 2 * QUIET), &mut out);
    let Forgotten { ids, ended } = engine.forgotten();
    assert!(ids == 0 && ended > 100 && ended < 195, "{ended}");
    // Of the oldest nothing is known but that it was; of the newest all.
    let (spans, logs) = (out.spans.len(), out.logs.len());
    assert_eq!(spans, 200 * (1 + 3 * 4), "each left before");
    for nth in [0, 199] {
        let mut event = of(EventKind::ParticipantActive, 1000, nth, Some(0), false);
        event.participant.as_mut().unwrap().identity = None;
        tell(&mut engine, 400_000, event, &mut out);
    }
    engine.close(at(500_000), "shutdown", &mut out);
    assert_eq!(out.spans.len(), spans, "no span is made twice");
    let said = |nth: usize| format!("{:?}", out.logs[logs + nth]).contains("identity of");
    assert!(!said(0) && said(1));
}

#[test]
fn rooms_are_kept_and_remembered_as_long_as_is_set() {
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    let settings =
        Settings { keep_ended: minutes(5), keep_ended_ids: minutes(60), ..Settings::default() };
    // What comes at these minutes: how often it is joined to what was known, and how many rooms there
    // were.
    let told = |at_minutes: &[u64]| {
        let (mut engine, mut out) = (engine(&settings), Batch::default());
        room(&mut engine, 0, 1, &mut out);
        let before = out.logs.len();
        for minute in at_minutes {
            let mut event = of(EventKind::ParticipantActive, 1000, 1, Some(0), false);
            event.participant.as_mut().unwrap().identity = None;
            while let Some(due) = engine.next_deadline().filter(|due| *due <= at(minute * 60_000)) {
                engine.tick(due, &mut out);
            }
            tell(&mut engine, minute * 60_000, event, &mut out);
        }
        engine.close(at(100 * 60_000), "shutdown", &mut out);
        let late = out.logs[before..].iter();
        let joined = late.filter(|log| format!("{log:?}").contains("identity of")).count();
        (joined, out.spans.iter().filter(|span| span.name == "room").count())
    };
    assert_eq!(told(&[5]), (1, 1), "kept for 5 minutes after its last");
    assert_eq!(told(&[5, 11, 69]), (1, 1), "not longer, but remembered for an hour");
    assert_eq!(told(&[5, 11, 69, 71]), (1, 2), "then it is a room like another");
}
