//! Plays scenarios and recorded calls into a store, like the pipeline, and makes up spans of agents.

use crate::ui::store::{Limits, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_agents::Reader;
use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_model::Source;
use livekit_otel_model::event::{
    Counter, Counts, Decoded, Direction, ParticipantSid, RoomSid, StreamStat, Time, TrackSid,
};
use livekit_otel_model::foreign::Measured;
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Span, SpanKind, Value};
use livekit_otel_pipeline::{AgentJob, AgentSpan, Passed};

/// Plays the first `lines` of a scenario of `tests/golden`, and its remaining timers if these are
/// all lines.
pub(super) fn play(scenario: &str, lines: usize, to: &mut Store) {
    play_as(scenario, lines, &str::to_owned, to);
}

// Passes names, ids and the texts of attributes through `write`.
fn play_as(scenario: &str, lines: usize, write: &dyn Fn(&str) -> String, to: &mut Store) {
    play_file(&format!("golden/scenarios/{scenario}"), lines, write, to);
}

fn play_file(file: &str, lines: usize, write: &dyn Fn(&str) -> String, to: &mut Store) {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/tests/{file}.jsonl")).unwrap();
    let all: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    play_lines(&all, lines, write, to);
}

/// Plays the first `lines` of a capture, and its remaining timers if these are all lines.
pub(super) fn play_lines(
    all: &[serde_json::Value],
    lines: usize,
    write: &dyn Fn(&str) -> String,
    to: &mut Store,
) {
    let mut engine: Option<Engine> = None;
    let mut out = Batch::default();
    for line in all.iter().take(lines) {
        let at = Time::from_millis(line["at"].as_i64().unwrap()).unwrap();
        let engine = engine.get_or_insert_with(|| {
            Engine::new(session::Settings::default(), stats::Settings::default(), at)
        });
        engine.tick(at, &mut out);
        let mut body = line["body"].clone();
        rewrite(&mut body, write);
        let decoded = decoded(line["kind"].as_str().unwrap(), &body);
        engine.apply(&decoded, at, true, &mut out);
        if let Decoded::Stats(windows) = decoded {
            to.add(Passed::Windows(windows, at));
        }
        pass(&mut out, write, to);
    }
    let mut engine = engine.unwrap();
    if all.len() <= lines {
        while let Some(due) = engine.next_deadline() {
            engine.tick(due, &mut out);
        }
        pass(&mut out, write, to);
    }
}

fn decoded(kind: &str, body: &serde_json::Value) -> Decoded {
    let encoded = || livekit::encode_capture(kind, body).unwrap();
    let read = match kind {
        "webhook" => livekit::webhook(body.to_string().as_bytes()),
        "events" => livekit::events(&encoded()),
        "nodeRooms" => livekit::node_rooms(&encoded()),
        _ => livekit::stats(&encoded()),
    };
    read.unwrap().decoded
}

fn rewrite(body: &mut serde_json::Value, write: &dyn Fn(&str) -> String) {
    const IDS: [&str; 9] = ["RM_", "PA_", "TR_", "ND_", "EG_", "IN_", "SCL_", "AJ_", "SCT_"];
    match body {
        serde_json::Value::Array(all) => all.iter_mut().for_each(|each| rewrite(each, write)),
        serde_json::Value::Object(all) => {
            for (key, value) in all {
                match value.as_str() {
                    Some(text) if matches!(&**key, "name" | "identity") => {
                        *value = write(text).into();
                    }
                    Some(text) if IDS.iter().any(|id| text.starts_with(id)) => {
                        *value = write(text).into();
                    }
                    _ => rewrite(value, write),
                }
            }
        }
        _ => {}
    }
}

fn pass(out: &mut Batch, write: &dyn Fn(&str) -> String, to: &mut Store) {
    let Batch { mut spans, mut logs, foreign, .. } = std::mem::take(out);
    let of_spans = spans.iter_mut().flat_map(|span| &mut span.attributes);
    for attribute in of_spans.chain(logs.iter_mut().flat_map(|log| &mut log.attributes)) {
        if let Value::Text(text) = &mut attribute.value {
            *text = write(text).into();
        }
    }
    to.add(Passed::Logs(logs));
    to.add(Passed::Spans(spans));
    to.add(Passed::agents(foreign));
}

/// A store with both halves of a call of `tests/captures/agents`.
pub(super) fn joined(capture: &str) -> Store {
    joined_until(capture, usize::MAX)
}

/// A store with the first `most` lines of both halves, and the remaining timers if these are all.
pub(super) fn joined_until(capture: &str, most: usize) -> Store {
    let mut store = Store::new(Limits::default());
    let mut lines = both_halves(capture);
    let is_whole = lines.len() <= most;
    lines.truncate(most);
    let settings = (session::Settings::default(), stats::Settings::default());
    let mut engine = Engine::new(settings.0, settings.1, lines[0].0);
    let mut out = Batch::default();
    for (at, decoded) in lines {
        while let Some(due) = engine.next_deadline().filter(|due| *due <= at) {
            engine.tick(due, &mut out);
        }
        engine.apply(&decoded, at, true, &mut out);
        if let Decoded::Stats(windows) = decoded {
            store.add(Passed::Windows(windows, at));
        }
        pass(&mut out, &str::to_owned, &mut store);
    }
    while let Some(due) = engine.next_deadline().filter(|_| is_whole) {
        engine.tick(due, &mut out);
    }
    pass(&mut out, &str::to_owned, &mut store);
    store
}

