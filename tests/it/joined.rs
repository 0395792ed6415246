//! Both halves of recorded calls: what a server sent, and what its agents uploaded. The golden files show the
//! traces to people. `UPDATE_GOLDEN=1` rewrites them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_agents::Reader;
use livekit_otel_engine::session::{AgentTraces, Settings};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Origin, Time};
use livekit_otel_model::foreign::{ForeignSpan, Upload};
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_model::signal::{Attribute, Link, Span, SpanId, TraceId, Value};
use serde_json::Value as Json;

use crate::capture;
use crate::golden::compare;
use crate::history::saved_and_loaded;

pub(crate) const CAPTURES: [&str; 7] =
    ["ordinary", "crash", "killed", "node-ordinary", "own-provider", "redaction", "two-process"];

pub(crate) type Line = (Time, Decoded);

// The first part of a multipart body, the header of a recording.
fn header(body: &[u8]) -> &[u8] {
    let after = |bytes: &[u8], word: &[u8]| {
        bytes.windows(word.len()).position(|window| window == word).unwrap() + word.len()
    };
    let part = &body[after(body, b"\r\n\r\n")..];
    &part[..after(part, b"\r\n--") - 4]
}

fn upload(text: &str, reader: &Reader) -> Line {
    let line: Json = serde_json::from_str(text).unwrap();
    let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
    let is_plain = line["path"].as_str().unwrap().starts_with("/v1/");
    let (source, raw) = match (line["kind"].as_str().unwrap(), is_plain) {
        ("traces", false) => (Source::AgentTraces, &*body),
        ("traces", true) => (Source::OtlpTraces, &*body),
        ("logs", false) => (Source::AgentLogs, &*body),
        ("logs", true) => (Source::OtlpLogs, &*body),
        ("metrics", false) => (Source::AgentMetrics, &*body),
        ("metrics", true) => (Source::OtlpMetrics, &*body),
        _ => (Source::AgentRecordings, header(&body)),
    };
    let at = Time::from_millis(line["at"].as_i64().unwrap()).unwrap();
    (at, Decoded::Upload(reader.read(source, raw).unwrap().upload))
}

// The lines of both halves by their time; with a collector, also what an agent sent there.
pub(crate) fn lines(name: &str) -> Vec<Line> {
    lines_read_by(name, &Reader::default())
}

