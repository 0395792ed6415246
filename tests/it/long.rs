//! Long rooms: one of 72 hours with 10,000 participants, and rooms whose end is never reported.

use std::collections::{BTreeMap, BTreeSet};

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::snapshot::Writer;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, EventKind, ReportedTime, RoomName, Time};
use livekit_otel_model::signal::{Span, TraceId};

use crate::fixtures::{self, at};

const HOUR: u64 = 3_600_000;
const PARTICIPANTS: u64 = 10_000;
const STAY: u64 = HOUR / 2;

// The size of its state, in bytes of a snapshot.
fn size(engine: &Engine) -> usize {
    let mut bytes = 0;
    let mut put = |part: &[u8]| {
        bytes += part.len();
        Ok(())
    };
    engine.save(&mut Writer::new(&mut put)).unwrap();
    bytes
}

struct Long {
    engine: Engine,
    out: Batch,
}

impl Long {
    fn apply(&mut self, millis: u64, kind: EventKind, who: Option<u64>, joined: u64) {
        let now = at(millis);
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= now) {
            self.engine.tick(due, &mut self.out);
        }
        let mut event = fixtures::event(kind, now, "RM_long", at(0));
        event.participant = who.map(|who| fixtures::participant(&format!("PA_{who}"), at(joined)));
        let is_track =
            matches!(event.kind, EventKind::TrackPublished | EventKind::TrackUnpublished);
        let track = who.filter(|_| is_track).map(|who| format!("TR_{who}"));
        event.track = track.map(|sid| fixtures::track(&sid, &event.kind));
        self.engine.apply(&Decoded::Events(vec![event]), now, false, &mut self.out);
    }
}

#[test]
fn a_long_room_forgets_who_left_and_keeps_its_traces_bounded() {
    let settings = Settings { max_spans: 1000, ..Settings::default() };
    let budget = settings.max_spans;
    let engine = Engine::new(settings, stats::Settings::default(), at(0));
    let mut long = Long { engine, out: Batch::default() };
    long.apply(0, EventKind::RoomCreated, None, 0);
    let step = 72 * HOUR / PARTICIPANTS;
    let mut sizes = Vec::new();
    let mut reports: Vec<(u64, EventKind, u64, u64)> = Vec::new();
    for who in 0..PARTICIPANTS {
        let joined = 1000 + who * step;
        reports.push((joined, EventKind::ParticipantJoined, who, joined));
        reports.push((joined + 100, EventKind::ParticipantActive, who, joined));
        reports.push((joined + 300, EventKind::TrackPublished, who, joined));
        reports.push((joined + STAY - 1, EventKind::TrackUnpublished, who, joined));
        reports.push((joined + STAY, EventKind::ParticipantLeft, who, joined));
    }
    reports.sort_by_key(|(millis, ..)| *millis);
    for (millis, kind, who, joined) in reports {
        if millis / (12 * HOUR) > sizes.len() as u64 {
            sizes.push(size(&long.engine));
        }
        long.apply(millis, kind, Some(who), joined);
    }
    long.apply(73 * HOUR, EventKind::RoomEnded, None, 0);
    while let Some(due) = long.engine.next_deadline() {
        long.engine.tick(due, &mut long.out);
    }

    // Of a participant that left about 8 bytes remain, the id of its span.
    let gone_in_between = PARTICIPANTS / 6 * 5 * 2 / 3;
    let grown = sizes[4] - sizes[0];
    assert!(grown as u64 <= 10 * gone_in_between, "{sizes:?}");

    let spans = &long.out.spans;
    let mut traces: BTreeMap<TraceId, usize> = BTreeMap::new();
    for span in spans {
        *traces.entry(span.trace_id).or_default() += 1;
    }
    let largest = traces.values().max().unwrap();
    assert!(*largest <= budget && *largest > budget / 2, "{largest}");
    // Nothing is left out: the room's span, and each participant's own, its connect and its track.
    assert_eq!(spans.len() as u64, 1 + 3 * PARTICIPANTS);
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), spans.len());
    let end = spans.iter().find(|span| span.name == "room").unwrap().end;
    assert_eq!(end, Time::from_nanos(at(73 * HOUR).nanos()).unwrap());
}

#[test]
fn a_room_without_a_reported_end_ends_by_the_first_rule_that_holds() {
    let minutes = |minutes: u64| minutes * 60_000;
    let ended_by = |apply: fn(&mut Engine, &mut Batch), until: u64| {
        let mut engine = Engine::new(Settings::default(), stats::Settings::default(), at(0));
        let mut out = Batch::default();
        apply(&mut engine, &mut out);
        engine.tick(at(until), &mut out);
        let rooms = out.spans.iter().filter(|span| span.name == "room");
        let rule = |span: &Span| {
            let found = span.attributes.iter().find(|it| it.key == "lk.end.inferred");
            found.map(|it| format!("{:?}", it.value))
        };
        rooms.filter_map(rule).collect::<Vec<_>>()
    };
    // Open, and silent.
    let silent: fn(&mut Engine, &mut Batch) =
        |engine, out| apply_join(engine, "RM_1", 0, None, out);
    assert_eq!(ended_by(silent, 24 * HOUR - 1), Vec::<String>::new());
    assert_eq!(ended_by(silent, 24 * HOUR), ["Text(\"silence\")"]);
    // Everybody has left.
    let empty: fn(&mut Engine, &mut Batch) =
        |engine, out| apply_join(engine, "RM_1", 0, Some(60_000), out);
    assert_eq!(ended_by(empty, minutes(60)), Vec::<String>::new());
    assert_eq!(ended_by(empty, minutes(61)), ["Text(\"empty\")"]);
    // Another room of its name has begun.
    let replaced: fn(&mut Engine, &mut Batch) = |engine, out| {
        apply_join(engine, "RM_1", 0, None, out);
        apply_join(engine, "RM_2", 60_000, None, out);
    };
    assert_eq!(ended_by(replaced, minutes(11)), Vec::<String>::new());
    assert_eq!(ended_by(replaced, minutes(12)), ["Text(\"replaced\")"]);
}

// A participant joins a room that is called standup, and leaves it at `left`.
fn apply_join(engine: &mut Engine, room: &str, millis: u64, left: Option<u64>, out: &mut Batch) {
    let mut event = fixtures::event(EventKind::ParticipantJoined, at(millis), room, at(millis));
    event.room.as_mut().unwrap().name = RoomName::new("standup");
    event.participant = Some(fixtures::participant(&format!("PA_{room}"), at(millis)));
    engine.apply(&Decoded::Events(vec![event.clone()]), at(millis), false, out);
    if let Some(left) = left {
        event.kind = EventKind::ParticipantLeft;
        event.reported = Some(ReportedTime { at: at(left), whole_seconds: false });
        engine.apply(&Decoded::Events(vec![event]), at(left), false, out);
    }
}
