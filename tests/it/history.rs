//! Random histories of a deployment, reported out of order, twice, in part, without rooms, by clocks that
//! differ, by one source or by two, and across a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::snapshot::{self, Writer};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_model::signal::{Span, Value};
use proptest::prelude::*;

use crate::fixtures::at;
use crate::histories::{AHEAD, Delivery, EQUAL, Facts, History, Id};
use crate::random::Random;

// No report is delayed by more than this: a participant's spans wait for 35 s.
const WINDOW: u64 = 30_000;
const WHOLE_SECOND: Duration = Duration::from_secs(1);
// What two clocks differ by at most.
const SKEW: Duration = Duration::from_millis(2 * AHEAD);

// Applies all reports and then lets time pass; nothing else ends what is open.
fn play(arrivals: &[(u64, Decoded)], how: Delivery) -> Batch {
    let new = |now| Engine::new(Settings::default(), stats::Settings::default(), now);
    let mut out = Batch::default();
    let mut engine = new(at(0));
    for (nth, (millis, decoded)) in arrivals.iter().enumerate() {
        if how.restart && nth == arrivals.len() / 2 {
            engine = saved_and_loaded(&engine, new(at(*millis)));
        }
        while let Some(due) = engine.next_deadline().filter(|due| *due <= at(*millis)) {
            engine.tick(due, &mut out);
        }
        engine.apply(decoded, at(*millis), true, &mut out);
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    assert!(engine_is_empty(&mut engine), "something is open for ever");
    out
}

pub(crate) fn saved_and_loaded(engine: &Engine, mut next: Engine) -> Engine {
    let mut parts = Vec::new();
    let mut put = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    engine.save(&mut Writer::new(&mut put)).unwrap();
    for bytes in parts {
        let (part, content) = snapshot::part(&bytes).unwrap();
        next.load(part, content).unwrap();
    }
    next
}

fn engine_is_empty(engine: &mut Engine) -> bool {
    let mut out = Batch::default();
    engine.close(at(1_000_000_000), "shutdown", &mut out);
    out.spans.is_empty()
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.map(|attribute| &attribute.value) {
        Some(Value::Text(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn by_id(spans: &[Span]) -> BTreeMap<Id, Span> {
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| span.start);
    let mut by_id = BTreeMap::new();
    for span in spans {
        let [room, participant, track] =
            [key::ROOM_ID, key::PARTICIPANT_ID, key::TRACK_ID].map(|key| text(span, key));
        let mut id = (span.name, room, participant, track, 0);
        while by_id.contains_key(&id) {
            id.4 += 1;
        }
        by_id.insert(id, span.clone());
    }
    by_id
}

fn facts(span: &Span) -> Facts {
    let value = |key| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        found.map(|attribute| attribute.value.clone())
    };
    let mutes = match (value(key::TRACK_MUTES), value(key::TRACK_MUTED_DURATION)) {
        (Some(Value::Int(mutes)), Some(Value::Float(muted))) => {
            Some((mutes, u64::try_from(Duration::from_secs_f64(muted).as_millis()).unwrap()))
        }
        _ => None,
    };
    let windows = match value(key::STATS_WINDOWS) {
        Some(Value::Int(windows)) => windows,
        _ => 0,
    };
    Facts { start: span.start, end: span.end, failed: span.failure().is_some(), mutes, windows }
}

fn all_facts(out: &Batch) -> BTreeMap<Id, Facts> {
    by_id(&out.spans).iter().map(|(id, span)| (id.clone(), facts(span))).collect()
}

fn ids_are_unique(spans: &[Span]) -> bool {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id).collect();
    ids.len() == spans.len()
}

fn distance(a: Time, b: Time) -> Duration {
    a.since(b).max(b.since(a))
}

// A span that ends before it starts, or is outside of its parent by more than clocks explain.
fn impossible(spans: &[Span]) -> Option<&Span> {
    let parents: BTreeMap<_, &Span> = spans.iter().map(|span| (span.span_id, span)).collect();
    spans.iter().find(|span| {
        let parent = span.parent.map(|id| parents[&id]);
        let is_outside = parent.is_some_and(|parent| {
            parent.start.since(span.start) > SKEW || span.end.since(parent.end) > SKEW
        });
        is_outside || span.end < span.start
    })
}

// `HISTORIES` sets how many; `make ci` tries 5,000.
fn cases() -> ProptestConfig {
    let cases = std::env::var("HISTORIES").ok().map_or(1_000, |many| many.parse().unwrap());
    ProptestConfig { cases, ..ProptestConfig::default() }
}

prop_compose! {
    fn delivery(left_out: std::ops::Range<u64>)(
        window in 0..=WINDOW,
        twice in 0u64..40,
        left_out in left_out,
        roomless in prop_oneof![Just(0u64), 0u64..100],
        webhooks in any::<bool>(),
        restart in any::<bool>(),
        clocks in prop_oneof![Just(EQUAL), prop::array::uniform3(0..=2 * AHEAD)],
    ) -> Delivery {
        Delivery { window, twice, left_out, roomless, webhooks, clocks, restart }
    }
}

// Compares the facts of a participant on whom different clocks reported: their order is not known.
fn check_torn(id: &Id, actual: Option<&Facts>, expected: &Facts) -> Result<(), TestCaseError> {
    if id.0 == name::TRACK_SUBSCRIBE {
        return Ok(());
    }
    let Some(actual) = actual else { panic!("{id:?} is missing") };
    prop_assert!(distance(actual.start, expected.start) <= SKEW, "{id:?} {actual:?} {expected:?}");
    prop_assert!(distance(actual.end, expected.end) <= SKEW, "{id:?} {actual:?} {expected:?}");
    prop_assert_eq!(actual.failed, expected.failed);
    prop_assert_eq!(actual.windows, expected.windows);
    let has_time = id.0 != name::PARTICIPANT || actual.end > actual.start;
    prop_assert!(has_time, "{:?} ends at its join: {:?}", id, actual);
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_complete_history_yields_exact_spans_in_any_order(
        seed in any::<u64>(),
        how in delivery(0..1),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let out = play(&history.arrivals(&mut random, how), how);
        prop_assert!(ids_are_unique(&out.spans));
        let emitted = all_facts(&out);
        let expected = history.spans(how.clocks);
        for (id, facts) in &expected {
            if history.is_torn(&id.2, how.clocks) {
                check_torn(id, emitted.get(id), facts)?;
            } else {
                prop_assert_eq!(emitted.get(id), Some(facts), "{:?}", id);
            }
        }
        let is_torn = |id: &Id| {
            id.0 == name::TRACK_SUBSCRIBE && history.is_torn(&id.2, how.clocks)
        };
        let more = emitted.keys().find(|id| !expected.contains_key(*id) && !is_torn(id));
        prop_assert_eq!(more, None);
        prop_assert_eq!(impossible(&out.spans), None);
        let inferred = out.spans.iter().find(|span| {
            !text(span, key::END_INFERRED).is_empty() && span.name != name::TRACK_SUBSCRIBE
        });
        prop_assert_eq!(inferred, None);
        // Every event is logged in its room's trace.
        prop_assert!(out.logs.iter().all(|log| log.context.is_some()));
        // The same in another order.
        let again = play(&history.arrivals(&mut random, how), how);
        prop_assert_eq!(all_facts(&again), emitted);
    }

    #[test]
    fn guessed_ends_of_an_incomplete_history_are_marked(
        seed in any::<u64>(),
        how in delivery(1..60),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let arrivals = history.arrivals(&mut random, how);
        let out = play(&arrivals, how);
        prop_assert!(ids_are_unique(&out.spans));
        prop_assert_eq!(impossible(&out.spans), None);
        let spans = by_id(&out.spans);
        let happened = history.spans(how.clocks);
        for (id, span) in &spans {
            // A lost request or answer changes how attempts to subscribe are numbered.
            // Of two reports that a participant is active, the second may be the only one that arrives.
            let is_unsure = match id.0 {
                name::TRACK_SUBSCRIBE => true,
                name::PARTICIPANT_CONNECT => history.migrates(&id.2),
                _ => false,
            };
            if is_unsure || history.is_torn(&id.2, how.clocks) {
                continue;
            }
            let Some(truth) = happened.get(id) else { panic!("{id:?} did not happen") };
            let is_inferred = !text(span, key::END_INFERRED).is_empty();
            let off = distance(truth.end, span.end);
            prop_assert!(off < WHOLE_SECOND || is_inferred, "{:?}: {:?}", span, truth);
        }
        // Every participant that was reported in a room has a span, and so has its room.
        for (_, decoded) in &arrivals {
            let (room, who) = match decoded {
                Decoded::Events(events) => (
                    events[0].room.as_ref().and_then(|room| room.sid.as_ref()),
                    events[0].participant.as_ref().map(|who| &who.sid),
                ),
                Decoded::Stats(stats) => (Some(&stats[0].room), Some(&stats[0].participant)),
                _ => (None, None),
            };
            let Some(room) = room else { continue };
            let mut id = (name::ROOM, room.to_string(), String::new(), String::new(), 0);
            prop_assert!(spans.contains_key(&id));
            if let Some(who) = who {
                id = (name::PARTICIPANT, room.to_string(), who.to_string(), String::new(), 0);
                prop_assert!(spans.contains_key(&id));
            }
        }
    }
}
