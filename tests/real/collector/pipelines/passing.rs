//! The files that pass on all that comes.

use tonic::Code;

use super::super::scrape::Scrape;
use super::super::{Built, build};
use super::otelcol::{Running, listening};
use super::recorded::{self, send, send_once};
use super::{Backends, Collector, address, file, items, received_of};
use crate::parts::reserved_port;

// A column of the debug exporter's lines, summed up.
fn debugged(lines: &[String], column: &str) -> u64 {
    let columns = lines.iter().filter_map(|line| line.rsplit_once('\t'));
    let counts =
        columns.filter_map(|(_, json)| serde_json::from_str::<serde_json::Value>(json).ok());
    counts.filter_map(|counts| counts[column].as_u64()).sum()
}

fn jaeger(built: &Built, port: u16) -> (Running, String) {
    let (endpoint, own) = listening();
    let jaeger = [("JAEGER_ENDPOINT", format!("127.0.0.1:{port}"))];
    (Running::start(built, &[file("jaeger.yaml"), own], &jaeger), endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn jaeger_gets_all_spans_of_a_call_and_the_log_counts_the_rest() {
    let Some(built) = build() else { return };
    let call = recorded::call().await;
    let backend = Collector::start().await.unwrap();
    let port = address(&backend).rsplit_once(':').unwrap().1.parse().unwrap();
    let (otelcol, endpoint) = jaeger(built, port);
    send(&endpoint, call).await;
    let lines = otelcol.log();
    let sent = items::items(call);
    let spans: Vec<_> = sent.iter().filter(|item| item.span().is_some()).cloned().collect();
    assert!(spans.len() > 20);
    items::assert_same(&items::items(&backend.stop().await), &spans);
    let count =
        |is: fn(&items::What) -> bool| sent.iter().filter(|item| is(&item.what)).count() as u64;
    let logs = count(|what| matches!(what, items::What::Log(_)));
    let points = count(|what| matches!(what, items::What::Point(_)));
    assert_eq!(debugged(&lines, "log records"), logs, "{lines:#?}");
    assert_eq!(debugged(&lines, "data points"), points);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_receives_an_error_while_jaeger_is_away() {
    let Some(built) = build() else { return };
    let mut call = recorded::call().await.clone();
    (call.logs, call.metrics) = (Vec::new(), Vec::new());
    let port = reserved_port();
    let (_otelcol, endpoint) = jaeger(built, port);
    let refused = send_once(&endpoint, &call).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let backend = Collector::start_on(([127, 0, 0, 1], port).into()).await.unwrap();
    send(&endpoint, &call).await;
    items::assert_same(&items::items(&backend.stop().await), &items::items(&call));
}

#[tokio::test(flavor = "multi_thread")]
async fn grafanas_stack_gets_all_of_a_call() {
    let Some(built) = build() else { return };
    let call = recorded::call().await;
    // The second without endpoints to scrape.
    for config in ["grafana.yaml", "cluster.yaml"] {
        let backends = Backends::start(built).await;
        let (endpoint, own) = listening();
        let otelcol = Running::start(built, &[file(config), own], &backends.variables);
        send(&endpoint, call).await;
        assert_eq!(otelcol.stop(), [""; 0]);
        let sent = items::items(call);
        items::assert_same(&backends.stop_at(sent.len()).await, &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn livekits_names_take_nothing_from_grafanas_stack() {
    let Some(built) = build() else { return };
    let call = recorded::call().await;
    let backends = Backends::start(built).await;
    let (endpoint, own) = listening();
    let configs = [file("grafana.yaml"), file("livekit-prometheus-names.yaml"), own];
    let scraped = reserved_port();
    let mut variables = backends.variables.to_vec();
    variables.push(("LIVEKIT_NAMES_LISTEN", format!("127.0.0.1:{scraped}")));
    let otelcol = Running::start(built, &configs, &variables);
    send(&endpoint, call).await;
    let is_there = |scrape: &Scrape| scrape.sum("livekit_room_duration_seconds_count", &[]) > 0.0;
    assert!(Scrape::when(scraped, is_there).sum("livekit_packet_total", &[]) > 1000.0);
    assert_eq!(otelcol.stop(), [""; 0]);
    let sent = items::items(call);
    items::assert_same(&backends.stop_at(sent.len()).await, &sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_itself_delivers_a_call_through_grafanas_pipelines() {
    let Some(built) = build() else { return };
    let backends = Backends::start(built).await;
    let (endpoint, own) = listening();
    let otelcol = Running::start(built, &[file("grafana.yaml"), own], &backends.variables);
    let (spans, logs) = recorded::replayed(&endpoint).await;
    assert_eq!(otelcol.stop(), [""; 0]);
    let received = received_of(&backends.collector, spans + logs).await;
    let telemetry = livekit_otel_tools::demo::Telemetry::read(&received);
    assert_eq!((telemetry.spans.len(), telemetry.logs.len()), (spans, logs));
}
