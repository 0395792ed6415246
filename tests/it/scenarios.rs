//! Scenarios: each input is a capture of what a server reports, and the golden file beside it shows
//! the spans and log records to people. `UPDATE_GOLDEN=1` rewrites it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use livekit_otel_engine::session::{Settings, TraceScope};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_model::signal::{Attribute, LogRecord, Span, SpanId, SpanKind, Value};

use crate::capture::{self, Line};
use crate::golden::compare;

// When all of them begin, in Unix milliseconds.
const BEGIN: i64 = 1_795_406_960_000;

fn settings(scenario: &str) -> Settings {
    let default = Settings::default();
    match scenario {
        // A room's trace may have three quarters of 20 spans: enough for four of its ten participants.
        "long-room" => Settings { max_spans: 20, ..default },
        "subscriptions" => Settings { subscriptions: true, ..default },
        "own-traces" => Settings { scope: TraceScope::Participant, ..default },
        _ => default,
    }
}

/// The output of the lines, and of the time that passes after them.
pub(crate) fn play<'a>(lines: impl Iterator<Item = &'a Line>, settings: Settings) -> Batch {
    let mut out = Batch::default();
    let mut lines = lines.peekable();
    let begin = lines.peek().unwrap().at;
    let mut engine = Engine::new(settings, stats::Settings::default(), begin);
    for line in lines {
        while let Some(due) = engine.next_deadline().filter(|due| *due <= line.at) {
            engine.tick(due, &mut out);
        }
        engine.apply(&line.decoded, line.at, true, &mut out);
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    out
}

/// The output of every scenario.
pub(crate) fn batches() -> Vec<Batch> {
    let url = Some("http://localhost/{trace_id}".into());
    let settings =
        || Settings { trace_url: url.clone(), subscriptions: true, ..Settings::default() };
    INPUTS.iter().map(|input| play(lines(input).iter(), settings())).collect()
}

fn lines(input: &str) -> Vec<Line> {
    let root = env!("CARGO_MANIFEST_DIR");
    let input = std::fs::read_to_string(format!("{root}/tests/golden/scenarios/{input}.jsonl"));
    input.unwrap().lines().map(capture::line).collect()
}

fn check(scenario: &str, input: &str) {
    let lines = lines(input);
    let out = play(lines.iter(), settings(scenario));
    let ids: BTreeSet<_> = out.spans.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), out.spans.len(), "a span was emitted twice");
    assert!(!format!("{out:?}").contains("made-up-"), "a secret was emitted");
    compare(&format!("scenarios/{scenario}.txt"), &text(&out, Time::from_millis(BEGIN).unwrap()));
}

macro_rules! scenarios {
    ($($test:ident: $name:literal of $input:literal;)*) => {
        const INPUTS: &[&str] = &[$($input),*];

        $(#[test]
        fn $test() {
            check($name, $input);
        })*
    };
}

scenarios! {
    an_ordinary_call: "ordinary-call" of "ordinary-call";
    the_same_with_a_trace_for_each_participant: "own-traces" of "ordinary-call";
    the_same_with_its_subscriptions: "subscriptions" of "ordinary-call";
    a_join_that_is_aborted: "aborted-join" of "aborted-join";
    a_client_that_is_lost_and_comes_back: "lost-client" of "lost-client";
    a_connection_that_is_resumed: "resume" of "resume";
    a_participant_that_migrates: "migration" of "migration";
    a_server_that_crashes_in_a_call: "server-crash" of "server-crash";
    a_call_reported_out_of_order: "reorder" of "reorder";
    a_call_reported_twice: "duplicate" of "duplicate";
    a_call_reported_by_webhooks_alone: "webhook-only" of "webhook-only";
    tracks_whose_events_name_no_room: "track-without-room" of "track-without-room";
    a_room_over_its_span_limit: "long-room" of "long-room";
    an_egress_that_fails: "egress-failure" of "egress-failure";
    a_sip_call_with_a_transfer: "sip-call-with-transfer" of "sip-call-with-transfer";
    api_calls_and_webhooks: "api-calls-and-webhooks" of "api-calls-and-webhooks";
    an_agents_job: "agent-job" of "agent-job";
    agents_jobs_that_wait: "pending-jobs" of "pending-jobs";
    an_update_after_the_end: "late-update" of "late-update";
    an_egress_whose_end_alone_is_reported: "egress-ended-alone" of "egress-ended-alone";
}

#[test]
fn reordered_and_repeated_messages_make_the_same_spans() {
    let root = env!("CARGO_MANIFEST_DIR");
    let spans = |name: &str| {
        let path = format!("{root}/tests/golden/scenarios/{name}.txt");
        let text = std::fs::read_to_string(path).unwrap();
        text.split_once("\nlogs\n").unwrap().0.to_owned()
    };
    let ordinary = spans("ordinary-call");
    assert_eq!(spans("reorder"), ordinary);
    assert_eq!(spans("duplicate"), ordinary);
}

