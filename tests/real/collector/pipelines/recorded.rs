//! What `serve` sent to a collector: recorded once for all tests, and sent again unchanged.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::OnceCell;
use tonic::{Code, Status};

use super::PATIENCE;
use crate::program::{KEY, Program, SECRET};

const CALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/captures/one-call.jsonl");

/// The captured call of a real server with real clients.
pub(super) async fn call() -> &'static Received {
    static RECORDED: OnceCell<Received> = OnceCell::const_new();
    RECORDED.get_or_init(|| replay(CALL)).await
}

/// Simulated calls with a trace for each participant, of whom some fail and some fare badly.
pub(super) async fn calls() -> &'static Received {
    static CALLS: OnceCell<Received> = OnceCell::const_new();
    CALLS.get_or_init(|| async { record("participant", &simulation()).await }).await
}

fn simulation() -> Vec<&'static str> {
    let of = "simulate --rooms 20 --participants 5 --tracks 1 --duration 2m \
              --loss 0.02 --failures 0.1 --speed inf";
    of.split_whitespace().collect()
}

/// Another captured call.
pub(super) async fn replay(capture: &str) -> Received {
    record("room", &replaying(capture)).await
}

fn replaying(capture: &str) -> [&str; 4] {
    ["replay", capture, "--speed", "50"]
}

async fn record(scope: &str, origin: &[&str]) -> Received {
    let collector = Collector::start().await.unwrap();
    run_serve(&collector.endpoint(), scope, origin);
    collector.stop().await
}

/// Runs `serve` between senders and a collector.
fn run_serve(endpoint: &str, scope: &str, origin: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(&config(directory.path(), scope, endpoint));
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(origin).arg("--analytics").arg(format!("http://{}", program.grpc));
    if origin[0] == "replay" {
        command.arg("--webhook").arg(format!("http://{}/webhook", program.http));
    }
    command.env_clear().env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    // What is open leaves at the end, and all that waits.
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
}

fn config(directory: &Path, scope: &str, endpoint: &str) -> std::path::PathBuf {
    let path = directory.join("livekit-otel.yaml");
    // Of the simulated calls traces and logs are what counts.
    let level = if scope == "room" { "participant" } else { "node" };
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 200ms}}\n\
         traces: {{scope: {scope}}}\nstats: {{level: {level}}}\n\
         export: {{endpoint: '{endpoint}', max_queue: 256MiB}}\n\
         shutdown_timeout: 60s\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Sends it, request by request. As livekit-otel does, sends again what was not taken for now.
pub(super) async fn send(endpoint: &str, received: &Received) {
    let until = Instant::now() + PATIENCE;
    while let Err(status) = send_once(endpoint, received).await {
        let for_now = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted];
        assert!(for_now.contains(&status.code()), "{status:?}");
        assert!(Instant::now() < until, "not taken: {status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends it once, up to the first request that is not taken.
pub(super) async fn send_once(endpoint: &str, received: &Received) -> Result<(), Status> {
    let channel = tonic::transport::Endpoint::from_shared(endpoint.to_owned()).unwrap();
    let channel = channel.timeout(PATIENCE).connect_lazy();
    let mut traces = TraceServiceClient::new(channel.clone());
    for request in &received.traces {
        traces.export(request.clone()).await?;
    }
    let mut logs = LogsServiceClient::new(channel.clone());
    for request in &received.logs {
        logs.export(request.clone()).await?;
    }
    let mut metrics = MetricsServiceClient::new(channel);
    for request in &received.metrics {
        metrics.export(request.clone()).await?;
    }
    Ok(())
}

/// Sends the captured call to a collector through `serve`. Returns the number of its spans and log records.
pub(super) async fn replayed(endpoint: &str) -> (usize, usize) {
    let telemetry = livekit_otel_tools::demo::Telemetry::read(call().await);
    run_serve(endpoint, "room", &replaying(CALL));
    (telemetry.spans.len(), telemetry.logs.len())
}
