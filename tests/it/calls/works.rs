//! Egresses and an ingress as an open-source server reports them: with its analytics, and by webhooks alone, with and without its API. Their
//! services were played to the server over its bus, so that what is in the captures is the server's own.

use std::fmt::Write;
use std::time::Duration;

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::{Batch, Engine, stats};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{event, key, span as name};
use livekit_otel_model::signal::{Attribute, LogRecord, Value};

use super::{batch, lines, text};
use crate::answers::{pass, polled, rooms};
use crate::golden::compare;
use crate::scenarios::play;

fn reason(record: &LogRecord) -> &str {
    let is_reason = |it: &&Attribute| it.key == key::EGRESS_STUCK_REASON;
    match record.attributes.iter().find(is_reason).map(|it| &it.value) {
        Some(Value::Text(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

// The spans, and the warnings.
fn shown(out: &Batch, begin: Time) -> String {
    let mut to = text(out, begin);
    let stuck = out.logs.iter().filter(|record| &*record.event_name == event::EGRESS_STUCK);
    for record in stuck {
        let at = record.time.since(begin).as_secs_f64();
        writeln!(to, "  {at:.3} {:?} {}: {}", record.severity, record.event_name, reason(record))
            .unwrap();
    }
    to
}

// The output of the webhooks alone, with LiveKit's API, which lists its rooms every 20 s.
fn with_api(name: &str) -> Batch {
    let path = format!("{}/tests/captures/calls/{name}.api.jsonl", env!("CARGO_MANIFEST_DIR"));
    let api = polled(&std::fs::read_to_string(path).unwrap());
    let begin = api[0].at;
    let mut inputs: Vec<_> = lines(name)
        .into_iter()
        .filter(|line| line.kind == "webhook")
        .map(|line| (line.at, line.decoded))
        .collect();
    let rounds = (0..).map(|nth| begin + Duration::from_secs(20 * nth));
    inputs.extend(rounds.map_while(|at| Some((at, rooms(&api, at)?))));
    inputs.sort_by_key(|(at, _)| *at);
    let mut out = Batch::default();
    let mut engine = Engine::new(Settings::default(), stats::Settings::default(), begin);
    engine.enable_questions();
    let mut now = begin;
    for (at, decoded) in inputs {
        pass(&mut engine, &api, (now, Some(at)), &mut out);
        now = at;
        engine.apply(&decoded, now, false, &mut out);
    }
    pass(&mut engine, &api, (now, None), &mut out);
    // The API lists what ran before the capture too.
    let is_of = |attributes: &[Attribute]| {
        let id = |key| attributes.iter().find(|it| it.key == key).map(|it| &it.value);
        id(key::EGRESS_ID).is_none_or(|id| *id == egress_id(name))
    };
    out.spans.retain(|span| is_of(&span.attributes));
    out.logs.retain(|record| is_of(&record.attributes));
    out
}

// The egress of a capture.
fn egress_id(name: &str) -> Value {
    let ids = batch(name, true).spans.into_iter().flat_map(|span| span.attributes);
    ids.into_iter().find(|it| it.key == key::EGRESS_ID).map_or(Value::Bool(false), |it| it.value)
}

macro_rules! captures {
    ($($test:ident: $name:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            let begin = lines($name)[0].at;
            let all = [
                ("webhooks and analytics", batch($name, false)),
                ("webhooks alone", batch($name, true)),
                ("webhooks and the API", with_api($name)),
            ];
            let all = all.map(|(of, out)| format!("{of}\n{}", shown(&out, begin)));
            compare(concat!("calls/", $name, ".txt"), &all.join("\n"));
        })*
    };
}

captures! {
    an_egress_that_completes: "works-egress-completed";
    an_egress_that_fails: "works-egress-failed";
    an_egress_that_is_updated_late: "works-egress-late-update";
    an_egress_whose_service_dies_in_a_call: "works-egress-lost";
    an_egress_that_stays_active: "works-egress-stuck-active";
    an_ingress_that_is_used_twice: "works-ingress";
}

#[test]
fn an_egress_that_was_complete_is_not_active_again() {
    let mut both = lines("works-egress-completed");
    both.extend(lines("works-egress-late-update"));
    let out = play(both.iter(), Settings::default());
    let alone = batch("works-egress-completed", false);
    let egress = |out: &Batch| {
        let spans: Vec<_> = out.spans.iter().filter(|it| it.name == name::EGRESS).collect();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans[0].clone()
    };
    assert_eq!(egress(&out), egress(&alone));
}

#[test]
fn each_capture_of_works_has_a_golden_file() {
    let folder = format!("{}/tests/captures/calls", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let is_works = |name: &String| name.starts_with("works-") && !name.ends_with(".api.jsonl");
    let mut names: Vec<_> = names.filter(is_works).collect();
    names.sort_unstable();
    let tested: Vec<_> = TESTED.iter().map(|name| format!("{name}.jsonl")).collect();
    assert_eq!(names, tested);
}
