//! SIP calls as an open-source server reports them: by their participants alone. The captures are real calls of
//! livekit/sip 1.9 with LiveKit 1.13.5; the golden files show what becomes of them to people, with the
//! analytics and by webhooks alone. `UPDATE_GOLDEN=1` rewrites them.

mod dispatches;
mod orders;
mod private;
mod rules;
mod works;

use std::collections::BTreeMap;
use std::fmt::Write;

use livekit_otel_engine::Batch;
use livekit_otel_engine::session::Settings;
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_model::signal::{Attribute, Span, SpanId, TraceId, Value};

use crate::capture::{self, Line};
use crate::golden::compare;
use crate::scenarios::play;

pub(crate) const CAPTURES: [&str; 11] = [
    "sip-in-caller-hangs-up",
    "sip-in-cancelled",
    "sip-in-no-answer",
    "sip-in-transferred",
    "sip-in-we-hang-up",
    "sip-out-busy",
    "sip-out-callee-hangs-up",
    "sip-out-declined",
    "sip-out-no-answer",
    "sip-out-trunk-503",
    "sip-out-we-give-up",
];

pub(crate) fn lines(name: &str) -> Vec<Line> {
    let path = format!("{}/tests/captures/calls/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().lines().map(capture::line).collect()
}

/// The same with what a server that is built with `livekit-analytics/` reports of the SIP service.
pub(crate) fn lines_with_bus(name: &str) -> Vec<Line> {
    let mut both = lines(name);
    both.extend(lines(&format!("{name}.bus")));
    both.sort_by_key(|line| line.at);
    both
}

/// The output of a capture, or of its webhooks alone.
pub(crate) fn batch(name: &str, webhooks_alone: bool) -> Batch {
    let lines = lines(name);
    let is_sent = |line: &&Line| !webhooks_alone || line.kind == "webhook";
    play(lines.iter().filter(is_sent), Settings::default())
}

/// The output of a capture with what the SIP service reports.
pub(crate) fn batch_with_bus(name: &str) -> Batch {
    play(lines_with_bus(name).iter(), Settings::default())
}

/// The only call.
pub(crate) fn call(out: &Batch) -> &Span {
    let calls: Vec<_> = out.spans.iter().filter(|span| span.name == name::SIP_CALL).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0]
}

pub(crate) fn value(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match &attribute.value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(count) => count.to_string(),
        Value::Float(measure) => format!("{measure:.3}"),
        Value::Text(text) => text.to_string(),
    })
}

// The attributes that name a span.
fn names(span: &Span) -> &'static [&'static str] {
    match span.name {
        name::ROOM => &[key::ROOM_ID, key::ROOM_NAME],
        name::PARTICIPANT => &[key::PARTICIPANT_ID, key::PARTICIPANT_IDENTITY],
        name::SIP_CALL => &[key::SIP_CALL_ID],
        name::AGENT_DISPATCH => &[key::DISPATCH_ID],
        name::AGENT_JOB => &[key::JOB_ID],
        name::EGRESS => &[key::EGRESS_ID],
        name::INGRESS => &[key::INGRESS_ID],
        name::SIP_TRANSFER => &[key::SIP_TRANSFER_ID],
        _ => &[],
    }
}

fn label(span: &Span) -> String {
    let of = names(span).iter().filter_map(|key| value(span, key));
    of.fold(span.name.to_owned(), |label, of| format!("{label} {of}"))
}

// The rooms, participants, calls, dispatches and jobs of a capture.
fn text(out: &Batch, begin: Time) -> String {
    let is_shown = |span: &&Span| !names(span).is_empty();
    let mut spans: Vec<_> = out.spans.iter().filter(is_shown).collect();
    spans.sort_by_key(|span| (span.start, span.name, span.span_id));
    let labels: BTreeMap<(TraceId, SpanId), String> =
        spans.iter().map(|span| ((span.trace_id, span.span_id), label(span))).collect();
    let mut to = String::new();
    for root in spans.iter().filter(|span| span.parent.is_none()) {
        write_span(&mut to, root, 1, begin, &labels);
        for child in spans.iter().filter(|span| span.trace_id == root.trace_id) {
            if let Some(parent) = child.parent {
                assert!(labels.contains_key(&(child.trace_id, parent)), "{child:?}");
                write_span(&mut to, child, 2, begin, &labels);
            }
        }
    }
    to
}

fn write_span(
    to: &mut String,
    span: &Span,
    depth: usize,
    begin: Time,
    labels: &BTreeMap<(TraceId, SpanId), String>,
) {
    let indent = "  ".repeat(depth);
    let secs = |at: Time| (at.nanos() as f64 - begin.nanos() as f64) / 1e9;
    let (start, end) = (secs(span.start), secs(span.end));
    writeln!(to, "{indent}{}  {start:.3} .. {end:.3}", label(span)).unwrap();
    if [name::ROOM, name::PARTICIPANT].contains(&span.name) {
        return;
    }
    if let Some(failure) = span.failure() {
        writeln!(to, "{indent}    FAILED: {failure}").unwrap();
    }
    for link in &span.links {
        writeln!(to, "{indent}    link: {}", labels[&(link.trace_id, link.span_id)]).unwrap();
    }
    let is_shown = |it: &&Attribute| !names(span).contains(&it.key) && it.key != key::ERROR_TYPE;
    for attribute in span.attributes.iter().filter(is_shown) {
        let value = value(span, attribute.key).unwrap();
        writeln!(to, "{indent}    {}: {value}", attribute.key).unwrap();
    }
}

macro_rules! captures {
    ($($test:ident: $name:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            let begin = lines($name)[0].at;
            let both = [("webhooks and analytics", false), ("webhooks alone", true)];
            let both = both.map(|(of, alone)| format!("{of}\n{}", text(&batch($name, alone), begin)));
            compare(concat!("calls/", $name, ".txt"), &both.join("\n"));
            compare(concat!("calls/", $name, ".bus.txt"), &text(&batch_with_bus($name), begin));
        })*
    };
}

captures! {
    an_inbound_call_whose_caller_hangs_up: "sip-in-caller-hangs-up";
    an_inbound_call_that_is_cancelled: "sip-in-cancelled";
    an_inbound_call_that_nobody_answers: "sip-in-no-answer";
    an_inbound_call_that_is_transferred: "sip-in-transferred";
    an_inbound_call_that_we_hang_up: "sip-in-we-hang-up";
    a_call_to_a_busy_callee: "sip-out-busy";
    a_call_that_the_callee_hangs_up: "sip-out-callee-hangs-up";
    a_call_that_the_callee_declines: "sip-out-declined";
    a_call_that_the_callee_does_not_answer: "sip-out-no-answer";
    a_call_whose_trunk_fails: "sip-out-trunk-503";
    a_call_that_we_give_up: "sip-out-we-give-up";
}

#[test]
fn each_capture_has_a_golden_file() {
    assert_eq!(TESTED, CAPTURES);
    let folder = format!("{}/tests/captures/calls", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name();
    let files = files.map(|file| name(file).into_string().unwrap());
    let mut files: Vec<_> =
        files.filter(|name| name.starts_with("sip-") && !name.ends_with(".api.jsonl")).collect();
    files.sort_unstable();
    let expected = CAPTURES.map(|name| [format!("{name}.bus.jsonl"), format!("{name}.jsonl")]);
    assert_eq!(files, expected.concat());
}
