//! `serve` from end to end in this process: the capture through its sockets to a collector.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::serve::{Report, Server};
use livekit_otel_ledger::{Lost, Snapshot};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::Signal;
use livekit_otel_model::semconv::{key, metric, span};
use livekit_otel_model::signal::{self, Data, Number};
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use livekit_otel_tools::demo::received::{Attributes, Value};
use livekit_otel_tools::replay::{self, Destination};

use crate::capture;
use crate::port::unused_address;
use livekit_otel_model::hex;

pub(crate) const KEY: &str = "devkey";
pub(crate) const SECRET: &str = "made-up-secret-of-thirty-two-characters";

pub(crate) fn config(collector: &str) -> Config {
    let mut keys = Keys::default();
    keys.insert(KEY, SECRET);
    let mut config = Config::for_keys(keys);
    let export = &mut config.export;
    for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
        target.endpoint = collector.parse().unwrap();
    }
    config
}

pub(crate) fn destination(server: &Server) -> Destination {
    Destination {
        webhook: format!("http://{}/webhook", server.http()).parse().unwrap(),
        analytics: format!("http://{}", server.grpc()).parse().unwrap(),
        uploads: format!("http://{}", server.http()).parse().unwrap(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: f64::INFINITY,
        retry_for: Destination::RETRY_FOR,
    }
}

pub(crate) fn the_capture() -> Capture {
    Capture::parse(capture::text().as_bytes()).unwrap()
}

pub(crate) async fn replay_to(server: &Server, capture: &Capture) -> replay::Sent {
    replay::replay(capture, &destination(server), |_| {}).await.unwrap()
}

/// Stops a server, as each scenario does, and checks that the ledger balances.
pub(crate) async fn stop(server: Server) -> Report {
    assert_eq!(server.ledger().check(), Ok(()));
    let report = server.shutdown().await;
    assert_eq!(report.ledger.check(), Ok(()));
    report
}

pub(crate) fn adds_up(ledger: &Snapshot) {
    assert_eq!(ledger.check(), Ok(()));
    for input in &ledger.inputs {
        assert_eq!(input.waiting(), 0, "{input:?}");
    }
    for output in &ledger.outputs {
        let settled = output.delivered + output.dead_letters + output.lost_sum();
        assert_eq!(output.accepted, settled, "{output:?}");
    }
}

fn plain(value: &signal::Value) -> Value {
    match value {
        signal::Value::Bool(flag) => Value::Bool(*flag),
        signal::Value::Int(count) => Value::Int(*count),
        signal::Value::Float(measure) => Value::Float(*measure),
        signal::Value::Text(text) => Value::Text(text.to_string()),
    }
}

fn attributes(of: &[signal::Attribute]) -> Attributes {
    Attributes(of.iter().map(|each| (each.key.to_owned(), plain(&each.value))).collect())
}

async fn through_sockets(capture: &Capture) -> (Received, Report) {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    replay_to(&server, capture).await;
    let report = stop(server).await;
    (collector.stop().await, report)
}

#[tokio::test]
async fn the_capture_has_the_same_output_through_sockets_as_without_them() {
    let (received, report) = through_sockets(&the_capture()).await;
    adds_up(&report.ledger);
    assert_eq!(report.undelivered, 0);
    let expected = capture::run(capture::lines().iter(), true);
    let telemetry = Telemetry::read(&received);

    assert_eq!(telemetry.spans.len(), expected.spans.len());
    let spans: BTreeMap<_, _> =
        telemetry.spans.iter().map(|span| (span.span_id.clone(), span)).collect();
    for span in &expected.spans {
        let sent = spans[&hex(&span.span_id)];
        assert_eq!(sent.trace_id, hex(&span.trace_id));
        assert_eq!(sent.parent, span.parent.map(|id| hex(&id)));
        assert_eq!(sent.name, span.name);
        assert_eq!((sent.start, sent.end), (span.start.nanos(), span.end.nanos()));
        assert_eq!(sent.attributes, attributes(&span.attributes), "{}", span.name);
        assert_eq!(sent.links.len(), span.links.len());
        assert_eq!(sent.error, None);
    }

    let sent: BTreeSet<_> =
        telemetry.logs.iter().map(|log| (log.event_name.clone(), log.time)).collect();
    let logs: BTreeSet<_> =
        expected.logs.iter().map(|log| (log.event_name.to_string(), log.time.nanos())).collect();
    assert_eq!((telemetry.logs.len(), &sent), (expected.logs.len(), &logs));

    assert_eq!(packets_received(&telemetry), packets_expected(&expected.all_metrics()));
}

type Packets = BTreeMap<(String, String), f64>;

// The last value of each participant's packets, by direction.
fn packets_received(telemetry: &Telemetry) -> Packets {
    use livekit_otel_tools::demo::received::Measured;
    let mut packets = Packets::new();
    for point in telemetry.points.iter().filter(|point| point.name == metric::STREAM_PACKETS) {
        let text = |key| point.attributes.text(key).unwrap().to_owned();
        if let Measured::Number(value) = point.value {
            packets.insert((text(key::PARTICIPANT_ID), text(key::DIRECTION)), value);
        }
    }
    packets
}

fn packets_expected(metrics: &[signal::Metric]) -> Packets {
    let mut packets = Packets::new();
    for metric in metrics.iter().filter(|metric| metric.name == metric::STREAM_PACKETS) {
        let Data::Sum { points, .. } = &metric.data else { panic!("a sum") };
        for point in points {
            let attributes = attributes(&point.attributes);
            let text = |key| attributes.text(key).unwrap().to_owned();
            if let Some(Number::Int(value)) = point.value {
                let series = (text(key::PARTICIPANT_ID), text(key::DIRECTION));
                packets.insert(series, value as f64);
            }
        }
    }
    packets
}

#[tokio::test]
async fn a_shutdown_during_a_call_ends_open_spans_and_marks_them() {
    let mut capture = the_capture();
    capture.lines.truncate(60);
    let (received, report) = through_sockets(&capture).await;
    adds_up(&report.ledger);
    let telemetry = Telemetry::read(&received);
    let of = |name: &str| -> Vec<_> {
        telemetry.spans.iter().filter(|span| span.name == name).cloned().collect()
    };
    for name in [span::ROOM, span::PARTICIPANT] {
        let spans = of(name);
        assert!(!spans.is_empty());
        for span in spans {
            assert_eq!(span.attributes.text(key::END_INFERRED), Some("shutdown"), "{name}");
        }
    }
    for span in of(span::TRACK_SUBSCRIBE) {
        assert_eq!(span.error, None);
    }
}

#[tokio::test]
async fn records_wait_while_there_is_no_collector() {
    let address = unused_address();
    let server = Server::start(config(&format!("http://{address}"))).await.unwrap();
    let capture = the_capture();
    let (before, after) = capture.lines.split_at(70);
    replay_to(&server, &Capture { lines: before.to_vec() }).await;

    let collector = Collector::start_on(address).await.unwrap();
    let wanted = |received: &Received| !received.logs.is_empty();
    let first = tokio::time::timeout(Duration::from_mins(1), collector.received_when(wanted));
    first.await.unwrap();
    let first = collector.stop().await;

    replay_to(&server, &Capture { lines: after.to_vec() }).await;
    let collector = Collector::start_on(address).await.unwrap();
    let report = stop(server).await;
    let second = collector.stop().await;
    adds_up(&report.ledger);
    assert_eq!(report.undelivered, 0);
    let telemetry = [Telemetry::read(&first), Telemetry::read(&second)];
    let spans: BTreeSet<_> = telemetry.iter().flat_map(|each| &each.spans).collect_ids();
    assert_eq!(spans.len(), 45);
    let logs: usize = telemetry.iter().map(|each| each.logs.len()).sum();
    assert_eq!(logs, 96);
}

trait CollectIds {
    fn collect_ids(self) -> BTreeSet<String>;
}

impl<'a, I: Iterator<Item = &'a livekit_otel_tools::demo::received::Span>> CollectIds for I {
    fn collect_ids(self) -> BTreeSet<String> {
        self.map(|span| span.span_id.clone()).collect()
    }
}

#[tokio::test]
async fn undelivered_records_are_counted_at_the_deadline() {
    let mut config = config("http://127.0.0.1:9");
    config.shutdown_timeout = Duration::from_millis(300);
    let server = Server::start(config).await.unwrap();
    replay_to(&server, &the_capture()).await;
    let report = stop(server).await;
    adds_up(&report.ledger);
    let lost: u64 = report.ledger.outputs.iter().map(|output| output.lost_sum()).sum();
    assert_eq!(report.undelivered, lost);
    assert!(report.undelivered >= 45 + 96, "{}", report.undelivered);
}

#[tokio::test]
async fn a_disabled_sdk_accepts_everything_and_sends_nothing() {
    let collector = Collector::start().await.unwrap();
    let mut config = config(&collector.endpoint());
    let export = &mut config.export;
    for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
        target.enabled = false;
    }
    let server = Server::start(config).await.unwrap();
    replay_to(&server, &the_capture()).await;
    let report = stop(server).await;
    assert_eq!(collector.stop().await, Received::default());
    adds_up(&report.ledger);
    assert_eq!(report.undelivered, 0);
    let traces = &report.ledger.outputs[Signal::Traces as usize];
    let disabled = traces.lost.iter().find(|(why, _)| *why == Lost::Disabled).unwrap();
    assert_eq!((traces.accepted, disabled.1), (45, 45));
}

#[tokio::test]
async fn a_capture_that_is_sent_twice_is_emitted_once() {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    let capture = the_capture();
    replay_to(&server, &capture).await;
    replay_to(&server, &capture).await;
    let report = stop(server).await;
    let telemetry = Telemetry::read(&collector.stop().await);
    assert_eq!((telemetry.spans.len(), telemetry.logs.len()), (45, 96));
    let duplicates: u64 = report.ledger.inputs.iter().map(|input| input.duplicates).sum();
    assert_eq!(duplicates, 18 + 96 + 42);
}

#[tokio::test]
async fn requests_stay_within_their_size_limit() {
    let collector = Collector::start().await.unwrap();
    let mut config = config(&collector.endpoint());
    config.export.max_request_bytes = 4000;
    let server = Server::start(config).await.unwrap();
    replay_to(&server, &the_capture()).await;
    let report = stop(server).await;
    adds_up(&report.ledger);
    let received = collector.stop().await;
    assert!(received.traces.len() > 2 && received.logs.len() > 5);
    let sizes = received.traces.iter().map(prost::Message::encoded_len);
    assert!(sizes.max().unwrap() <= 4000);
    assert_eq!(Telemetry::read(&received).spans.len(), 45);
}
