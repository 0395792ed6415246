//! Events from webhooks, from analytics and from both: the trees agree as far as each source reports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use livekit_otel_model::event::{Counter, Decoded};
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Span, SpanId, Value};

use proptest::prelude::*;

use crate::capture::{self, Line};

fn count<'a>(spans: impl IntoIterator<Item = &'a Span>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for span in spans {
        *counts.entry(span.name).or_default() += 1;
    }
    counts
}

fn int(attributes: &[Attribute], key: &str) -> Option<i64> {
    attributes.iter().find(|each| each.key == key).and_then(|each| match each.value {
        Value::Int(count) => Some(count),
        _ => None,
    })
}

fn text<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes.iter().find(|each| each.key == key).and_then(|each| match &each.value {
        Value::Text(text) => Some(&**text),
        _ => None,
    })
}

// Ids, parents and names: the tree without its times.
fn tree(spans: &[Span]) -> BTreeSet<(&str, SpanId, Option<SpanId>)> {
    spans.iter().map(|span| (span.name, span.span_id, span.parent)).collect()
}

#[test]
fn the_capture_becomes_one_room_with_all_its_spans() {
    let batch = capture::run(capture::lines().iter(), true);
    let expected = BTreeMap::from([
        (span::ROOM, 1),
        (span::PARTICIPANT, 3),
        (span::PARTICIPANT_CONNECT, 3),
        (span::TRACK_PUBLISH, 5),
        (span::TRACK, 5),
        (span::TRACK_SUBSCRIBE, 10),
        (span::WEBHOOK_DELIVERY, 18),
    ]);
    assert_eq!(count(&batch.spans), expected);
    let subscribes = batch.spans.iter().filter(|span| span.name == span::TRACK_SUBSCRIBE);
    let attempts = subscribes.map(|span| int(&span.attributes, key::ATTEMPTS).unwrap());
    assert_eq!(attempts.sum::<i64>(), 11, "one subscription was requested twice");
    let mutes = batch.spans.iter().filter_map(|span| int(&span.attributes, key::TRACK_MUTES));
    assert_eq!(mutes.sum::<i64>(), 1);
    assert!(batch.spans.iter().all(|span| span.failure().is_none()));
    let inferred = |span: &&Span| text(&span.attributes, key::END_INFERRED).is_some();
    assert_eq!(batch.spans.iter().filter(inferred).count(), 0);
}

#[test]
fn a_webhook_and_its_twin_become_one_record() {
    let lines = capture::lines();
    let batch = capture::run(lines.iter(), true);
    let analytics: usize = lines.iter().filter(|line| line.kind == "events").map(items).sum();
    assert_eq!(batch.logs.len(), analytics);
    let by_webhook = |log: &&LogRecord| text(&log.attributes, key::SOURCE) == Some("webhook");
    assert_eq!(batch.logs.iter().filter(by_webhook).count(), 0);
}

fn items(line: &Line) -> usize {
    match &line.decoded {
        Decoded::Events(events) => events.len(),
        Decoded::Stats(stats) => stats.len(),
        _ => 1,
    }
}

#[test]
fn the_last_windows_and_rtp_stats_are_in_the_tracks_totals() {
    let lines = capture::lines();
    let batch = capture::run(lines.iter(), true);
    let mut windows = BTreeMap::new();
    for line in &lines {
        let Decoded::Stats(stats) = &line.decoded else { continue };
        for stat in stats {
            let upstream = stat.direction == livekit_otel_model::event::Direction::Upstream;
            if upstream && stat.is_media() {
                let sum: &mut (i64, i64) = windows.entry(stat.track.to_string()).or_default();
                sum.0 += i64::try_from(stat.counts[Counter::Packets]).unwrap();
                sum.1 += 1;
            }
        }
    }
    let tracks: Vec<_> = batch.spans.iter().filter(|span| span.name == span::TRACK).collect();
    assert_eq!(windows.len(), tracks.len());
    for track in tracks {
        let sid = text(&track.attributes, key::TRACK_ID).unwrap();
        let (packets, count) = windows[sid];
        assert_eq!(count, 2);
        assert_eq!(int(&track.attributes, key::STATS_PACKETS), Some(packets));
        // The SFU's own lifetime count: packets after the last window would be missing here.
        let rtp = int(&track.attributes, key::RTP_PACKETS).unwrap();
        assert!((packets - rtp).abs() <= 2, "{sid}: windows {packets}, RTPStats {rtp}");
    }
}

#[test]
fn analytics_alone_produce_the_same_spans_as_both() {
    let lines = capture::lines();
    let both = capture::run(lines.iter(), true);
    let analytics = capture::run(lines.iter().filter(|line| line.kind != "webhook"), true);
    assert_eq!(analytics.spans, both.spans);
    assert_eq!(analytics.logs.len(), both.logs.len());
}

