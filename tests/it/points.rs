//! The points that the instruments make, by temporality.

use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::signal::{Data, Number, Temporality};
use serde_json::json;

use crate::messages::{ROOM, at, rfc3339};

fn window(id: &str, millis: i64, packets: u64) -> Decoded {
    let body = json!({"stats": [{
        "id": id, "timeStamp": rfc3339(millis), "roomId": ROOM, "participantId": "PA_1",
        "trackId": "TR_1", "mime": "audio/opus", "score": 4.0,
        "streams": [{"primaryPackets": packets, "startTime": rfc3339(millis - 5000)}],
    }]});
    livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap().decoded
}

// A point's start, time and value.
type Point = (Option<Time>, Time, Option<Number>);

// A counter's points, flush by flush.
fn flushes(temporality: Temporality, name: &str) -> Vec<Vec<Point>> {
    let stats = stats::Settings { temporality, ..stats::Settings::default() };
    let mut engine = Engine::new(session::Settings::default(), stats, at(0));
    let windows = [Some(window("AS_1", 10_000, 100)), Some(window("AS_2", 40_000, 50)), None];
    let mut all = Vec::new();
    for (nth, decoded) in windows.iter().enumerate() {
        let now = at(30_000 * (i64::try_from(nth).unwrap() + 1));
        let mut out = Batch::default();
        if let Some(decoded) = decoded {
            engine.apply(decoded, now, false, &mut out);
        }
        engine.flush(now, &mut out);
        let metrics = out.all_metrics();
        let metric = metrics.iter().find(|metric| metric.name == name);
        all.push(metric.map_or_else(Vec::new, |metric| {
            let Data::Sum { points, temporality: actual, .. } = &metric.data else {
                panic!("a sum")
            };
            assert_eq!(*actual, temporality);
            points.iter().map(|point| (point.start, point.time, point.value)).collect()
        }));
    }
    all
}

#[test]
fn cumulative_points_count_from_the_start_and_open_with_a_zero() {
    use Number::Int;
    let reported = |millis: i64| at(millis) + Duration::from_nanos(1);
    let start = Some(reported(5000));
    let participant = flushes(Temporality::Cumulative, "lk.stream.packets");
    assert_eq!(
        participant,
        [
            vec![(start, reported(5000), Some(Int(0))), (start, reported(10_000), Some(Int(100)))],
            vec![(start, reported(40_000), Some(Int(150)))],
            vec![],
        ]
    );
    let node = flushes(Temporality::Cumulative, "lk.node.packets");
    let start = Some(at(0));
    assert_eq!(
        node,
        [
            vec![(start, at(0), Some(Int(0))), (start, at(30_000), Some(Int(100)))],
            vec![(start, at(60_000), Some(Int(150)))],
            vec![(start, at(90_000), Some(Int(150)))],
        ]
    );
}

#[test]
fn delta_points_count_from_the_last_flush_and_skip_unchanged_series() {
    use Number::Int;
    let reported = |millis: i64| at(millis) + Duration::from_nanos(1);
    let participant = flushes(Temporality::Delta, "lk.stream.packets");
    assert_eq!(
        participant,
        [
            vec![(Some(reported(5000)), reported(10_000), Some(Int(100)))],
            vec![(Some(reported(10_000)), reported(40_000), Some(Int(50)))],
            vec![],
        ]
    );
    let node = flushes(Temporality::Delta, "lk.node.packets");
    assert_eq!(
        node,
        [
            vec![(Some(at(0)), at(30_000), Some(Int(100)))],
            vec![(Some(at(30_000)), at(60_000), Some(Int(50)))],
            vec![],
        ]
    );
}
