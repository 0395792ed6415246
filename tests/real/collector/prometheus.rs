//! Every metric of ours is taken by the Prometheus exporter, and promtool finds nothing wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use livekit_otel_engine::Batch;
use livekit_otel_engine::stats::{Histograms, Level, Settings};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Data, Metric};
use livekit_otel_pipeline::own::Own;

use super::ours;
use super::scrape::{Scrape, about};
use super::{Built, Otelcol, build, export};
use crate::parts::reserved_port;
use crate::program::{KEY, Program, SECRET};

const CONFIG: &str = "yaml:{receivers: {otlp: {protocols: {grpc: {}}}}, \
    exporters: {prometheus: {endpoint: '${env:SCRAPED}'}}, \
    service: {pipelines: {metrics: {receivers: [otlp], exporters: [prometheus]}}}}";
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/captures/one-call.jsonl");

/// What promtool does not like, by OpenTelemetry's rule for the names of what goes up and down:
/// `.count` and not a plural. No histogram is called `lk.room`, so that none has the same series.
const BY_RULE: [&str; 8] = [
    "lk_agent_job_count",
    "lk_egress_count",
    "lk_ingress_count",
    "lk_otel_connection_count",
    "lk_participant_count",
    "lk_room_count",
    "lk_sip_call_count",
    "lk_track_count",
];

/// The program's own metrics, when nothing is wrong.
const OWN: [(&str, &str); 3] = [
    ("lk_otel_items_total", "counter"),
    ("lk_otel_records_total", "counter"),
    ("lk_otel_waiting", "gauge"),
];

fn start(built: &Built) -> (Otelcol, u16) {
    let scraped = reserved_port();
    let variables = [("SCRAPED", format!("127.0.0.1:{scraped}"))];
    (Otelcol::start(&built.otelcol, CONFIG, &variables), scraped)
}

