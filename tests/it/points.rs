//! The points that the instruments make, by temporality.

use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as proto;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::signal::{Data, Number, Temporality};
use serde_json::json;

use crate::told::{ROOM, at, rfc3339};

fn window(id: &str, millis: i64, packets: u64) -> Decoded {
    let body = json!({"stats": [{
        "id": id, "timeStamp": rfc3339(millis), "roomId": ROOM, "participantId": "PA_1",
        "trackId": "TR_1", "mime": "audio/opus", "score": 4.0,
        "streams": [{"primaryPackets": packets, "startTime": rfc3339(millis - 5000)}],
    }]});
    proto::stats(&proto::encode_capture("stats", &body).unwrap()).unwrap().decoded
}

// What a point counts from, when, and how much.
type Point = (Option<Time>, Time, Option<Number>);

// The points of a counter, of each flush.
fn flushes(temporality: Temporality, name: &str) -> Vec<Vec<Point>> {
    let stats = stats::Settings { temporality, ..stats::Settings::default() };
    let mut engine = Engine::new(session::Settings::default(), stats, at(0));
    let tellings = [Some(window("AS_1", 10_000, 100)), Some(window("AS_2", 40_000, 50)), None];
    let mut all = Vec::new();
    for (nth, decoded) in tellings.iter().enumerate() {
        let now = at(30_000 * (i64::try_from(nth).unwrap() + 1));
        let mut out = Batch::default();
        if let Some(decoded) = decoded {
            engine.apply(decoded, now, false, &mut out);
        }
        engine.flush(now, &mut out);
        let metrics = out.all_metrics();
        let metric = metrics.iter().find(|metric| metric.name == name);
        all.push(metric.map_or_else(Vec::new, |metric| {
            let Data::Sum { points, temporality: told, .. } = &metric.data else { panic!("a sum") };
            assert_eq!(*told, temporality);
            points.iter().map(|point| (point.start, point.time, point.value)).collect()
        }));
    }
    all
}

#[test]
fn cumulative_points_count_from_the_start_and_open_with_a_zero() {
    use Number::Int;
    let told = |millis: i64| at(millis) + Duration::from_nanos(1);
    let start = Some(told(5000));
    let participant = flushes(Temporality::Cumulative, "lk.stream.packets");
    assert_eq!(
        participant,
        [
            vec![(start, told(5000), Some(Int(0))), (start, told(10_000), Some(Int(100)))],
            vec![(start, told(40_000), Some(Int(150)))],
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
fn delta_points_count_from_the_last_flush_and_are_left_out_where_nothing_changed() {
    use Number::Int;
    let told = |millis: i64| at(millis) + Duration::from_nanos(1);
    let participant = flushes(Temporality::Delta, "lk.stream.packets");
    assert_eq!(
        participant,
        [
            vec![(Some(told(5000)), told(10_000), Some(Int(100)))],
            vec![(Some(told(10_000)), told(40_000), Some(Int(50)))],
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
