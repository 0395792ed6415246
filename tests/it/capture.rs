//! The shipped capture, decoded without a socket.

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, Time};
use serde_json::Value;

/// A decoded line of a capture.
pub(crate) struct Line {
    pub at: Time,
    pub kind: String,
    pub decoded: Decoded,
}

/// The lines of the shipped capture.
pub(crate) fn lines() -> Vec<Line> {
    text().lines().map(line).collect()
}

pub(crate) fn text() -> String {
    std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/captures/one-call.jsonl"
    ))
    .unwrap()
}

pub(crate) fn line(text: &str) -> Line {
    let line: Value = serde_json::from_str(text).unwrap();
    let kind = line["kind"].as_str().unwrap().to_owned();
    let body = &line["body"];
    let encoded = || livekit::encode_capture(&kind, body).unwrap();
    let read = match kind.as_str() {
        "webhook" => livekit::webhook(body.to_string().as_bytes()),
        "events" => livekit::events(&encoded()),
        "stats" => livekit::stats(&encoded()),
        _ => livekit::node_rooms(&encoded()),
    };
    let at = Time::from_millis(line["at"].as_i64().unwrap()).unwrap();
    Line { at, kind, decoded: read.unwrap().decoded }
}

/// The output for `lines` in their order, each applied at its own time, with a flush every 30 s.
pub(crate) fn run<'a>(lines: impl Iterator<Item = &'a Line>, analytics_connected: bool) -> Batch {
    let mut lines = lines.peekable();
    let begin = lines.peek().unwrap().at;
    let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), begin);
    let mut out = Batch::default();
    let mut flush_at = begin + INTERVAL;
    let mut last = begin;
    for line in lines {
        while flush_at <= line.at {
            engine.tick(flush_at, &mut out);
            engine.flush(flush_at, &mut out);
            flush_at = flush_at + INTERVAL;
        }
        engine.tick(line.at, &mut out);
        engine.apply(&line.decoded, line.at, analytics_connected, &mut out);
        last = line.at;
    }
    // After the linger, but before the room is forgotten.
    let end = last + 2 * INTERVAL;
    engine.tick(end, &mut out);
    engine.flush(end, &mut out);
    assert_eq!(
        engine.next_deadline().map(|next| next > end),
        Some(true),
        "something is still held"
    );
    out
}

pub(crate) const INTERVAL: std::time::Duration = std::time::Duration::from_secs(30);
