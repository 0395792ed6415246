//! The registry in `semconv/` and what the program emits, compared in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::stats::calls::{AttemptState, Connecting, Count, Fec, JoinState, Timing};
use livekit_otel_engine::stats::{Histograms, Level, NodeReports};
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_export::marked::Marked;
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::rooms::{Coverage, ListedRoom, Rooms};
use livekit_otel_model::event::{Decoded, Direction, RoomSid, TrackKind, Unknown};
use livekit_otel_model::semconv::{self, key};
use livekit_otel_model::signal::{Attribute, Data, Metric, Value};
use livekit_otel_model::{Signal, Source};
use livekit_otel_pipeline::own::Own;
use livekit_otel_pipeline::periodic::FlushTimer;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use serde_json::{Value as Json, json};

use crate::capture;
use crate::dashboards::shipped::redacted;
use crate::live_check::livekit::{OWNER, annotation, is_marked};
use crate::live_check::registry::{
    LIVEKIT, OPENTELEMETRY, RESOURCE, Registry, attributes, refs, text, yaml,
};
use crate::messages::{ROOM, at, rfc3339};

/// The constants of a module in the model's semconv.rs, or in a file below it.
fn constants(module: &str) -> BTreeSet<String> {
    let source = |path| {
        std::fs::read_to_string(format!("{}/crates/model/src/{path}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
    };
    let all = source("semconv.rs");
    let body = match all.split_once(&format!("pub mod {module} {{")) {
        Some((_, rest)) => rest.split_once("\n}").unwrap().0.to_owned(),
        None => source(&format!("semconv/{module}.rs")),
    };
    let values = body.split("pub const ").skip(1);
    values.map(|constant| constant.split('"').nth(1).unwrap().to_owned()).collect()
}

// Fails with what is missing where.
fn agree(what: &str, code: &BTreeSet<String>, file: &str, registry: &BTreeSet<String>) {
    let unwritten: Vec<_> = code.difference(registry).collect();
    let unknown: Vec<_> = registry.difference(code).collect();
    assert!(
        unwritten.is_empty() && unknown.is_empty(),
        "{what}: missing in semconv/{file}.yaml: {unwritten:?}; missing in crates/model/src/semconv.rs: {unknown:?}"
    );
}

fn names<T>(of: &BTreeMap<String, T>) -> BTreeSet<String> {
    of.keys().cloned().collect()
}

#[test]
fn the_registry_has_the_attribute_keys_of_the_code() {
    let registry = Registry::read();
    let defined = registry.defined();
    let foreign = refs(&registry.0[OPENTELEMETRY]);
    let all = defined.keys().copied().chain(foreign).map(str::to_owned).collect();
    agree("attribute keys", &constants("key"), "attributes", &all);
    let resource = include_str!("../../crates/export/src/configure/resource.rs");
    for key in refs(&registry.0[RESOURCE]) {
        assert!(resource.contains(&format!("\"{key}\"")), "the resource has no {key}");
    }
}

#[test]
fn the_registry_has_the_spans_events_and_metrics_of_the_code() {
    let registry = Registry::read();
    agree("span names", &constants("span"), "spans", &names(&registry.spans()));
    agree("event names", &constants("event"), "events", &names(&registry.events()));
    agree("metric names", &constants("metric"), "metrics", &names(&registry.metrics()));
}

#[test]
fn redact_yaml_passes_each_key_of_the_registry() {
    let registry = yaml("attributes");
    let groups = registry["groups"].as_array().unwrap().iter();
    let keys = groups.flat_map(attributes);
    let keys = keys.filter_map(|it| it["id"].as_str().or_else(|| it["ref"].as_str()));
    let mut registered: BTreeSet<_> = keys.map(str::to_owned).collect();
    // Made of an operator's own setting, so its value is let be.
    assert!(registered.remove(key::TRACE_URL));
    let allowed = redacted("allowed_keys");
    let removed: Vec<_> = registered.difference(&allowed).collect();
    assert!(removed.is_empty(), "redact.yaml removes {removed:?}");
    let ignored = redacted("ignored_keys");
    assert!(ignored.contains(key::TRACE_URL));
    let is_of_a_resource =
        |key: &String| key.starts_with("telemetry.sdk.") || key.starts_with("deployment.");
    let mut others = ignored.iter().filter(|key| *key != key::TRACE_URL);
    assert!(others.all(is_of_a_resource), "{ignored:?}");
}

#[test]
fn every_reference_in_the_registry_resolves() {
    let registry = Registry::read();
    let mut known: BTreeSet<&str> = registry.defined().into_keys().collect();
    for group in [OPENTELEMETRY, RESOURCE] {
        let foreign: Vec<_> = refs(&registry.0[group]).collect();
        assert!(foreign.iter().all(|key| !key.starts_with("lk.")), "{group} refers to ours");
        known.extend(foreign);
    }
    for (id, group) in &registry.0 {
        for key in refs(group) {
            assert!(known.contains(key), "{id} refers to {key}, which is not defined");
        }
        if let Some(parent) = group["extends"].as_str() {
            assert!(registry.0.contains_key(parent), "{id} extends {parent}, which is no group");
        }
    }
}

#[test]
fn every_attribute_has_a_type() {
    for (key, kind) in Registry::read().types() {
        let is_enum = kind["members"].as_array().is_some_and(|members| !members.is_empty());
        let is_plain = matches!(kind.as_str(), Some("string" | "int" | "double" | "boolean"));
        assert!(is_enum || is_plain, "{key} is of type {kind}");
    }
}

#[test]
fn every_attribute_says_whether_it_is_personal() {
    let registry = Registry::read();
    let types = registry.types();
    let mut personal = BTreeSet::new();
    for (key, sensitivity) in registry.sensitivities() {
        assert!(["none", "pii"].contains(&sensitivity), "{key} is {sensitivity}");
        // LiveKit's collectors find personal data by the key, in both directions.
        assert_eq!(sensitivity == "pii", is_marked(key), "{key} is {sensitivity}");
        if sensitivity == "pii" {
            // Only text can be hashed.
            assert_eq!(types[key], "string", "{key} is personal, but no text");
            personal.insert(key.to_owned());
        }
    }
    let code = semconv::PERSONAL.iter().map(|key| (*key).to_owned()).collect();
    agree("personal keys (semconv::PERSONAL)", &code, "attributes", &personal);
    let documented = include_str!("../../docs/privacy.md");
    for key in personal {
        assert!(documented.contains(&format!("| `{key}` |")), "docs/privacy.md has no {key}");
    }
}

#[test]
fn keys_that_livekit_defines_are_apart_from_ours() {
    let registry = Registry::read();
    let livekits: BTreeSet<_> =
        attributes(&registry.0[LIVEKIT]).map(|attribute| text(attribute, "id")).collect();
    for (key, attribute) in registry.defined() {
        let is_ours = annotation(attribute, "owner") == OWNER;
        assert_ne!(
            is_ours,
            livekits.contains(key),
            "{key} is in the wrong group, or of another owner"
        );
    }
}

#[test]
fn an_attribute_in_seconds_has_that_unit() {
    for (key, attribute) in Registry::read().defined() {
        let is_in_seconds = text(attribute, "brief").contains("in seconds");
        assert_eq!(annotation(attribute, "unit") == "s", is_in_seconds, "{attribute}");
        assert!(!is_in_seconds || attribute["type"] == "double", "{key} is cut to whole seconds");
    }
}

#[test]
fn the_registry_and_the_schema_url_name_the_same_version_of_the_conventions() {
    let conventions = &yaml("manifest")["dependencies"][0];
    assert_eq!(conventions["schema_url"], semconv::SCHEMA_URL);
    let (path, version) = (text(conventions, "registry_path"), semconv::SCHEMA_URL);
    let version = version.rsplit('/').next().unwrap();
    assert!(path.contains(&format!("@v{version}[")), "{path} is not of {version}");
}

// Batches that together have every span, event and metric, but for the program's own metrics.
fn batches() -> Vec<Batch> {
    let mut reports = NodeReports::default();
    let calls = reports.calls();
    let connecting = Connecting::default().warp(true).sdk("GO");
    for count in [
        Count::Joins(JoinState::RtcSuccess, connecting),
        Count::Publishes(TrackKind::Audio, AttemptState::Success),
        Count::Subscribes(AttemptState::UserError),
        Count::Participants,
        Count::Published(TrackKind::Video),
        Count::Subscribed(TrackKind::Video),
        Count::PacketTrailerTracks,
        Count::PacketTrailerFeatures("PTF_FRAME_ID"),
        Count::FecPackets(Fec::Received),
        Count::FecBytes,
        Count::KeyFrames(Direction::Downstream),
        Count::CappedRetransmissions(TrackKind::Video),
    ] {
        calls.add(count, 1);
    }
    let took = Duration::from_millis(3);
    for timing in [
        Timing::SessionJoin(16),
        Timing::SessionStart(16, connecting),
        Timing::SessionDuration(16),
        Timing::ForwardLatency,
    ] {
        calls.took(timing, took);
    }
    calls.forward_p90(took);
    let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
    engine.reports(reports);
    let mut called = Batch::default();
    engine.flush(at(30_000), &mut called);
    let mut batches = crate::scenarios::batches();
    batches.extend(crate::derived::batches());
    batches.extend([capture::run(capture::lines().iter(), true), called, reconciled()]);
    batches.extend([Level::Node, Level::Room].map(|level| {
        let settings = stats::Settings { level, ..stats::Settings::default() };
        let metrics = crate::counted::facts::measured(settings, at(30_000));
        Batch { metrics, ..Batch::default() }
    }));
    let stats = |level, cardinality_limit| stats::Settings {
        level,
        cardinality_limit,
        top_n: 1,
        histograms: Histograms::Exponential,
        ..stats::Settings::default()
    };
    let marked = Marked::new(at(0), [1; 16], [2; 8]);
    let (spans, logs, metrics) = (vec![marked.span], vec![marked.log], vec![marked.metric]);
    batches.push(Batch { spans, logs, metrics, ..Batch::default() });
    batches.extend(
        [(Level::Room, 1), (Level::Track, 3)].map(|(level, limit)| measured(stats(level, limit))),
    );
    batches
}

// The output of the capture with other settings.
fn measured(settings: stats::Settings) -> Batch {
    let mut engine = Engine::new(session::Settings::default(), settings, at(0));
    let mut out = Batch::default();
    for line in capture::lines() {
        engine.apply(&line.decoded, line.at, true, &mut out);
    }
    let body = json!({"stats": [{
        "id": "AS_lossy", "timeStamp": rfc3339(50_000), "roomId": ROOM, "participantId": "PA_1",
        "trackId": "TR_1", "mime": "audio/opus", "streams": [{"primaryPackets": 9, "packetsLost": 1}],
    }]});
    let lossy = livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap();
    engine.apply(&lossy.decoded, at(55_000), false, &mut out);
    engine.flush(at(60_000), &mut out);
    out
}

// The output for a room that is only known from a list.
fn reconciled() -> Batch {
    let listed = ListedRoom {
        sid: RoomSid::new("RM_1").unwrap(),
        name: None,
        created: Some(at(0)),
        participants: Some(Vec::new()),
        size: None,
    };
    let list = |rooms| {
        Decoded::Rooms(Rooms { at: None, coverage: Coverage::Deployment, rooms, event: None })
    };
    let settings = session::Settings::default();
    let mut engine = Engine::new(settings, stats::Settings::default(), at(0));
    let mut out = Batch::default();
    engine.apply(&list(vec![listed]), at(60_000), false, &mut out);
    engine.apply(&list(Vec::new()), at(120_000), false, &mut out);
    engine.apply(&list(Vec::new()), at(180_000), false, &mut out);
    engine.tick(at(300_000), &mut out);
    engine.flush(at(300_000), &mut out);
    assert_eq!(out.spans.len(), 1);
    out
}

// Name, instrument and unit of the program's own metrics, which the SDK collects.
async fn own_metrics() -> BTreeSet<[String; 3]> {
    let ledger = Arc::new(Ledger::default());
    ledger.accepted(Source::Webhook, 1);
    ledger.queued(Signal::Traces, 2);
    ledger.lost(Signal::Traces, Lost::QueueFull, 1);
    ledger.unknown(Unknown { event_types: 1, ..Unknown::default() });
    ledger.journal_failed();
    ledger.damaged(1);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let sink = Arc::clone(&seen);
    let (journal, _reader) = livekit_otel_durable::journal::in_memory(1000, &ledger);
    let own = Own::new(ledger, Some(Arc::clone(journal.budget())));
    let clock = FlushTimer::start(
        Duration::from_hours(1),
        own,
        || {},
        move |collected| {
            for metric in collected.scope_metrics().flat_map(|scope| scope.metrics()) {
                let is_monotonic = match metric.data() {
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => sum.is_monotonic(),
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => sum.is_monotonic(),
                    _ => panic!("{} is no sum", metric.name()),
                };
                let instrument = if is_monotonic { "counter" } else { "updowncounter" };
                let row = [metric.name(), instrument, metric.unit()].map(str::to_owned);
                sink.lock().unwrap().insert(row);
            }
        },
    );
    clock.stop().await;
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn instrument(metric: &Metric) -> &'static str {
    match &metric.data {
        Data::Gauge(_) => "gauge",
        Data::Sum { monotonic: true, .. } => "counter",
        Data::Sum { .. } => "updowncounter",
        Data::Histogram { .. } | Data::Exponential { .. } => "histogram",
    }
}

#[tokio::test]
async fn every_metric_is_emitted_with_the_registrys_instrument_and_unit() {
    let registry = Registry::read();
    let written: BTreeSet<[String; 3]> = registry
        .of_type("metric")
        .map(|group| ["metric_name", "instrument", "unit"].map(|of| text(group, of).to_owned()))
        .collect();
    let metrics = batches().into_iter().flat_map(|batch| batch.all_metrics());
    let mut emitted = own_metrics().await;
    emitted.extend(
        metrics.map(|metric| [metric.name, instrument(&metric), metric.unit].map(str::to_owned)),
    );
    let differs: Vec<_> = emitted.symmetric_difference(&written).collect();
    assert!(differs.is_empty(), "name, instrument and unit, in one of the two only: {differs:?}");
}

// Whether the value has the type that the registry defines for its key.
fn holds(attribute: &Attribute, definition: &Json) -> bool {
    match (&definition["type"], &attribute.value) {
        (Json::String(kind), Value::Bool(_)) => kind == "boolean",
        (Json::String(kind), Value::Int(_)) => kind == "int",
        (Json::String(kind), Value::Float(_)) => kind == "double",
        (Json::String(kind), Value::Text(_)) => kind == "string",
        (members, Value::Text(text)) => members["members"]
            .as_array()
            .is_some_and(|members| members.iter().any(|member| member["value"] == **text)),
        _ => false,
    }
}

fn check(registry: &Registry, what: &str, group: Option<&&Json>, attributes: &[Attribute]) {
    let group = group.unwrap_or_else(|| panic!("{what} is not in the registry"));
    let (keys, defined) = (registry.levels(group), registry.defined());
    for (key, _) in keys.iter().filter(|(_, is_required)| **is_required) {
        assert!(attributes.iter().any(|attribute| attribute.key == *key), "{what} lacks {key}");
    }
    for attribute in attributes {
        let key = attribute.key;
        assert!(keys.contains_key(key), "{what} has {key}, which its group does not refer to");
        if let Some(definition) = defined.get(key) {
            assert!(holds(attribute, definition), "{what}: {attribute:?} is no {definition}");
        }
    }
}

#[test]
fn emitted_signals_have_the_attributes_of_the_registry() {
    let registry = Registry::read();
    let (spans, events, metrics) = (registry.spans(), registry.events(), registry.metrics());
    for batch in batches() {
        for span in &batch.spans {
            check(&registry, span.name, spans.get(span.name), &span.attributes);
            let kind = format!("{:?}", span.kind).to_lowercase();
            assert_eq!(spans[span.name]["span_kind"], kind, "{}", span.name);
        }
        for log in &batch.logs {
            let name = &*log.event_name;
            check(&registry, name, events.get(name), &log.attributes);
        }
        for metric in &batch.all_metrics() {
            for attributes in metric.data.series() {
                check(&registry, metric.name, metrics.get(metric.name), attributes);
            }
        }
    }
}
