//! Metrics of captured agents, from their uploads to the requests of a flush.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livekit_otel_agents::Reader;
use livekit_otel_engine::stats::{Level, Settings};
use livekit_otel_engine::{Batch, Engine, session};
use livekit_otel_export::foreign_requests;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time};
use livekit_otel_model::signal::Temporality;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message;

fn uploads(capture: &str) -> Vec<Bytes> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/agents");
    let lines = std::fs::read_to_string(format!("{folder}/{capture}.agents.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines = lines.filter(|line| line["kind"] == "metrics");
    let body = |line: serde_json::Value| STANDARD.decode(line["body_base64"].as_str().unwrap());
    lines.map(|line| body(line).unwrap().into()).collect()
}

// The requests of the first flush after all uploads, each of which arrives twice.
fn flushed(settings: Settings, uploads: &[Bytes]) -> Vec<Bytes> {
    let began = Time::from_secs(1_795_981_900).unwrap();
    let mut engine = Engine::new(session::Settings::default(), settings, began);
    let mut batch = Batch::default();
    for body in uploads.iter().flat_map(|body| [body, body]) {
        let upload = Reader::default().read(Source::AgentMetrics, body).unwrap().upload;
        engine.apply(&Decoded::Upload(upload), began + Duration::from_secs(1), false, &mut batch);
    }
    assert!(batch.foreign.is_empty());
    engine.flush(began + Duration::from_mins(1), &mut batch);
    let [traces, logs, metrics] =
        foreign_requests(&livekit_otel_export::Settings::default(), &batch.foreign);
    assert!(traces.is_empty() && logs.is_empty());
    metrics
}

// By metric: how many points with values other than 0, what they count, and their sum.
fn totals(requests: &[Bytes]) -> BTreeMap<String, (usize, u64, f64)> {
    let mut totals: BTreeMap<String, (usize, u64, f64)> = BTreeMap::new();
    let requests = requests.iter().map(|it| ExportMetricsServiceRequest::decode(it.clone()));
    let resources = requests.flat_map(|it| it.unwrap().resource_metrics);
    let scopes = resources.flat_map(|it| it.scope_metrics);
    for metric in scopes.flat_map(|it| it.metrics) {
        let values: Vec<(u64, f64)> = match metric.data.unwrap() {
            Data::Sum(sum) => {
                let value = |value: Option<Value>| match value.unwrap() {
                    Value::AsInt(count) => count as f64,
                    Value::AsDouble(measure) => measure,
                };
                sum.data_points.into_iter().map(|point| (0, value(point.value))).collect()
            }
            Data::Histogram(histogram) => {
                let points = histogram.data_points.into_iter();
                points.map(|point| (point.count, point.sum.unwrap())).collect()
            }
            other => panic!("{other:?}"),
        };
        let total = totals.entry(metric.name).or_default();
        for (count, sum) in values.into_iter().filter(|value| *value != (0, 0.0)) {
            *total = (total.0 + 1, total.1 + count, total.2 + sum);
        }
    }
    totals.retain(|_, (points, ..)| *points > 0);
    totals
}

fn ids(requests: &[Bytes]) -> Vec<bool> {
    let all = requests.concat();
    let has = |word: &str| all.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    ["RM_", "AJ_", "service.instance.id"].map(has).into()
}

#[test]
fn uploaded_metrics_are_added_up_once_and_keep_the_ids_of_the_level() {
    let uploads: Vec<Bytes> = ["two-process", "ordinary", "node-ordinary"].map(uploads).concat();
    assert_eq!(uploads.len(), 4);
    let expected = totals(&uploads);
    assert!(expected.len() > 12, "{expected:?}");
    for (level, kept, are_shared) in [
        (Level::Node, [false, false, false], true),
        (Level::Room, [true, false, false], false),
        (Level::Participant, [true, true, true], false),
    ] {
        for temporality in [Temporality::Cumulative, Temporality::Delta] {
            let settings = Settings { level, temporality, ..Settings::default() };
            let requests = flushed(settings, &uploads);
            assert_eq!(ids(&requests), kept, "{level:?}");
            let actual = totals(&requests);
            assert_eq!(actual.len(), expected.len());
            for (name, (points, count, sum)) in &expected {
                let actual = actual[name];
                assert!((actual.2 - sum).abs() < 1e-9, "{level:?} {name}: {} of {sum}", actual.2);
                assert_eq!(actual.1, *count, "{level:?} {name}");
                assert!(actual.0 == *points || (are_shared && actual.0 < *points), "{name}");
            }
        }
    }
}