fn both_halves(capture: &str) -> Vec<(Time, Decoded)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut lines = Vec::new();
    for half in ["server", "agents"] {
        let path = format!("{root}/tests/captures/agents/{capture}.{half}.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let at = Time::from_millis(line["at"].as_i64().unwrap()).unwrap();
            let kind = line["kind"].as_str().unwrap();
            let source = match (half, kind) {
                ("server", _) => None,
                (_, "traces") => Some(Source::AgentTraces),
                (_, "logs") => Some(Source::AgentLogs),
                _ => continue,
            };
            let upload = |source| {
                let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
                Decoded::Upload(Reader::default().read(source, &body).unwrap().upload)
            };
            lines.push((at, source.map_or_else(|| decoded(kind, &line["body"]), upload)));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines
}

/// A store with a played scenario.
pub(super) fn played(scenario: &str, lines: usize) -> Store {
    let mut store = Store::new(Limits::default());
    play(scenario, lines, &mut store);
    store
}

/// A store with a SIP call of `tests/captures/calls`.
pub(super) fn called(capture: &str) -> Store {
    let mut store = Store::new(Limits::default());
    play_file(&format!("captures/calls/{capture}"), usize::MAX, &str::to_owned, &mut store);
    store
}

/// A finished span of an operation in a room, or in none, with these times in milliseconds.
pub(super) fn work(
    name: &'static str,
    (start, end): (i64, i64),
    attributes: &[(&'static str, &str)],
) -> Span {
    let attributes = attributes.iter().map(|(key, value)| Attribute::new(key, *value)).collect();
    Span {
        trace_id: [1; 16],
        span_id: [u8::try_from(end % 251).unwrap(); 8],
        parent: None,
        name,
        kind: SpanKind::Internal,
        start: at(start),
        end: at(end),
        attributes,
        links: Vec::new(),
    }
}

/// A log record of an operation.
pub(super) fn reported(
    event: &str,
    severity: Severity,
    millis: i64,
    attributes: &[(&'static str, &str)],
) -> Passed {
    let attributes = attributes.iter().map(|(key, value)| Attribute::new(key, *value)).collect();
    let (event_name, time) = (event.into(), at(millis));
    let record =
        LogRecord { event_name, time, observed: time, severity, context: None, attributes };
    Passed::Logs(vec![record])
}

/// A stats window of the participant `PA_1` of a room, with a tenth of its packets lost.
pub(super) fn window(room: &str, millis: i64) -> StreamStat {
    StreamStat {
        id: "".into(),
        at: Some(at(millis)),
        node: None,
        room: RoomSid::new(room).unwrap(),
        room_name: None,
        participant: ParticipantSid::new("PA_1").unwrap(),
        track: TrackSid::new("TR_AM1").unwrap(),
        direction: Direction::Upstream,
        mime_type: None,
        score: Some(4.0),
        min_score: None,
        start: Some(at(millis - 1_000)),
        end: Some(at(millis)),
        counts: Counts::from([(Counter::Packets, 90), (Counter::PacketsLost, 10)]),
        rtt: None,
        jitter: None,
    }
}

/// A store with a played scenario and other texts.
pub(super) fn played_as(scenario: &str, write: &dyn Fn(&str) -> String) -> Store {
    let mut store = Store::new(Limits::default());
    play_as(scenario, usize::MAX, write, &mut store);
    store
}

/// A time of a made-up call, in milliseconds since its start.
pub(super) fn at(millis: i64) -> Time {
    Time::from_millis(1_795_406_960_000 + millis).unwrap()
}

/// A span of the job `AJ_1` in the room `RM_call`, with these times in milliseconds.
pub(super) fn of_turn(name: &str, id: u64, parent: Option<u64>, start: i64, end: i64) -> AgentSpan {
    AgentSpan {
        of: AgentJob {
            room: RoomSid::new("RM_call").unwrap(),
            job: Some("AJ_1".into()),
            is_plain: false,
        },
        span_id: id.to_be_bytes(),
        parent: parent.map(u64::to_be_bytes),
        name: name.into(),
        start: at(start),
        end: at(end),
        failure: None,
        participant: None,
        measured: None,
        added: Vec::new(),
    }
}

/// A span with any times.
pub(super) fn agent_span(name: &str, id: u64) -> AgentSpan {
    of_turn(name, id, None, 0, 1000)
}

/// Sets what a span measured.
pub(super) fn measure(span: &mut AgentSpan, change: impl FnOnce(&mut Measured)) {
    change(span.measured.get_or_insert_default());
}