pub(crate) fn lines_read_by(name: &str, reader: &Reader) -> Vec<Line> {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = |half: &str| format!("{root}/tests/captures/agents/{name}.{half}.jsonl");
    let server = std::fs::read_to_string(path("server")).unwrap();
    let mut lines: Vec<Line> = server
        .lines()
        .map(|text| {
            let line = capture::line(text);
            (line.at, line.decoded)
        })
        .collect();
    let uploads = ["agents", "collector"].map(|half| std::fs::read_to_string(path(half)));
    for text in uploads.iter().flatten().flat_map(|text| text.lines()) {
        lines.push(upload(text, reader));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines
}

fn new_engine(settings: &Settings, begin: Time) -> Engine {
    Engine::new(settings.clone(), stats::Settings::default(), begin)
}

// The output of the lines and of the time after them, with a restart before one of them.
pub(crate) fn play(lines: &[Line], settings: &Settings, restart: Option<usize>) -> Batch {
    let begin = lines[0].0;
    let new = || new_engine(settings, begin);
    let (mut engine, mut out) = (new(), Batch::default());
    for (nth, (at, decoded)) in lines.iter().enumerate() {
        if restart == Some(nth) {
            engine = saved_and_loaded(&engine, new());
        }
        while let Some(due) = engine.next_deadline().filter(|due| due <= at) {
            engine.tick(due, &mut out);
        }
        engine.apply(decoded, *at, true, &mut out);
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    out
}

// A span of either half.
struct Node<'a> {
    trace: TraceId,
    id: SpanId,
    parent: Option<SpanId>,
    name: &'a str,
    times: (Time, Time),
    failure: Option<&'a str>,
    links: Vec<Link>,
    attributes: Vec<&'a Attribute>,
    is_ours: bool,
}

impl<'a> Node<'a> {
    fn ours(span: &'a Span) -> Self {
        Self {
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent,
            name: span.name,
            times: (span.start, span.end),
            failure: span.failure(),
            links: span.links.clone(),
            attributes: span.attributes.iter().collect(),
            is_ours: true,
        }
    }

    fn foreign(span: &'a ForeignSpan) -> Self {
        Self {
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent,
            name: &span.name,
            times: (span.start, span.end),
            failure: span.failure.as_deref(),
            links: span.added_links.clone(),
            attributes: span.added.iter().collect(),
            is_ours: false,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match &self.attributes.iter().find(|it| it.key == key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.attributes.iter().find(|it| it.key == key)?.value {
            Value::Float(value) => Some(value),
            _ => None,
        }
    }

    // Its name, and whom it is about.
    fn label(&self) -> String {
        let of = match self.name {
            name::ROOM => key::ROOM_ID,
            name::PARTICIPANT | name::PARTICIPANT_CONNECT => key::PARTICIPANT_ID,
            name::TRACK | name::TRACK_PUBLISH | name::TRACK_SUBSCRIBE => key::TRACK_ID,
            name::AGENT_JOB => key::JOB_ID,
            _ => key::RPC_METHOD,
        };
        let of = self.text(of).map_or(String::new(), |of| format!(" {of}"));
        format!("{}{of}", self.name)
    }
}

fn nodes(out: &Batch) -> Vec<Node<'_>> {
    let mut nodes: Vec<_> = out.spans.iter().map(Node::ours).collect();
    nodes.extend(out.foreign.spans.iter().map(Node::foreign));
    nodes.retain(|node| node.name != name::WEBHOOK_DELIVERY);
    nodes.sort_by_key(|node| (node.times.0, node.id));
    nodes
}

// The traces as trees, in the order of their starts.
fn text(out: &Batch, begin: Time) -> String {
    let nodes = nodes(out);
    let labels: BTreeMap<_, _> =
        nodes.iter().map(|node| ((node.trace, node.id), node.label())).collect();
    let mut to = String::new();
    let mut written = BTreeSet::new();
    for root in &nodes {
        if written.insert(root.trace) {
            writeln!(to, "trace").unwrap();
            let of_it: Vec<_> = nodes.iter().filter(|node| node.trace == root.trace).collect();
            let ids: BTreeSet<_> = of_it.iter().map(|node| node.id).collect();
            for root in of_it.iter().filter(|it| it.parent.is_none_or(|id| !ids.contains(&id))) {
                tree(&mut to, &of_it, root, 1, begin, &labels);
            }
        }
    }
    write_logs(&mut to, out, &labels);
    to
}

fn tree(
    to: &mut String,
    trace: &[&Node<'_>],
    node: &Node<'_>,
    depth: usize,
    begin: Time,
    labels: &BTreeMap<(TraceId, SpanId), String>,
) {
    let indent = "  ".repeat(depth);
    let secs = |at: Time| (at.nanos() as f64 - begin.nanos() as f64) / 1e9;
    let (start, end) = (secs(node.times.0), secs(node.times.1));
    let whose = if node.is_ours { "" } else { " (agent)" };
    writeln!(to, "{indent}{}{whose}  {start:.3} .. {end:.3}", node.label()).unwrap();
    if let Some(failure) = node.failure {
        writeln!(to, "{indent}    FAILED: {failure}").unwrap();
    }
    for link in &node.links {
        let label = labels.get(&(link.trace_id, link.span_id));
        let what = label.map_or("a span of another trace", String::as_str);
        writeln!(to, "{indent}    link: {what}").unwrap();
    }
    for key in [key::END_INFERRED, key::ORIGINAL_TRACE_ID] {
        if let Some(value) = node.text(key) {
            writeln!(to, "{indent}    {key}: {value}").unwrap();
        }
    }
    for key in [key::NETWORK_LOSS, key::NETWORK_ROUND_TRIP, key::NETWORK_JITTER] {
        if let Some(value) = node.number(key) {
            writeln!(to, "{indent}    {key}: {value}").unwrap();
        }
    }
    for child in trace.iter().filter(|child| child.parent == Some(node.id)) {
        tree(to, trace, child, depth + 1, begin, labels);
    }
}

// How many log records of agents each span has, and the records of recordings.
fn write_logs(to: &mut String, out: &Batch, labels: &BTreeMap<(TraceId, SpanId), String>) {
    let label = |context: Option<(TraceId, SpanId)>| match context {
        Some(context) => labels.get(&context).map_or("a missing span", String::as_str),
        None => "no span",
    };
    let mut logs: BTreeMap<&str, usize> = BTreeMap::new();
    for log in &out.foreign.logs {
        *logs.entry(label(log.context)).or_default() += 1;
    }
    writeln!(to, "\nlog records of agents").unwrap();
    for (of, count) in logs {
        writeln!(to, "  {count:>4} of {of}").unwrap();
    }
    for log in out.logs.iter().filter(|log| &*log.event_name == "lk.agent.session_recorded") {
        writeln!(to, "{} of {}", log.event_name, label(log.context)).unwrap();
        for attribute in &log.attributes {
            writeln!(to, "    {}: {:?}", attribute.key, attribute.value).unwrap();
        }
    }
}

// Each id once; each trace of a room has one root; each turn of a user is linked to its participant's span.
fn assert_joined(out: &Batch) {
    let nodes = nodes(out);
    let known: BTreeSet<_> = nodes.iter().map(|node| (node.trace, node.id)).collect();
    assert_eq!(known.len(), nodes.len(), "a span left twice");
    for node in &nodes {
        let parent = node.parent.map(|parent| (node.trace, parent));
        assert!(parent.is_none_or(|parent| known.contains(&parent)), "{} is an orphan", node.name);
        let is_root = node.parent.is_none();
        assert!(!is_root || node.is_ours, "{} is a root", node.name);
        if node.name == "user_turn" {
            let is_linked = |link: &Link| {
                nodes.iter().any(|it| it.name == "participant" && it.id == link.span_id)
            };
            assert!(node.links.iter().any(is_linked), "a turn has no participant");
        }
    }
    for room in nodes.iter().filter(|node| node.name == name::ROOM) {
        let roots = nodes.iter().filter(|it| it.trace == room.trace && it.parent.is_none());
        assert_eq!(roots.count(), 1);
    }
}

fn has_network(span: &ForeignSpan) -> bool {
    let keys = [key::NETWORK_LOSS, key::NETWORK_ROUND_TRIP, key::NETWORK_JITTER];
    span.added.iter().any(|it| keys.contains(&it.key))
}

#[test]
fn turns_within_stats_windows_have_their_callers_network() {
    for name in ["ordinary", "node-ordinary", "two-process", "killed", "own-provider"] {
        let out = play(&lines(name), &Settings::default(), None);
        let (turns, others): (Vec<_>, Vec<_>) =
            out.foreign.spans.iter().partition(|span| span.name.ends_with("_turn"));
        let count = turns.iter().filter(|turn| has_network(turn)).count();
        assert!(count > 3, "{name}: {count} of {}", turns.len());
        assert!(!others.iter().any(|span| has_network(span)), "{name}");
    }
}

#[test]
fn with_webhooks_only_no_turn_waits() {
    let is_webhook = |it: &Decoded| match it {
        Decoded::Events(events) => events.iter().all(|event| event.origin == Origin::Webhook),
        other => !matches!(other, Decoded::Stats(_)),
    };
    let lines = lines("ordinary");
    let (mut engine, mut out) = (new_engine(&Settings::default(), lines[0].0), Batch::default());
    let mut received = 0;
    for (at, decoded) in lines.iter().filter(|(_, it)| is_webhook(it)) {
        engine.apply(decoded, *at, false, &mut out);
        if let Decoded::Upload(Upload::Spans(spans)) = decoded {
            received += spans.len();
        }
        assert_eq!(out.foreign.spans.len(), received);
    }
    assert!(received > 100 && !out.foreign.spans.iter().any(has_network));
}

fn check(name: &str) -> Batch {
    let lines = lines(name);
    let out = play(&lines, &Settings::default(), None);
    compare(&format!("joined/{name}.txt"), &text(&out, lines[0].0));
    out
}

#[test]
fn an_ordinary_call_is_one_trace() {
    assert_joined(&check("ordinary"));
}

#[test]
fn calls_of_one_worker_are_a_trace_each() {
    assert_joined(&check("two-process"));
}

#[test]
fn a_call_with_redacted_content_is_one_trace() {
    assert_joined(&check("redaction"));
}

#[test]
fn a_job_that_fails_at_its_start_has_log_records_in_its_rooms_trace() {
    let out = check("crash");
    assert_joined(&out);
    assert!(!out.foreign.logs.is_empty());
}

#[test]
fn the_parents_of_a_killed_job_are_inferred() {
    let out = check("killed");
    assert_joined(&out);
    let inferred = out.foreign.spans.iter().filter(|span| span.body.sent.is_empty());
    assert!(inferred.clone().any(|span| &*span.name == "agent_session"));
    assert!(inferred.flat_map(|span| &span.added).any(|it| it.key == key::END_INFERRED));
}

#[test]
fn a_call_with_an_agent_of_npm_is_one_trace() {
    assert_joined(&check("node-ordinary"));
}

#[test]
fn spans_that_an_agent_also_sends_as_plain_otlp_leave_once_under_their_ids() {
    let out = check("own-provider");
    let sent: BTreeSet<_> = lines("own-provider")
        .into_iter()
        .filter_map(|(_, decoded)| match decoded {
            Decoded::Upload(Upload::Spans(spans)) => Some(spans),
            _ => None,
        })
        .flatten()
        .map(|span| (span.trace_id, span.span_id))
        .collect();
    let left = out.foreign.spans.iter().map(|span| (span.trace_id, span.span_id));
    assert_eq!(left.clone().collect::<BTreeSet<_>>(), sent);
    assert_eq!(left.count(), sent.len());
}

#[test]
fn copies_of_all_uploads_and_restarts_change_nothing() {
    for name in CAPTURES {
        let lines = lines(name);
        let expected = play(&lines, &Settings::default(), None);
        let twice: Vec<_> = lines
            .iter()
            .flat_map(|line| {
                let is_copied = matches!(line.1, Decoded::Upload(Upload::Spans(_)));
                std::iter::repeat_n(line.clone(), 1 + usize::from(is_copied))
            })
            .collect();
        let copied = play(&twice, &Settings::default(), None);
        assert_eq!(copied.foreign.spans, expected.foreign.spans);
        for restart in (0..lines.len()).step_by(lines.len() / 4) {
            let restarted = play(&lines, &Settings::default(), Some(restart));
            assert_eq!(restarted.foreign, expected.foreign, "{name}");
            assert_eq!(
                (restarted.spans, restarted.logs),
                (expected.spans.clone(), expected.logs.clone())
            );
        }
    }
}

#[test]
fn a_small_trace_breaks_no_turn() {
    let agent_traces = Some(AgentTraces::Join);
    let settings = Settings { max_spans: 80, agent_traces, ..Settings::default() };
    let out = play(&lines("ordinary"), &settings, None);
    let spans = &out.foreign.spans;
    assert_eq!(
        spans.len(),
        play(&lines("ordinary"), &Settings::default(), None).foreign.spans.len()
    );
    let rooms = out.spans.iter().find(|span| span.name == name::ROOM).unwrap().trace_id;
    let known: BTreeSet<_> = nodes(&out).iter().map(|node| (node.trace, node.id)).collect();
    assert!(spans.iter().all(|it| it.parent.is_none_or(|id| known.contains(&(it.trace_id, id)))));
    let in_room = spans.iter().filter(|span| span.trace_id == rooms).count();
    assert!(in_room <= 40 && spans.len() > 100, "{in_room} of {}", spans.len());
}
