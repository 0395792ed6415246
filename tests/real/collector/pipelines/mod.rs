//! Each of `collector-config/` carries a real call: what `serve` sent for the captured call, or of simulated
//! ones of which some fail, goes through a real collector with it, and what a back end gets is compared.
//! Back ends are OTLP receivers that stand in for Tempo, Loki, Prometheus and Mimir: the demo's own
//! collector, and before it, where a file sends over HTTP, another real one.

mod costs;
mod gateways;
mod items;
mod kafka;
mod otelcol;
mod overlays;
mod passing;
mod recorded;

use std::path::Path;
use std::time::Duration;

use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;

use super::Built;
use crate::parts::reserved_port;
use items::{Item, items};
use otelcol::Running;

const PATIENCE: Duration = Duration::from_mins(2);

/// The path of one of `collector-config/`.
fn file(name: &str) -> String {
    format!("{}/collector-config/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An OTLP receiver that stands in for Tempo, Loki and Prometheus, over HTTP, at the paths that they have.
struct Backends {
    collector: Collector,
    front: Running,
    /// What the files have in the place of the back ends' addresses.
    variables: [(&'static str, String); 3],
}

impl Backends {
    async fn start(built: &Built) -> Self {
        Self::start_on(built, reserved_port()).await
    }

    async fn start_on(built: &Built, port: u16) -> Self {
        let collector = Collector::start().await.unwrap();
        let config = format!(
            "yaml:{{receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}', \
             logs_url_path: /otlp/v1/logs, metrics_url_path: /api/v1/otlp/v1/metrics}}}}}}}}, \
             exporters: {{otlp_grpc: {{endpoint: '{}', tls: {{insecure: true}}, \
             sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}}}, \
             service: {{pipelines: {{{}}}}}}}",
            address(&collector),
            ["traces", "logs", "metrics"]
                .map(|signal| format!("{signal}: {{receivers: [otlp], exporters: [otlp_grpc]}}"))
                .join(", ")
        );
        let front = Running::start(built, &[config], &[]);
        Self { collector, front, variables: Self::at(port) }
    }

    fn at(port: u16) -> [(&'static str, String); 3] {
        let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
        [
            ("TEMPO_ENDPOINT", at("")),
            ("LOKI_ENDPOINT", at("/otlp")),
            ("PROMETHEUS_ENDPOINT", at("/api/v1/otlp")),
        ]
    }

    /// All that came, once there are so many items.
    async fn stop_at(self, count: usize) -> Vec<Item> {
        let received = received_of(&self.collector, count).await;
        assert_eq!(self.front.stop(), [""; 0]);
        items(&received)
    }
}

/// Where one listens, without its scheme.
fn address(collector: &Collector) -> String {
    collector.endpoint().strip_prefix("http://").unwrap().to_owned()
}

/// What it has received, once there are so many items.
async fn received_of(collector: &Collector, count: usize) -> Received {
    let is_there = |received: &Received| items::count(received) >= count;
    let waited = tokio::time::timeout(PATIENCE, collector.received_when(is_there)).await;
    waited
        .unwrap_or_else(|_| panic!("{} of {count} items came", items::count(&collector.received())))
}

/// The size of a folder's files.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.map(|file| file.len()).sum()
}
