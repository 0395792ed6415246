//! Scenarios, played into a store as the pipeline would.

use crate::engine::{Batch, Engine};
use crate::event::{Telling, Time};
use crate::pipeline::Passed;
use crate::ui::store::{Limits, Store};
use crate::{proto, session, stats};

/// A scenario of `tests/golden`, as far as its first `lines`; what comes of the time after them too
/// where all of them are played.
pub(super) fn play(scenario: &str, lines: usize, to: &mut Store) {
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
        let telling = telling(line["kind"].as_str().unwrap(), &line["body"]);
        engine.apply(&telling, at, true, &mut out);
        if let Telling::Stats(windows) = telling {
            to.take(Passed::Windows(windows, at));
        }
        pass(&mut out, to);
    }
    let mut engine = engine.unwrap();
    if text.lines().count() <= lines {
        while let Some(due) = engine.next() {
            engine.tick(due, &mut out);
        }
        pass(&mut out, to);
    }
}

fn telling(kind: &str, body: &serde_json::Value) -> Telling {
    let encoded = || proto::encode_capture(kind, body).unwrap();
    let read = match kind {
        "webhook" => proto::webhook(body.to_string().as_bytes()),
        "events" => proto::events(&encoded()),
        _ => proto::stats(&encoded()),
    };
    read.unwrap().telling
}

fn pass(out: &mut Batch, to: &mut Store) {
    let Batch { spans, logs, .. } = std::mem::take(out);
    to.take(Passed::Logs(logs));
    to.take(Passed::Spans(spans));
}

/// A store that has seen it.
pub(super) fn seen(scenario: &str, lines: usize) -> Store {
    let mut store = Store::new(Limits::default());
    play(scenario, lines, &mut store);
    store
}