// What promtool has to say of it.
fn lints(built: &Built, scrape: &Scrape) -> Vec<String> {
    let mut command = Command::new(&built.promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(scrape.text.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let lints: Vec<_> = printed.lines().map(str::to_owned).collect();
    assert_eq!(output.status.success(), lints.is_empty(), "{lints:#?}");
    lints
}

fn check(built: &Built, scrape: &Scrape) {
    let there = BY_RULE.into_iter().filter(|name| scrape.types.contains_key(*name));
    let expected: Vec<_> = there
        .map(|name| {
            format!(
                "{name} non-histogram and non-summary metrics should not have \"_count\" suffix"
            )
        })
        .collect();
    assert_eq!(lints(built, scrape), expected);
}

// How Prometheus names and types it (OpenTelemetry's compatibility specification).
fn named(metric: &Metric) -> (String, String) {
    let (kind, suffix) = match &metric.data {
        Data::Sum { monotonic: true, .. } => ("counter", "_total"),
        Data::Gauge(_) if metric.unit == "1" => ("gauge", "_ratio"),
        Data::Sum { .. } | Data::Gauge(_) => ("gauge", ""),
        Data::Histogram { .. } | Data::Exponential { .. } => ("histogram", ""),
    };
    let unit = BTreeMap::from([("s", "_seconds"), ("By", "_bytes")]);
    let unit = unit.get(metric.unit).unwrap_or(&"");
    (format!("{}{unit}{suffix}", metric.name.replace('.', "_")), kind.to_owned())
}

fn settings(level: Level, histograms: Histograms) -> Settings {
    // So few that something shares the series of what is over the limit.
    Settings { level, histograms, top_n: 2, cardinality_limit: 2, ..Settings::default() }
}

async fn scraped(built: &Built, batch: &Batch) -> Scrape {
    let (otelcol, scraped) = start(built);
    ours::send(&export(&otelcol.endpoint), batch).await;
    let scrape = Scrape::of(scraped);
    assert_eq!(otelcol.stop(), [""; 0]);
    scrape
}

fn registry() -> BTreeSet<String> {
    let path = format!("{}/semconv/metrics.yaml", env!("CARGO_MANIFEST_DIR"));
    let registry: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let names = registry["groups"].as_array().unwrap().iter();
    names.filter_map(|group| group["metric_name"].as_str()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prometheus_exporter_takes_all_that_the_instruments_emit() {
    let Some(built) = build() else { return };
    let mut tried: BTreeSet<String> = Own::names().map(str::to_owned).collect();
    // Only the doctor sends it.
    tried.insert(metric::DOCTOR.to_owned());
    for level in [Level::Node, Level::Room, Level::Participant, Level::Track] {
        let batch = ours::of_a_call(settings(level, Histograms::Explicit));
        let scrape = scraped(built, &batch).await;
        let sent: BTreeMap<_, _> = batch.all_metrics().iter().map(named).collect();
        let mut types = scrape.types.clone();
        assert_eq!(types.remove("target_info").as_deref(), Some("gauge"));
        assert_eq!(types, sent, "{level:?}");
        check(built, &scrape);
        let score = "lk_node_score_bucket";
        let of_all = scrape.sum(score, &[("le", "+Inf")]);
        assert!(about(of_all, scrape.sum("lk_node_score_count", &[])), "{of_all}");
        assert!(!scrape.with(score, &[("le", "4.1")]).is_empty());
        tried.extend(batch.all_metrics().iter().map(|metric| metric.name.to_owned()));
    }
    assert_eq!(tried, registry(), "some metric was not tried");
}

// The exporter makes native histograms of them, which the text format can't express: there they
// have a sum and a count, and no buckets. Prometheus asks for protobuf where it is to keep native ones.
#[tokio::test(flavor = "multi_thread")]
async fn exponential_histograms_become_native_ones_without_buckets_in_text() {
    let Some(built) = build() else { return };
    for level in [Level::Node, Level::Room, Level::Participant, Level::Track] {
        let [explicit, exponential] = [Histograms::Explicit, Histograms::Exponential]
            .map(|histograms| ours::of_a_call(settings(level, histograms)));
        let (explicit, exponential) =
            (scraped(built, &explicit).await, scraped(built, &exponential).await);
        assert_eq!(exponential.types, explicit.types);
        check(built, &exponential);
        for (name, _) in explicit.types.iter().filter(|(_, kind)| *kind == "histogram") {
            for part in ["sum", "count"] {
                let name = format!("{name}_{part}");
                assert!(about(exponential.sum(&name, &[]), explicit.sum(&name, &[])), "{name}");
            }
            let buckets = exponential.with(&format!("{name}_bucket"), &[]);
            assert!(buckets.iter().all(|bucket| bucket.labels["le"] == "+Inf"), "{buckets:#?}");
        }
    }
}

pub(super) fn replay(program: &Program) {
    replay_to(&program.http, &program.grpc);
}

pub(crate) fn replay_to(http: &str, grpc: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(["replay", CAPTURE, "--speed", "50", "--webhook"]);
    command.arg(format!("http://{http}/webhook"));
    command.arg("--analytics").arg(format!("http://{grpc}"));
    command.env_clear().env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

pub(super) fn config(directory: &Path, level: &str, endpoint: &str) -> std::path::PathBuf {
    let path = directory.join(format!("{level}.yaml"));
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 200ms}}\n\
         stats: {{level: {level}, interval: 200ms}}\n\
         export: {{endpoint: '{endpoint}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prometheus_exporter_takes_all_that_serve_sends_of_a_replayed_call() {
    let Some(built) = build() else { return };
    let directory = tempfile::tempdir().unwrap();
    for level in ["node", "room", "participant", "track"] {
        let (otelcol, scraped) = start(built);
        let program = Program::start(&config(directory.path(), level, &otelcol.endpoint));
        replay(&program);
        // It is reported last.
        let scrape =
            Scrape::when(scraped, |scrape| scrape.sum("lk_room_duration_seconds_count", &[]) > 0.0);
        let (code, printed) = program.stop();
        // This collector takes metrics alone: the rest is refused, set aside in memory, and lost.
        assert_eq!(code, Some(1), "{printed:#?}");
        check(built, &scrape);
        for (own, kind) in OWN {
            assert_eq!(scrape.types.get(own).map(|kind| &**kind), Some(kind));
        }
        assert_eq!(otelcol.stop(), [""; 0]);
    }
}
