//! Dispatches of agents with a real server and real workers (livekit-agents 1.8.9): what the server's events and lists
//! of its API make of them.

mod made;
mod rules;

use std::fmt::Write;
use std::time::Duration;

use livekit_otel_engine::Batch;
use livekit_otel_engine::session::Settings;
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::event;
use livekit_otel_model::signal::{Severity, Value};

use super::{lines, text};
use crate::answers::{Polled, play_with_api, polled};
use crate::capture::Line;
use crate::golden::compare;

// The API of a capture.
fn api(name: &str) -> Vec<Polled> {
    let path = format!("{}/tests/captures/calls/{name}.api.jsonl", env!("CARGO_MANIFEST_DIR"));
    polled(&std::fs::read_to_string(path).unwrap())
}

// The rooms of a capture, and the log records of dispatches that failed.
fn described(out: &Batch, begin: Time) -> String {
    let mut to = text(out, begin);
    for record in out.logs.iter().filter(|it| &*it.event_name == event::AGENT_DISPATCH_FAILED) {
        let secs = |at: Time| at.since(begin).as_secs_f64();
        assert_eq!(record.severity, Severity::Warn);
        let (time, observed) = (secs(record.time), secs(record.observed));
        writeln!(to, "  {} {time:.3}, at {observed:.3}", record.event_name).unwrap();
        let span =
            out.spans.iter().find(|span| Some((span.trace_id, span.span_id)) == record.context);
        let span = span.unwrap();
        for attribute in &record.attributes {
            let is_of_span = span.attributes.contains(attribute);
            let Value::Text(text) = &attribute.value else {
                assert!(is_of_span, "{attribute:?}");
                continue;
            };
            if !is_of_span {
                writeln!(to, "    {}: {text}", attribute.key).unwrap();
            }
        }
    }
    to
}

fn check(name: &str) {
    let (lines, api) = (lines(name), api(name));
    let begin = lines[0].at;
    let default = Settings::default;
    let soon = || Settings { dispatch_deadline: Duration::from_secs(8), ..default() };
    let expected = Settings { agents_expected: true, ..soon() };
    let mut text = String::new();
    for (of, webhooks_alone, settings) in [
        ("webhooks and analytics", false, default()),
        ("webhooks alone", true, default()),
        ("with a deadline of 8 s", false, soon()),
        ("with a deadline of 8 s, and an agent expected in each room", false, expected),
    ] {
        let is_sent = |line: &&Line| !webhooks_alone || line.kind == "webhook";
        let out = play_with_api(lines.iter().filter(is_sent), &api, settings);
        writeln!(text, "{of}\n{}", described(&out, begin)).unwrap();
    }
    compare(&format!("calls/{name}.txt"), &text);
}

macro_rules! captures {
    ($($test:ident: $name:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            check($name);
        })*
    };
}

captures! {
    an_agent_that_is_killed_in_the_call: "dispatch-auto-killed";
    an_automatic_dispatch_without_a_worker: "dispatch-auto-no-worker";
    an_agent_that_crashes_before_it_joins: "dispatch-named-crash";
    a_named_dispatch_without_a_worker: "dispatch-named-no-worker";
    a_job_that_the_worker_rejects: "dispatch-named-reject";
    an_agent_that_comes: "dispatch-named-worker";
}

#[test]
fn each_capture_of_a_dispatch_has_a_golden_file() {
    let folder = format!("{}/tests/captures/calls", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = files.filter_map(|file| file.strip_suffix(".api.jsonl").map(str::to_owned));
    let mut names: Vec<_> = names.filter(|name| name.starts_with("dispatch-")).collect();
    names.sort_unstable();
    assert_eq!(names, TESTED);
}
