//! Agents that share traces out, and gateways that sample them; both are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use livekit_otel_model::semconv::{key, span};
use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, status::StatusCode,
};

use super::super::{Built, build};
use super::items::{self, Item, assert_at_least_once, assert_same, items};
use super::otelcol::{Running, listening};
use super::recorded::{self, send};
use super::{Backends, Collector, PATIENCE, address, file};
use crate::parts::reserved_port;

fn agent(built: &Built, gateways: &[String], storage: &Path) -> (Running, String) {
    let (endpoint, own) = listening();
    let variables = [
        ("GATEWAYS", format!("[{}]", gateways.join(", "))),
        ("STORAGE_DIRECTORY", storage.display().to_string()),
    ];
    (Running::start(built, &[file("gateway-agent.yaml"), own], &variables), endpoint)
}

fn gateway(
    built: &Built,
    listen: &str,
    backends: &[(&'static str, String)],
    storage: &Path,
) -> Running {
    let mut variables = backends.to_vec();
    variables.push(("GATEWAY_LISTEN", listen.to_owned()));
    variables.push(("STORAGE_DIRECTORY", storage.display().to_string()));
    Running::start(built, &[file("gateway.yaml")], &variables)
}

type Traces = BTreeMap<Vec<u8>, Vec<Span>>;

fn traces(items: &[Item]) -> Traces {
    let mut traces = Traces::new();
    for span in items.iter().filter_map(Item::span) {
        traces.entry(span.trace_id.clone()).or_default().push(span.clone());
    }
    traces
}

fn ids(items: &[Item]) -> BTreeSet<Vec<u8>> {
    traces(items).into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gives_each_trace_to_one_of_two_gateways() {
    let Some(built) = build() else { return };
    let calls = recorded::calls().await;
    let storage = tempfile::tempdir().unwrap();
    let [one, other] = [Collector::start().await.unwrap(), Collector::start().await.unwrap()];
    let gateways = [address(&one), address(&other)];
    let (agent, endpoint) = agent(built, &gateways, storage.path());
    send(&endpoint, calls).await;
    // An agent that is stopped leaves its queue on disk.
    let expected = items(calls);
    all_came(&expected, || [items(&one.received()), items(&other.received())].concat()).await;
    assert_eq!(agent.stop(), [""; 0]);
    let [one, other] = [items(&one.stop().await), items(&other.stop().await)];
    let (at_one, at_other) = (ids(&one), ids(&other));
    assert!(at_one.is_disjoint(&at_other));
    let share = at_one.len() as f64 / (at_one.len() + at_other.len()) as f64;
    assert!((0.3..0.7).contains(&share), "{share}");
    // Metrics of one resource are at one of them.
    let has_points =
        |items: &[Item]| items.iter().any(|item| matches!(item.what, items::What::Point(_)));
    assert!(has_points(&one) != has_points(&other));
    assert_same(&[one, other].concat(), &expected);
}

fn number(span: &Span, key: &str) -> Option<f64> {
    let value = &span.attributes.iter().find(|attribute| attribute.key == key)?.value;
    match value.as_ref()?.value.as_ref()? {
        Value::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

// Why a trace is kept, as gateway.yaml has it.
fn reason(spans: &[Span]) -> Option<&'static str> {
    let any = |is: &dyn Fn(&Span) -> bool| spans.iter().any(is);
    let has = |span: &Span, key: &str| span.attributes.iter().any(|it| it.key == key);
    let tries = [span::PARTICIPANT_CONNECT, span::TRACK_PUBLISH, span::TRACK_SUBSCRIBE];
    let seconds = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e9;
    let is_error =
        |span: &Span| span.status.as_ref().is_some_and(|it| it.code() == StatusCode::Error);
    if any(&|span| has(span, key::ERROR_TYPE)) || any(&is_error) {
        Some("failed")
    } else if any(&|span| number(span, key::STATS_SCORE_MIN).is_some_and(|score| score < 3.0)) {
        Some("bad quality")
    } else if any(&|span| tries.contains(&&*span.name) && seconds(span) > 5.0) {
        Some("slow")
    } else if any(&|span| span.name == span::ROOM) {
        Some("room")
    } else {
        None
    }
}

// What failed has a status and an error.type: some keep the one, some the other.
fn with_one_sign_each(calls: &Received) -> Received {
    let mut calls = calls.clone();
    let spans = calls.traces.iter_mut().flat_map(|request| &mut request.resource_spans);
    for span in spans.flat_map(|of| &mut of.scope_spans).flat_map(|scope| &mut scope.spans) {
        if span.trace_id[0].is_multiple_of(2) {
            span.attributes.retain(|attribute| attribute.key != key::ERROR_TYPE);
        } else {
            span.status = None;
        }
    }
    calls
}

// The tail sampling processor leaves out the schema's URL.
fn sampled(mut item: Item) -> Item {
    if item.span().is_some() {
        item.schemas = [String::new(), String::new()];
    }
    item
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_keeps_what_went_wrong_whole_and_a_tenth_of_the_rest() {
    let Some(built) = build() else { return };
    let calls = &with_one_sign_each(recorded::calls().await);
    let storage = tempfile::tempdir().unwrap();
    let backends = Backends::start(built).await;
    let listen = format!("127.0.0.1:{}", reserved_port());
    let gateway = gateway(built, &listen, &backends.variables, storage.path());
    send(&format!("http://{listen}"), calls).await;
    let sent = items(calls);
    let sent_traces = traces(&sent);
    let kept = sent_traces.iter().filter(|(_, spans)| reason(spans).is_some());
    let kept: Vec<_> = kept.map(|(id, _)| id.clone()).collect();
    // A gateway that is stopped leaves its queues on disk.
    let unsampled = items::count_unsampled(calls);
    let is_decided = |received: &Received| {
        let there = items::traces(received);
        kept.iter().all(|id| there.contains(id)) && items::count_unsampled(received) >= unsampled
    };
    let wait = backends.collector.received_when(is_decided);
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not all came");
    assert_eq!(gateway.stop(), [""; 0]);
    let actual = backends.stop_at(0).await.into_iter().map(sampled).collect::<Vec<_>>();

    let mut reasons = BTreeMap::new();
    for spans in sent_traces.values() {
        *reasons.entry(reason(spans)).or_insert(0) += 1;
    }
    for reason in [Some("failed"), Some("bad quality"), Some("room"), None] {
        assert!(reasons.get(&reason).is_some_and(|count| *count > 3), "{reasons:?}");
    }
    let there = ids(&actual);
    let rest = there.iter().filter(|id| !kept.contains(id)).count();
    let share = rest as f64 / f64::from(reasons[&None]);
    assert!((0.04..0.18).contains(&share), "{share} of {reasons:?}");
    // What is kept is kept whole, and logs and metrics all.
    let is_kept = |item: &&Item| item.span().is_none_or(|span| there.contains(&span.trace_id));
    let expected: Vec<_> = sent.iter().filter(is_kept).cloned().map(sampled).collect();
    assert_same(&actual, &expected);
}

// Without the text of a span's id.
const MARKS: [u8; 16] = *b"a trace of marks";

/// Waits until all traces sent so far are decided, and those that are kept are committed to the queue on
/// disk. The gateway decides on the traces of one second together, and takes no span meanwhile: the second
/// span of this trace follows all of them into the queue, which writes one entry after the other.
async fn decided(folder: &Path, endpoint: &str) {
    let status = Some(Status { code: StatusCode::Error.into(), ..Default::default() });
    let mark = Span { trace_id: MARKS.to_vec(), status, ..Default::default() };
    for id in ["the 1st.", "the 2nd."] {
        let spans = vec![Span { span_id: id.into(), ..mark.clone() }];
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let traces = vec![ExportTraceServiceRequest { resource_spans }];
        let received = Received { traces, ..Received::default() };
        recorded::send_once(endpoint, &received).await.unwrap();
        holds(folder, id).await;
    }
}

/// Waits until the queue of traces on disk has this text.
async fn holds(folder: &Path, text: &str) {
    let until = Instant::now() + PATIENCE;
    let mut grep = Command::new("grep");
    grep.args(["-qaF", text]).arg(folder.join("exporter_otlp_http_tempo_traces"));
    while !grep.status().unwrap().success() {
        assert!(Instant::now() < until, "{text} is not on disk");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_delivers_what_it_took_while_the_gateways_were_away() {
    let Some(built) = build() else { return };
    let calls = recorded::calls().await;
    let storage = tempfile::tempdir().unwrap();
    let ports = [reserved_port(), reserved_port()];
    let gateways = ports.map(|port| format!("127.0.0.1:{port}"));
    let (killed, endpoint) = agent(built, &gateways, storage.path());
    // All of it is taken.
    recorded::send_once(&endpoint, calls).await.unwrap();
    killed.kill();
    let start = |port| Collector::start_on(([127, 0, 0, 1], port).into());
    let [one, other] = [start(ports[0]).await.unwrap(), start(ports[1]).await.unwrap()];
    let (agent, _) = agent(built, &gateways, storage.path());
    let expected = items(calls);
    let came = || [items(&one.received()), items(&other.received())].concat();
    all_came(&expected, came).await;
    drop(agent.stop());
    assert_at_least_once(&came(), &expected);
}

/// Waits until what came has all of these.
async fn all_came(expected: &[Item], came: impl Fn() -> Vec<Item>) {
    let until = Instant::now() + PATIENCE;
    let expected = items::counted(expected);
    loop {
        let came = items::counted(&came());
        let mut missing = expected.keys().filter(|item| !came.contains_key(*item));
        let Some(first) = missing.next() else { return };
        let count = 1 + missing.count();
        assert!(Instant::now() < until, "{count} of {} did not come: {first}", expected.len());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_delivers_what_it_decided_while_the_back_ends_were_away() {
    let Some(built) = build() else { return };
    let calls = recorded::calls().await;
    let storage = tempfile::tempdir().unwrap();
    let (listen, port) = (format!("127.0.0.1:{}", reserved_port()), reserved_port());
    let killed = gateway(built, &listen, &Backends::at(port), storage.path());
    let endpoint = format!("http://{listen}");
    recorded::send_once(&endpoint, calls).await.unwrap();
    let sent = items(calls);
    let sent_traces = traces(&sent);
    decided(storage.path(), &endpoint).await;
    killed.kill();
    let backends = Backends::start_on(built, port).await;
    let gateway = gateway(built, &listen, &backends.variables, storage.path());
    let is_kept =
        |span: &Span| sent_traces.get(&span.trace_id).is_some_and(|it| reason(it).is_some());
    let is_other = |item: &Item| item.span().is_none_or(is_kept);
    let expected: Vec<_> =
        sent.iter().filter(|item| is_other(item)).cloned().map(sampled).collect();
    // The tenth of the rest is not in question here.
    let came = || {
        let came = items(&backends.collector.received()).into_iter();
        came.filter(|item| is_other(item)).map(sampled).collect::<Vec<_>>()
    };
    all_came(&expected, came).await;
    drop(gateway.stop());
    assert_at_least_once(&came(), &expected);
}
