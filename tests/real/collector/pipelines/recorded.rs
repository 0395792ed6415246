//! What `serve` sent to a collector: recorded once for all tests, and sent again unchanged.

use std::future::pending;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::Uri;
use livekit_otel_model::event::Time;
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::{self, Settings, Simulation};
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

/// Simulated calls with a trace for each participant, of whom some fail and some fare badly. Their ids,
/// times and numbers are the same each time.
pub(super) async fn calls() -> &'static Received {
    static CALLS: OnceCell<Received> = OnceCell::const_new();
    CALLS.get_or_init(|| record("participant", run_simulation)).await
}

/// Another captured call.
pub(super) async fn replay(capture: &str) -> Received {
    record("room", async |program: &Program| run_replay(program, capture)).await
}

/// What `serve` sends to a collector for what this sends to `serve`.
async fn record(scope: &str, origin: impl AsyncFnOnce(&Program)) -> Received {
    let collector = Collector::start().await.unwrap();
    run_serve(&collector.endpoint(), scope, origin).await;
    collector.stop().await
}

/// Runs `serve` between a sender and a collector.
async fn run_serve(endpoint: &str, scope: &str, origin: impl AsyncFnOnce(&Program)) {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(&config(directory.path(), scope, endpoint));
    origin(&program).await;
    // What is open leaves at the end, and all that waits.
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
}

fn run_replay(program: &Program, capture: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(["replay", capture, "--speed", "50"]);
    command.arg("--analytics").arg(format!("http://{}", program.grpc));
    command.arg("--webhook").arg(format!("http://{}/webhook", program.http));
    command.env_clear().env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

async fn run_simulation(program: &Program) {
    let settings = Settings {
        rooms: 20,
        participants: 5,
        tracks: 1,
        duration: Duration::from_mins(2),
        loss: 0.02,
        failures: 0.1,
        webhooks: false,
        ..Settings::default()
    };
    let to = Destination {
        webhook: Uri::default(),
        analytics: format!("http://{}", program.grpc).parse().unwrap(),
        uploads: Uri::default(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: f64::INFINITY,
        retry_for: Destination::RETRY_FOR,
    };
    let simulation = Simulation::new(settings, Time::from_millis(1_700_000_000_000).unwrap());
    let report = simulate::send::send(simulation, &to, pending(), |_| {}).await.unwrap();
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
}

fn config(directory: &Path, scope: &str, endpoint: &str) -> std::path::PathBuf {
    let path = directory.join("livekit-otel.yaml");
    // Of the simulated calls traces and logs are what counts.
    let level = if scope == "room" { "participant" } else { "node" };
    // A participant's spans leave at the end, so that its stats are in them, however late they arrive.
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 1h}}\n\
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
    run_serve(endpoint, "room", async |program: &Program| run_replay(program, CALL)).await;
    (telemetry.spans.len(), telemetry.logs.len())
}
