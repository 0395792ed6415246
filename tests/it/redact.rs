//! redact.yaml and LiveKit's agents: technical attributes pass, and none that says who spoke or what was said.

use std::collections::BTreeSet;

use livekit_otel_agents::{Content, Reader};
use livekit_otel_engine::session::Settings;
use livekit_otel_model::Source;
use livekit_otel_model::foreign::{Body, Foreign, ForeignData, Origin, Upload};
use livekit_otel_model::privacy::Privacy;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::dashboards::shipped::redacted;
use crate::joined::{CAPTURES, lines_read_by, play};
use crate::live_check::registry::{OPENTELEMETRY, Registry, refs};

/// Without names and content.
fn reader() -> Reader {
    Reader { privacy: Privacy::Drop, content: Content::Drop }
}

fn allowed() -> BTreeSet<String> {
    redacted("allowed_keys").union(&redacted("ignored_keys")).cloned().collect()
}

fn add(to: &mut BTreeSet<String>, attributes: Vec<KeyValue>) {
    let valued =
        attributes.into_iter().filter(|it| it.value.as_ref().is_some_and(|it| it.value.is_some()));
    to.extend(valued.map(|attribute| attribute.key));
}

fn decoded<M: Message + Default>(body: &Body) -> M {
    M::decode(body.sent.clone()).unwrap()
}

fn of_origin(to: &mut BTreeSet<String>, origin: &Origin) {
    add(to, Resource::decode(origin.resource.clone()).unwrap().attributes);
    add(to, InstrumentationScope::decode(origin.scope.clone()).unwrap().attributes);
}

/// The keys of all attributes in records of agents.
fn keys(of: &Foreign) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for span in &of.spans {
        of_origin(&mut keys, &span.origin);
        let span: Span = decoded(&span.body);
        add(&mut keys, span.attributes);
        span.events.into_iter().for_each(|event| add(&mut keys, event.attributes));
    }
    for log in &of.logs {
        of_origin(&mut keys, &log.origin);
        add(&mut keys, decoded::<LogRecord>(&log.body).attributes);
    }
    for metric in &of.metrics {
        of_origin(&mut keys, &metric.origin);
        let attributes: Vec<_> = match &metric.data {
            ForeignData::Gauge(points) | ForeignData::Sum { points, .. } => {
                points.iter().map(|point| &point.attributes).collect()
            }
            ForeignData::Histogram { points, .. } => {
                points.iter().map(|point| &point.attributes).collect()
            }
        };
        for encoded in attributes {
            add(&mut keys, NumberDataPoint::decode(encoded.clone()).unwrap().attributes);
        }
    }
    keys
}

// What the application of `own-provider` has in its resource.
const OF_AN_APPLICATION: &str = "tenant";

#[test]
fn what_leaves_of_recorded_calls_of_agents_passes() {
    let allowed = allowed();
    for capture in CAPTURES {
        let sent = play(&lines_read_by(capture, &reader()), &Settings::default(), None).foreign;
        let keys = keys(&sent);
        assert!(keys.len() > 10, "{capture}: {keys:?}");
        let mut removed: Vec<_> = keys.difference(&allowed).collect();
        removed.retain(|key| *key != OF_AN_APPLICATION);
        assert!(removed.is_empty(), "{capture}: redact.yaml removes {removed:#?}");
    }
}

/// What `reader` lets pass of a span with these keys.
fn technical(keys: &BTreeSet<String>) -> BTreeSet<String> {
    let attribute = |key: &String| {
        let value = Some(AnyValue { value: Some(any_value::Value::StringValue("x".to_owned())) });
        KeyValue { key: key.clone(), value, ..KeyValue::default() }
    };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: keys.iter().map(attribute).collect(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let read = reader().read(Source::AgentTraces, &request.encode_to_vec()).unwrap();
    let Upload::Spans(spans) = read.upload else { panic!("{read:?}") };
    decoded::<Span>(&spans[0].body).attributes.into_iter().map(|it| it.key).collect()
}

#[test]
fn no_key_of_agents_that_passes_says_who_or_what() {
    let registry = Registry::read();
    let mut of_agents = redacted("allowed_keys");
    for key in registry.defined().into_keys().chain(refs(&registry.0[OPENTELEMETRY])) {
        of_agents.remove(key);
    }
    let technical = technical(&of_agents);
    let others: Vec<_> = of_agents.difference(&technical).collect();
    assert!(others.is_empty() && technical.len() > 200, "{others:?}");
}

#[test]
fn who_and_what_can_be_distinguished() {
    let keys =
        ["lk.pii.chat_ctx", "participant", "lk.rpc.caller_identity", "gen_ai.input.messages"];
    assert_eq!(technical(&keys.map(str::to_owned).into()), BTreeSet::new());
}
