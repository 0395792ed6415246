//! Messages that no server sends: the process keeps running, whatever the bytes.

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit::{self as livekit, Read};
use livekit_otel_model::event::Time;
use proptest::prelude::*;
use serde_json::Value;

use crate::capture;

fn engine() -> Engine {
    let now = Time::from_secs(1_795_406_961).unwrap();
    Engine::new(session::Settings::default(), stats::Settings::default(), now)
}

/// Passes messages through everything that follows a successful read.
fn play(reads: impl IntoIterator<Item = Read>) {
    let mut engine = engine();
    let mut out = Batch::default();
    let now = Time::from_secs(1_795_406_990).unwrap();
    for read in reads {
        engine.apply(&read.decoded, now, true, &mut out);
    }
    engine.flush(now, &mut out);
    engine.close(now, "shutdown", &mut out);
    for span in &out.spans {
        assert!(span.end >= span.start, "{} ends before it starts", span.name);
        assert_ne!(span.span_id, [0; 8]);
    }
}

fn read(kind: &str, message: &[u8]) -> Option<Read> {
    match kind {
        "webhook" => livekit::webhook(message).ok(),
        "events" => livekit::events(message).ok(),
        "stats" => livekit::stats(message).ok(),
        _ => livekit::node_rooms(message).ok(),
    }
}

/// The capture's messages as they go over the wire.
fn messages() -> Vec<(String, Vec<u8>)> {
    let line = |text: &str| {
        let line: Value = serde_json::from_str(text).unwrap();
        let kind = line["kind"].as_str().unwrap().to_owned();
        let body = match kind.as_str() {
            "webhook" => line["body"].to_string().into_bytes(),
            _ => livekit::encode_capture(&kind, &line["body"]).unwrap(),
        };
        (kind, body)
    };
    capture::text().lines().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for kind in ["webhook", "events", "stats", "nodeRooms"] {
            play(read(kind, &bytes));
        }
    }

    #[test]
    fn a_call_with_broken_bytes_is_played_to_its_end(
        flips in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..200),
    ) {
        let mut messages = messages();
        let count = messages.len();
        for (message, byte, value) in flips {
            let bytes = &mut messages[message % count].1;
            let at = byte % bytes.len();
            bytes[at] = value;
        }
        play(messages.iter().filter_map(|(kind, bytes)| read(kind, bytes)));
    }

    #[test]
    fn a_call_whose_events_arrive_in_any_order_is_played_to_its_end(
        order in Just((0..120usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let messages = messages();
        let read = |index: &usize| read(&messages[*index].0, &messages[*index].1);
        play(order.iter().filter_map(read));
    }
}

#[test]
fn the_largest_counts_are_summed_without_an_overflow() {
    // AnalyticsStat { room_id, participant_id, track_id, streams: [ every count at its largest ] }
    let largest = u64::MAX.to_string();
    let stat = |nth: u8| {
        serde_json::json!({
            "id": format!("AS_{nth}"), "roomId": "RM_1", "participantId": "PA_1", "trackId": "TR_1",
            "timeStamp": "9999-12-31T23:59:59Z", "score": 5.0,
            "streams": [{
                "primaryPackets": u32::MAX, "primaryBytes": &largest, "retransmitBytes": &largest,
                "paddingBytes": &largest, "rtt": u32::MAX, "jitter": u32::MAX,
                "startTime": "9999-12-31T23:59:59Z", "endTime": "1970-01-01T00:00:00Z",
            }],
        })
    };
    let body = serde_json::json!({"stats": [stat(1), stat(2), stat(3)]});
    let message = livekit::encode_capture("stats", &body).unwrap();
    play([livekit::stats(&message).unwrap(), livekit::stats(&message).unwrap()]);
}
