//! Plays scenarios into a store, like the pipeline.

use crate::ui::store::{Limits, Store};
use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::signal::Value;
use livekit_otel_pipeline::Passed;

/// Plays the first `lines` of a scenario of `tests/golden`, and its remaining timers if these are
/// all lines.
pub(super) fn play(scenario: &str, lines: usize, to: &mut Store) {
    play_as(scenario, lines, &str::to_owned, to);
}

// Passes names, ids and the texts of attributes through `write`.
fn play_as(scenario: &str, lines: usize, write: &dyn Fn(&str) -> String, to: &mut Store) {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/golden/scenarios/{scenario}.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut engine: Option<Engine> = None;
    let mut out = Batch::default();
    for line in text.lines().take(lines) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
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
    if text.lines().count() <= lines {
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
    let Batch { mut spans, mut logs, .. } = std::mem::take(out);
    let of_spans = spans.iter_mut().flat_map(|span| &mut span.attributes);
    for attribute in of_spans.chain(logs.iter_mut().flat_map(|log| &mut log.attributes)) {
        if let Value::Text(text) = &mut attribute.value {
            *text = write(text).into();
        }
    }
    to.add(Passed::Logs(logs));
    to.add(Passed::Spans(spans));
}

/// A store with a played scenario.
pub(super) fn played(scenario: &str, lines: usize) -> Store {
    let mut store = Store::new(Limits::default());
    play(scenario, lines, &mut store);
    store
}

/// A store with a played scenario and other texts.
pub(super) fn played_as(scenario: &str, write: &dyn Fn(&str) -> String) -> Store {
    let mut store = Store::new(Limits::default());
    play_as(scenario, usize::MAX, write, &mut store);
    store
}
