//! What each file costs, measured: the figures in their heads.
//!
//!   cargo test --test real costs -- --ignored --nocapture

use std::time::{Duration, Instant};

use livekit_otel_durable::memory;
use livekit_otel_tools::demo::Received;

use super::super::{Built, build};
use super::otelcol::{Running, listening};
use super::recorded::{self, send};
use super::{Backends, file, items, size};
use crate::parts::reserved_port;

const ROUNDS: u8 = 20;

// The same calls with other traces.
fn another(received: &Received, round: u8) -> Received {
    let mut received = received.clone();
    let spans = received.traces.iter_mut().flat_map(|request| &mut request.resource_spans);
    let spans =
        spans.flat_map(|resource| &mut resource.scope_spans).flat_map(|scope| &mut scope.spans);
    spans.for_each(|span| span.trace_id[0] ^= round);
    received
}

pub(super) struct Cost {
    pub(super) seconds: f64,
    megabytes: u64,
}

pub(super) fn cost(running: &Running) -> Cost {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second.
    let ticks: u64 = [11, 12].iter().map(|field| fields[*field].parse::<u64>().unwrap()).sum();
    let peak = memory::peak(Some(running.id())).unwrap();
    Cost { seconds: ticks as f64 / 100.0, megabytes: peak >> 20 }
}

// What it is that a file is measured on.
struct Set<'a> {
    name: &'a str,
    configs: Vec<String>,
    endpoint: String,
    variables: Vec<(&'static str, String)>,
    /// How long it has yet to do.
    wait: Duration,
}

// An ignored test has nowhere else to say it.
#[allow(clippy::print_stdout)]
async fn measure(built: &Built, set: Set<'_>) {
    let calls = recorded::calls().await;
    let count = items::count(calls) * usize::from(ROUNDS);
    let storage = tempfile::tempdir().unwrap();
    let mut variables = set.variables;
    variables.push(("STORAGE_DIRECTORY", storage.path().display().to_string()));
    variables.push(("LIVEKIT_OTEL_PRIVACY_HASH_KEY", "k".repeat(32)));
    let otelcol = Running::start(built, &set.configs, &variables);
    send(&set.endpoint, calls).await;
    let before = cost(&otelcol);
    let mut sending = Duration::ZERO;
    for round in 1..=ROUNDS {
        let calls = another(calls, round);
        let began = Instant::now();
        send(&set.endpoint, &calls).await;
        sending += began.elapsed();
    }
    tokio::time::sleep(set.wait).await;
    let after = cost(&otelcol);
    let each = (after.seconds - before.seconds) * 1e6 / count as f64;
    let requests = calls.traces.len() + calls.logs.len() + calls.metrics.len();
    println!(
        "{}: {each:.1} µs of CPU an item, {} MiB at most, {} MiB on disk, of {count} items in {requests} \
         requests a round, {:.1} ms a request",
        set.name,
        after.megabytes,
        size(storage.path()) >> 20,
        sending.as_secs_f64() * 1e3 / (requests * usize::from(ROUNDS)) as f64,
    );
    drop(otelcol);
}

fn set<'a>(name: &'a str, files: &[&str], variables: &[(&'static str, String)]) -> Set<'a> {
    let (endpoint, own) = listening();
    let mut configs: Vec<_> = files.iter().map(|name| file(name)).collect();
    configs.push(own);
    let wait = Duration::from_secs(5);
    Set { name, configs, endpoint, variables: variables.to_vec(), wait }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and takes minutes"]
async fn what_each_file_costs() {
    let Some(built) = build() else { return };
    let backends = Backends::start(built).await;
    let mut variables = backends.variables.to_vec();
    variables.push(("JAEGER_ENDPOINT", super::address(&backends.collector)));
    variables.push(("GATEWAYS", format!("[{}]", super::address(&backends.collector))));
    measure(built, set("jaeger", &["jaeger.yaml"], &variables)).await;
    measure(built, set("grafana", &["grafana.yaml"], &variables)).await;
    for overlay in ["alias-keys.yaml", "pii.yaml", "redact.yaml"] {
        measure(built, set(overlay, &["grafana.yaml", overlay], &variables)).await;
    }
    measure(built, set("agent", &["gateway-agent.yaml"], &variables)).await;
    let away = [("GATEWAYS", format!("[127.0.0.1:{}]", reserved_port()))];
    measure(built, set("agent, gateways away", &["gateway-agent.yaml"], &away)).await;
    let listen = format!("127.0.0.1:{}", reserved_port());
    variables.push(("GATEWAY_LISTEN", listen.clone()));
    let gateway = Set {
        name: "gateway",
        configs: vec![file("gateway.yaml")],
        endpoint: format!("http://{listen}"),
        variables,
        wait: Duration::from_secs(15),
    };
    measure(built, gateway).await;
    drop(backends);
}
