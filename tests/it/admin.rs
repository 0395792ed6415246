//! The admin listener: its paths, which of them other listeners serve, and its text for Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::config::JournalConfig;
use livekit_otel::serve::Server;
use livekit_otel_durable::journal::Settings;
use livekit_otel_durable::store::Files;
use livekit_otel_pipeline::own::Own;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::dashboards::series;
use crate::serve::{config, replay_to, the_capture};

/// The status of the answer, and the whole answer.
pub(crate) async fn get(to: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

async fn started(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = config("http://127.0.0.1:1");
    config.shutdown_timeout = Duration::ZERO;
    change(&mut config);
    Server::start(config).await.unwrap()
}

#[tokio::test]
async fn the_ledger_is_on_the_webhook_listener_only_if_configured() {
    for (is_set, expected) in [(false, 404), (true, 200)] {
        let server = started(|config| config.status_on_webhooks = is_set).await;
        let admin = server.admin().unwrap();
        for path in ["/healthz", "/readyz", "/status", "/metrics"] {
            assert_eq!(get(admin, path).await.0, 200, "{path}");
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(server.http(), path).await.0, 200, "{path}");
        }
        assert_eq!(get(server.http(), "/status").await.0, expected);
        assert_eq!(get(server.http(), "/metrics").await.0, 404);
        assert_eq!(get(admin, "/webhook").await.0, 404);
        server.shutdown().await;
    }
}

/// A metric of the text: its type, and its samples by their labels.
struct Metric {
    kind: String,
    samples: BTreeMap<BTreeMap<String, String>, f64>,
}

fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(rest)
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').map(|pair| pair.split_once('=').unwrap());
    let pairs = pairs.map(|(key, value)| {
        assert!(is_name(key), "{key}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(!value.contains(['"', '\\', '\n']), "{value}");
        (key.to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// Reads the text exposition format 0.0.4 as strictly as it is specified.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut current = (String::new(), false);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, brief) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !brief.is_empty(), "{line}");
            assert!(!metrics.contains_key(name), "{name} is there twice");
            current = (name.to_owned(), false);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, false), (&*current.0, current.1), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            current.1 = true;
            let metric = Metric { kind: kind.to_owned(), samples: BTreeMap::new() };
            metrics.insert(name.to_owned(), metric);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap())),
                None => (series, BTreeMap::new()),
            };
            assert_eq!((name, true), (&*current.0, current.1), "{line}");
            let samples = &mut metrics.get_mut(name).unwrap().samples;
            assert!(samples.insert(labels, value.parse().unwrap()).is_none(), "{line}: twice");
        }
    }
    metrics
}

#[tokio::test]
async fn the_metrics_are_prometheus_text_with_the_names_of_otlp() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(|config| {
        let max_bytes = 64 << 20;
        let settings = Settings { max_bytes, sync: Duration::ZERO, snapshot: 1 << 20 };
        let directory = folder.path().to_owned();
        config.journal = Some(JournalConfig { directory, settings, disk: Arc::new(Files) });
    })
    .await;
    replay_to(&server, &the_capture()).await;
    let (_, answer) = get(server.admin().unwrap(), "/metrics").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let metrics = parse(text);
    // The series that a collector makes of the same metrics over OTLP.
    let known = series();
    for (name, metric) in &metrics {
        let keys = known.get(name).unwrap_or_else(|| panic!("{name} is not in semconv/"));
        let is_counter = name.ends_with("_total");
        assert_eq!(metric.kind == "counter", is_counter, "{name}");
        assert!(!metric.samples.is_empty(), "{name} has no sample");
        for labels in metric.samples.keys() {
            let strange: BTreeSet<_> = labels.keys().filter(|key| !keys.contains(*key)).collect();
            assert!(strange.is_empty(), "{name}: {strange:?}");
        }
    }
    let sample = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        metrics[name].samples[&labels.collect::<BTreeMap<_, _>>()]
    };
    let accepted = [("lk_otel_source", "webhook"), ("lk_otel_outcome", "accepted")];
    assert!((sample("lk_otel_items_total", &accepted) - 18.0).abs() < f64::EPSILON);
    assert!(sample("lk_otel_memory_bytes", &[]) > 1e6);
    assert!(sample("lk_otel_journal_size_bytes", &[]) > 0.0);
    let used = sample("lk_otel_journal_used_bytes", &[]);
    assert!(used > 0.0 && used < sample("lk_otel_journal_limit_bytes", &[]));
    assert!(sample("lk_otel_connection_count", &[("lk_otel_listener", "admin")]) >= 1.0);
    let bare = |name: &str| name.trim_end_matches("_total").trim_end_matches("_bytes").to_owned();
    let own: BTreeSet<_> = Own::names().map(|name| name.replace('.', "_")).collect();
    assert_eq!(metrics.keys().map(|name| bare(name)).collect::<BTreeSet<_>>(), own);
    server.shutdown().await;
}