#[test]
fn webhooks_alone_produce_rooms_participants_and_tracks() {
    let lines = capture::lines();
    let both = capture::run(lines.iter(), true);
    let webhooks = capture::run(lines.iter().filter(|line| line.kind == "webhook"), false);
    let reported = [span::ROOM, span::PARTICIPANT, span::TRACK];
    let of_both: Vec<_> =
        both.spans.iter().filter(|span| reported.contains(&span.name)).cloned().collect();
    assert_eq!(tree(&webhooks.spans), tree(&of_both));
    for span in &webhooks.spans {
        let twin = of_both.iter().find(|twin| twin.span_id == span.span_id).unwrap();
        let distance =
            |a: livekit_otel_model::event::Time, b| a.max(b).since(a.min(b)).as_secs_f64();
        assert!(distance(span.start, twin.start) <= 1.0, "{} starts at another time", span.name);
        assert!(distance(span.end, twin.end) <= 1.0, "{} ends at another time", span.name);
    }
    assert_eq!(webhooks.logs.len(), 18);
    let second = |log: &&LogRecord| text(&log.attributes, key::TIME_PRECISION) == Some("1s");
    // All but room_started: its room has the creation time in milliseconds.
    assert_eq!(webhooks.logs.iter().filter(second).count(), 17);
    let names: BTreeSet<_> = webhooks.logs.iter().map(|log| log.event_name.to_string()).collect();
    assert!(names.contains(event::PARTICIPANT_ACTIVE) && names.contains(event::ROOM_ENDED));
}

#[test]
fn a_webhook_without_a_twin_becomes_a_record_after_its_wait() {
    let lines = capture::lines();
    let webhooks = capture::run(lines.iter().filter(|line| line.kind == "webhook"), true);
    assert_eq!(webhooks.logs.len(), 18);
}

fn by_id(spans: &[Span]) -> BTreeMap<SpanId, Span> {
    spans.iter().map(|span| (span.span_id, span.clone())).collect()
}

// The first span that differs, in a few words.
fn difference(actual: &[Span], expected: &[Span]) -> Option<String> {
    let actual = by_id(actual);
    expected.iter().find_map(|span| {
        let Some(other) = actual.get(&span.span_id) else {
            return Some(format!("no {}", span.name));
        };
        let odd = span.attributes.iter().find(|each| !other.attributes.contains(each));
        let same = (other.start, other.end, other.attributes.len(), &other.links, odd)
            == (span.start, span.end, span.attributes.len(), &span.links, None);
        let times = (other.start, other.end, span.start, span.end);
        (!same).then(|| format!("{}: {times:?}, without {odd:?}", span.name))
    })
}

// Webhooks, events and stats arrive on separate connections: each keeps its order, but they
// interleave in any way.
fn interleaved(lines: &[Line], turns: &[u8]) -> Vec<Line> {
    let mut connections: Vec<VecDeque<&Line>> = ["webhook", "events", "stats"]
        .iter()
        .map(|kind| lines.iter().filter(|line| line.kind == *kind).collect())
        .collect();
    let mut turns = turns.iter().cycle();
    let mut all: Vec<Line> = Vec::new();
    while connections.iter().any(|connection| !connection.is_empty()) {
        let turn = usize::from(*turns.next().unwrap()) % connections.len();
        // Several lines of one connection in a row, or a single one.
        for _ in 0..=turn {
            let Some(line) = connections[turn].pop_front() else { break };
            let at = all.last().map_or(line.at, |last| last.at.max(line.at));
            all.push(Line { at, kind: line.kind.clone(), decoded: line.decoded.clone() });
        }
        connections.retain(|connection| !connection.is_empty());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_spans_do_not_depend_on_how_connections_interleave(
        turns in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let lines = capture::lines();
        let expected = capture::run(lines.iter(), true);
        let mixed = interleaved(&lines, &turns);
        prop_assert_eq!(mixed.len(), lines.len());
        let batch = capture::run(mixed.iter(), true);
        prop_assert_eq!(difference(&batch.spans, &expected.spans), None);
        prop_assert_eq!(batch.spans.len(), expected.spans.len());
        let events = |logs: &[LogRecord]| -> BTreeSet<_> {
            logs.iter().map(|log| (log.event_name.to_string(), log.time.nanos())).collect()
        };
        // A webhook that arrived more than 2 s before its twin is a record with its own time.
        prop_assert_eq!(batch.logs.len(), expected.logs.len());
        prop_assert!(events(&batch.logs).len() >= events(&expected.logs).len() - 18);
    }
}

#[test]
fn the_order_of_twins_does_not_matter() {
    let lines = capture::lines();
    let both = capture::run(lines.iter(), true);
    // All webhooks of a second before all analytics of it, and the reverse.
    for webhooks_first in [true, false] {
        let mut sorted: Vec<&Line> = lines.iter().collect();
        sorted.sort_by_key(|line| {
            let second = line.at.nanos() / 1_000_000_000;
            (second, (line.kind == "webhook") != webhooks_first)
        });
        let mut engine_lines: Vec<Line> = Vec::new();
        for line in sorted {
            let at = engine_lines.last().map_or(line.at, |last| last.at.max(line.at));
            engine_lines.push(Line { at, kind: line.kind.clone(), decoded: line.decoded.clone() });
        }
        let batch = capture::run(engine_lines.iter(), true);
        assert_eq!(by_id(&batch.spans), by_id(&both.spans));
        assert_eq!(batch.logs.len(), both.logs.len());
    }
}
