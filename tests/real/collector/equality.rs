//! What a real collector passes on of random histories equals what a naive model makes of them.

use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_export::{Settings as Export, metric_requests, send_once};
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::Temporality;
use livekit_otel_tools::demo::Collector;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;

use super::{Otelcol, build, export};

#[path = "../../it/equality/history.rs"]
#[allow(dead_code)] // what the comparison with the SDK alone needs
mod history;
#[path = "../../it/equality/model.rs"]
mod model;
#[path = "../../it/equality/points.rs"]
mod points;

use history::Step;
use points::Point;

const HISTORIES: usize = 24;
/// The resource attribute that separates the histories.
const HISTORY: &str = "history";
const CONFIG: &str = "yaml:{receivers: {otlp: {protocols: {grpc: {}}}}, \
    processors: {memory_limiter: {check_interval: 1s, limit_mib: 400}, batch: {timeout: 10ms}}, \
    exporters: {otlp_grpc: {endpoint: '${env:NEXT}', tls: {insecure: true}}}, \
    service: {pipelines: {metrics: {receivers: [otlp], processors: [memory_limiter, batch], \
    exporters: [otlp_grpc]}}}}";

// Each level, with both temporalities and both kinds of histograms, by turns.
fn settings(nth: usize) -> Settings {
    let levels = [Level::Node, Level::Room, Level::Participant, Level::Track];
    Settings {
        level: levels[nth / 4 % 4],
        temporality: [Temporality::Cumulative, Temporality::Delta][nth % 2],
        histograms: [Histograms::Explicit, Histograms::Exponential][nth / 2 % 2],
        ..Settings::default()
    }
}

// The same ones each time; with a restart in most.
fn histories() -> Vec<(Settings, Vec<(Time, Step)>)> {
    let mut runner = TestRunner::deterministic();
    let mut next = || history::whole().new_tree(&mut runner).unwrap().current();
    (0..HISTORIES).map(|nth| (settings(nth), history::timed(&next()))).collect()
}

async fn send(
    export: &Export,
    nth: usize,
    settings: Settings,
    steps: &[(Time, Step)],
) -> Vec<ExportMetricsServiceRequest> {
    let mut sent = Vec::new();
    let (metrics, tables) = history::run(settings, steps);
    let mut export = export.clone();
    export.resource.push((HISTORY.to_owned(), nth.to_string()));
    // So small that most are split.
    export.max_request_bytes = 10_000;
    for request in metric_requests(&export, &metrics, &tables) {
        sent.push(ExportMetricsServiceRequest::decode(request.clone()).unwrap());
        send_once(&export, Signal::Metrics, request).await.unwrap();
    }
    sent
}

// The part of what was received that is of one history.
fn of(received: &[ExportMetricsServiceRequest], nth: usize) -> Vec<Point> {
    let nth = Some(Any::StringValue(nth.to_string()));
    let mut received = received.to_vec();
    for request in &mut received {
        request.resource_metrics.retain(|metrics| {
            let mut resource = metrics.resource.iter().flat_map(|resource| &resource.attributes);
            resource.any(|attribute| {
                let value = attribute.value.as_ref().and_then(|value| value.value.clone());
                attribute.key == HISTORY && value == nth
            })
        });
    }
    let mut points = points::all(&received);
    points.retain(|point| {
        point.metric.starts_with("lk.stream.") || point.metric.starts_with("lk.node.")
    });
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_passes_on_is_what_the_naive_model_expects() {
    let Some(built) = build() else { return };
    let next = Collector::start().await.unwrap();
    let address = next.endpoint().replace("http://", "");
    let otelcol = Otelcol::start(&built.otelcol, CONFIG, &[("NEXT", address)]);
    let histories = histories();
    let restarts = histories.iter().flat_map(|(_, steps)| steps);
    assert!(restarts.filter(|(_, step)| matches!(step, Step::Restart)).count() > HISTORIES);
    let export = export(&otelcol.endpoint);
    let mut sent = Vec::new();
    for (nth, (settings, steps)) in histories.iter().enumerate() {
        sent.extend(send(&export, nth, *settings, steps).await);
    }
    // It sends what it has before it ends.
    assert_eq!(otelcol.stop(), [""; 0]);
    let received = next.stop().await.metrics;
    for (nth, (settings, steps)) in histories.iter().enumerate() {
        let (mut actual, mut expected) = (of(&received, nth), model::expected(*settings, steps));
        // With the exemplars, whichever.
        assert_eq!(actual, of(&sent, nth), "history {nth}");
        if settings.histograms == Histograms::Exponential {
            points::forget_exemplars(&mut actual);
            points::forget_exemplars(&mut expected);
        }
        assert_eq!(actual.len(), expected.len(), "history {nth}");
        for (actual, expected) in actual.iter().zip(&expected) {
            assert_eq!(actual, expected, "history {nth}");
        }
    }
}
