//! Rooms over hours: one of 72 with 10,000 participants, and ones that nobody ends.

use std::collections::{BTreeMap, BTreeSet};

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::snapshot::Writer;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, EventKind, ReportedTime, RoomName, Time};
use livekit_otel_model::signal::{Span, TraceId};

use crate::made::{self, at};

const HOUR: u64 = 3_600_000;
const PARTICIPANTS: u64 = 10_000;
const STAY: u64 = HOUR / 2;

// How much it knows, which is what its memory holds.
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
    fn tell(&mut self, millis: u64, kind: EventKind, who: Option<u64>, joined: u64) {
        let now = at(millis);
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= now) {
            self.engine.tick(due, &mut self.out);
        }
        let mut event = made::event(kind, now, "RM_long", at(0));
        event.participant = who.map(|who| made::participant(&format!("PA_{who}"), at(joined)));
        let is_track =
            matches!(event.kind, EventKind::TrackPublished | EventKind::TrackUnpublished);
        let track = who.filter(|_| is_track).map(|who| format!("TR_{who}"));
        event.track = track.map(|sid| made::track(&sid, &event.kind));
        self.engine.apply(&Decoded::Events(vec![event]), now, false, &mut self.out);
    }
}

#[test]
fn a_long_room_forgets_who_left_and_no_trace_passes_its_budget() {
    let settings = Settings { max_spans: 1000, ..Settings::default() };
    let budget = settings.max_spans;
    let engine = Engine::new(settings, stats::Settings::default(), at(0));
    let mut long = Long { engine, out: Batch::default() };
    long.tell(0, EventKind::RoomCreated, None, 0);
    let step = 72 * HOUR / PARTICIPANTS;
    let mut sizes = Vec::new();
    let mut told: Vec<(u64, EventKind, u64, u64)> = Vec::new();
    for who in 0..PARTICIPANTS {
        let joined = 1000 + who * step;
        told.push((joined, EventKind::ParticipantJoined, who, joined));
        told.push((joined + 100, EventKind::ParticipantActive, who, joined));
        told.push((joined + 300, EventKind::TrackPublished, who, joined));
        told.push((joined + STAY - 1, EventKind::TrackUnpublished, who, joined));
        told.push((joined + STAY, EventKind::ParticipantLeft, who, joined));
    }
    told.sort_by_key(|(millis, ..)| *millis);
    for (millis, kind, who, joined) in told {
        if millis / (12 * HOUR) > sizes.len() as u64 {
            sizes.push(size(&long.engine));
        }
        long.tell(millis, kind, Some(who), joined);
    }
    long.tell(73 * HOUR, EventKind::RoomEnded, None, 0);
    while let Some(due) = long.engine.next_deadline() {
        long.engine.tick(due, &mut long.out);
    }

    // Of one who left its span's id remains: 8 bytes, and as many of the id of each event's hash.
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
    // Nothing is left out: the room, and of each a span, its connecting, and its track.
    assert_eq!(spans.len() as u64, 1 + 3 * PARTICIPANTS);
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), spans.len());
    let end = spans.iter().find(|span| span.name == "room").unwrap().end;
    assert_eq!(end, Time::from_nanos(at(73 * HOUR).nanos()).unwrap());
}

#[test]
fn a_room_that_nobody_ends_ends_by_the_first_rule_that_holds() {
    let minutes = |minutes: u64| minutes * 60_000;
    let ended_by = |tell: fn(&mut Engine, &mut Batch), until: u64| {
        let mut engine = Engine::new(Settings::default(), stats::Settings::default(), at(0));
        let mut out = Batch::default();
        tell(&mut engine, &mut out);
        engine.tick(at(until), &mut out);
        let rooms = out.spans.iter().filter(|span| span.name == "room");
        let rule = |span: &Span| {
            let found = span.attributes.iter().find(|it| it.key == "lk.end.inferred");
            found.map(|it| format!("{:?}", it.value))
        };
        rooms.filter_map(rule).collect::<Vec<_>>()
    };
    // Open, and silent.
    let silent: fn(&mut Engine, &mut Batch) = |engine, out| tell_join(engine, "RM_1", 0, None, out);
    assert_eq!(ended_by(silent, 24 * HOUR - 1), Vec::<String>::new());
    assert_eq!(ended_by(silent, 24 * HOUR), ["Text(\"silence\")"]);
    // Everybody has left.
    let empty: fn(&mut Engine, &mut Batch) =
        |engine, out| tell_join(engine, "RM_1", 0, Some(60_000), out);
    assert_eq!(ended_by(empty, minutes(60)), Vec::<String>::new());
    assert_eq!(ended_by(empty, minutes(61)), ["Text(\"empty\")"]);
    // Another of its name has begun.
    let replaced: fn(&mut Engine, &mut Batch) = |engine, out| {
        tell_join(engine, "RM_1", 0, None, out);
        tell_join(engine, "RM_2", 60_000, None, out);
    };
    assert_eq!(ended_by(replaced, minutes(11)), Vec::<String>::new());
    assert_eq!(ended_by(replaced, minutes(12)), ["Text(\"replaced\")"]);
}

// One joins a room of that name, and leaves it or not.
fn tell_join(engine: &mut Engine, room: &str, millis: u64, left: Option<u64>, out: &mut Batch) {
    let mut event = made::event(EventKind::ParticipantJoined, at(millis), room, at(millis));
    event.room.as_mut().unwrap().name = RoomName::new("standup");
    event.participant = Some(made::participant(&format!("PA_{room}"), at(millis)));
    engine.apply(&Decoded::Events(vec![event.clone()]), at(millis), false, out);
    if let Some(left) = left {
        event.kind = EventKind::ParticipantLeft;
        event.reported = Some(ReportedTime { at: at(left), whole_seconds: false });
        engine.apply(&Decoded::Events(vec![event]), at(left), false, out);
    }
}