// Spans as trees, a trace after the other, then the log records.
fn text(out: &Batch, begin: Time) -> String {
    let labels: HashMap<SpanId, String> =
        out.spans.iter().map(|span| (span.span_id, label(span))).collect();
    let mut traces: BTreeMap<_, Vec<&Span>> = BTreeMap::new();
    for span in &out.spans {
        traces.entry(span.trace_id).or_default().push(span);
    }
    let mut traces: Vec<Vec<&Span>> = traces.into_values().collect();
    for trace in &mut traces {
        trace.sort_by_key(|span| (span.start, span.name, span.span_id));
    }
    traces.sort_by_key(|trace| (trace[0].start, trace[0].span_id));
    let mut to = String::new();
    for trace in &traces {
        writeln!(to, "trace").unwrap();
        let known: BTreeSet<SpanId> = trace.iter().map(|span| span.span_id).collect();
        for root in trace.iter().filter(|span| span.parent.is_none_or(|id| !known.contains(&id))) {
            tree(&mut to, trace, root, 1, begin, &labels);
        }
    }
    writeln!(to, "\nlogs").unwrap();
    for record in &out.logs {
        log(&mut to, record, begin, &labels);
    }
    to
}

fn tree(
    to: &mut String,
    trace: &[&Span],
    span: &Span,
    depth: usize,
    begin: Time,
    labels: &HashMap<SpanId, String>,
) {
    let indent = "  ".repeat(depth);
    let (start, end) = (offset(span.start, begin), offset(span.end, begin));
    let kind = match span.kind {
        SpanKind::Internal => "",
        SpanKind::Server => " (server)",
        SpanKind::Client => " (client)",
    };
    writeln!(to, "{indent}{}{kind}  {start} .. {end}", label(span)).unwrap();
    if let Some(message) = span.failure() {
        writeln!(to, "{indent}    FAILED: {message}").unwrap();
    }
    for link in &span.links {
        let to_what = labels.get(&link.span_id).map_or("a span of another's trace", String::as_str);
        writeln!(to, "{indent}    link: {to_what}").unwrap();
    }
    for attribute in &span.attributes {
        attribute_line(to, &indent, attribute);
    }
    for child in trace.iter().filter(|child| child.parent == Some(span.span_id)) {
        tree(to, trace, child, depth + 1, begin, labels);
    }
}

const IN_LABELS: [&str; 6] = [
    key::ROOM_ID,
    key::ROOM_NAME,
    key::PARTICIPANT_ID,
    key::TRACK_ID,
    key::SOURCE,
    key::LOG_RECORD_UID,
];

fn attribute_line(to: &mut String, indent: &str, attribute: &Attribute) {
    if !IN_LABELS.contains(&attribute.key) {
        writeln!(to, "{indent}    {}: {}", attribute.key, value(&attribute.value)).unwrap();
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(count) => count.to_string(),
        Value::Float(measure) => measure.to_string(),
        Value::Text(text) => text.to_string(),
    }
}

// The span's name, and the ids of its entity.
fn label(span: &Span) -> String {
    let of = match span.name {
        name::ROOM => &[key::ROOM_ID][..],
        name::PARTICIPANT | name::PARTICIPANT_CONNECT => &[key::PARTICIPANT_ID],
        name::TRACK | name::TRACK_PUBLISH => &[key::TRACK_ID],
        name::TRACK_SUBSCRIBE | name::SUBSCRIPTION => &[key::PARTICIPANT_ID, key::TRACK_ID],
        name::EGRESS => &[key::EGRESS_ID],
        name::INGRESS => &[key::INGRESS_ID],
        name::SIP_CALL => &[key::SIP_CALL_ID],
        name::SIP_TRANSFER => &[key::SIP_TRANSFER_ID],
        name::AGENT_JOB => &[key::JOB_ID],
        name::WEBHOOK_DELIVERY => &[key::WEBHOOK_EVENT],
        _ => &[key::RPC_METHOD],
    };
    let ids = of.iter().filter_map(|key| span.attributes.iter().find(|it| it.key == *key));
    ids.fold(span.name.to_owned(), |label, id| format!("{label} {}", value(&id.value)))
}

fn log(to: &mut String, record: &LogRecord, begin: Time, labels: &HashMap<SpanId, String>) {
    let of = record.context.and_then(|(_, span)| labels.get(&span));
    let of = of.map_or("-", String::as_str);
    let text = |key: &str| {
        let found = record.attributes.iter().find(|it| it.key == key);
        found.map_or(String::new(), |it| value(&it.value))
    };
    let at = offset(record.time, begin);
    let (source, severity) = (text(key::SOURCE), format!("{:?}", record.severity));
    writeln!(to, "  {at:>8} {severity:<5} {} of {of}, {source}", record.event_name).unwrap();
}

fn offset(at: Time, begin: Time) -> String {
    format!("{:.3}", (at.nanos() as f64 - begin.nanos() as f64) / 1e9)
}
