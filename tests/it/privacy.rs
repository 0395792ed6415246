//! What a collector receives of a real call in each mode of `privacy.pii`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel_durable::journal::DeadLetters;
use livekit_otel_durable::store::Files;
use livekit_otel_engine::Batch;
use livekit_otel_export::Exporter;
use livekit_otel_ledger::Ledger;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::event::Time;
use livekit_otel_model::privacy::{HashKey, Privacy};
use livekit_otel_model::semconv::{PERSONAL, key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, Span, Value};
use livekit_otel_model::sink::Sink;
use livekit_otel_tools::capture::{Capture, Line};
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use prost::Message;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::durable::durable;
use crate::serve::{replay_to, stop, the_capture};
use crate::{capture, restart};

const SECRET: &str = "a-key-of-at-least-sixteen-bytes";

fn hashed(secret: &str) -> Privacy {
    Privacy::Hash(HashKey::new(secret).unwrap())
}

// What a collector receives, over a real socket.
async fn sent(batch: &Batch, privacy: Privacy) -> Received {
    let collector = Collector::start().await.unwrap();
    let mut settings = Config::for_keys(Keys::default()).export;
    let endpoint: http::Uri = collector.endpoint().parse().unwrap();
    for target in [&mut settings.traces, &mut settings.logs, &mut settings.metrics] {
        target.endpoint = endpoint.clone();
    }
    settings.privacy = privacy;
    let dead_letters = Arc::new(DeadLetters::in_memory(1 << 20));
    let exporter = Exporter::start(&settings, Arc::new(Ledger::default()), &dead_letters).unwrap();
    exporter.spans(&batch.spans);
    exporter.logs(&batch.logs);
    exporter.metrics(&batch.metrics);
    batch.tables.iter().for_each(|table| exporter.table(table));
    let left = exporter.shutdown(Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(left.total(), 0);
    collector.stop().await
}

fn bytes<M: Message>(requests: &[M]) -> Vec<u8> {
    requests.iter().flat_map(Message::encode_to_vec).collect()
}

// The bytes of traces, logs and metrics as they were sent.
fn signals(received: &Received) -> [(&'static str, Vec<u8>); 3] {
    [
        ("traces", bytes(&received.traces)),
        ("logs", bytes(&received.logs)),
        ("metrics", bytes(&received.metrics)),
    ]
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// The values of all fields of these names in the capture.
fn values(names: &[&str]) -> BTreeSet<String> {
    fn collect(json: &Json, names: &[&str], to: &mut BTreeSet<String>) {
        match json {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let is_one = names.contains(&name.as_str());
                    to.extend(value.as_str().filter(|_| is_one).map(str::to_owned));
                    collect(value, names, to);
                }
            }
            Json::Array(values) => values.iter().for_each(|value| collect(value, names, to)),
            _ => {}
        }
    }
    let mut values = BTreeSet::new();
    for line in capture::text().lines() {
        collect(&serde_json::from_str(line).unwrap(), names, &mut values);
    }
    values.remove("");
    values
}

fn identities() -> BTreeSet<String> {
    values(&["identity", "participantIdentity"])
}

fn hash(text: &str) -> String {
    match hashed(SECRET).value(key::PARTICIPANT_IDENTITY, &text.into()).as_deref() {
        Some(Value::Text(hash)) => hash.to_string(),
        other => panic!("not hashed: {other:?}"),
    }
}

#[tokio::test]
async fn names_that_are_hashed_or_dropped_are_not_sent() {
    // A new batch for each mode: a series keeps the bytes that its exporter encoded.
    let batch = || capture::run(capture::lines().iter(), true);
    let identities = identities();
    assert_eq!(identities.len(), 3, "{identities:?}");
    let rooms = values(&["roomName"]);
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    for name in ["ada", "standup"] {
        let documented = format!("| `{name}` | `{}` |", hash(name));
        assert!(include_str!("../../docs/privacy.md").contains(&documented), "{documented}");
    }
    let plain = signals(&sent(&batch(), Privacy::Plain).await);
    let hashed = signals(&sent(&batch(), hashed(SECRET)).await);
    let dropped = signals(&sent(&batch(), Privacy::Drop).await);
    for who in identities.iter().chain(&rooms) {
        let hash = hash(who);
        for (signal, bytes) in &plain {
            assert!(has(bytes, who), "{who} is not even in the plain {signal}");
        }
        for (signal, bytes) in &hashed {
            assert!(!has(bytes, who), "{who} is in the {signal}, hashed");
            assert!(has(bytes, &hash), "the hash of {who} is not in the {signal}");
        }
        for (signal, bytes) in &dropped {
            assert!(!has(bytes, who) && !has(bytes, &hash), "{who} is in the {signal}, dropped");
        }
    }
    for (signal, bytes) in &dropped {
        for key in PERSONAL {
            assert!(!has(bytes, key), "{signal} have {key}, dropped");
        }
        assert!(has(bytes, key::PARTICIPANT_ID), "{signal} can't be joined");
    }
}

#[tokio::test]
async fn a_hash_survives_a_restart_and_depends_on_the_key() {
    let lines = capture::lines();
    let whole = restart::run(&lines, &[]);
    let restarted = restart::run(&lines, &[lines.len() / 3, lines.len() / 2]);
    let expected = sent(&whole, hashed(SECRET)).await;
    // Another exporter with another copy of the key, as in another process.
    let actual = sent(&restarted, hashed(SECRET)).await;
    assert_eq!(signals(&actual), signals(&expected));
    let other = sent(&restart::run(&lines, &[]), hashed("another-key-of-sixteen")).await;
    for ((signal, other), (_, expected)) in signals(&other).iter().zip(signals(&expected)) {
        assert_ne!(*other, expected, "{signal} are the same under any key");
    }
}

#[tokio::test]
async fn the_text_of_an_error_is_personal_in_spans_and_logs() {
    const TEXT: &str = "+49 30 1234567 does not answer";
    let time = Time::from_secs(1_795_406_960).unwrap();
    let batch = Batch {
        spans: vec![Span {
            kind: livekit_otel_model::signal::SpanKind::Internal,
            trace_id: [1; 16],
            span_id: [1; 8],
            parent: None,
            name: "track subscribe",
            start: time,
            end: time,
            attributes: vec![
                Attribute::new(key::ERROR_TYPE, "subscribe_failed"),
                Attribute::new(key::ERROR, TEXT),
            ],
            links: Vec::new(),
        }],
        logs: vec![LogRecord {
            event_name: "lk.sip.call_ended".into(),
            time,
            observed: time,
            severity: Severity::Error,
            context: None,
            attributes: vec![Attribute::new(key::ERROR, TEXT)],
        }],
        ..Batch::default()
    };
    for (privacy, expected) in [
        (Privacy::Plain, Some(TEXT.to_owned())),
        (hashed(SECRET), Some(hash(TEXT))),
        (Privacy::Drop, None),
    ] {
        let received = sent(&batch, privacy).await;
        let [(_, traces), (_, logs), _] = signals(&received);
        for text in [TEXT.to_owned(), hash(TEXT)] {
            let is_expected = expected.as_ref() == Some(&text);
            assert_eq!([has(&traces, &text), has(&logs, &text)], [is_expected; 2], "{text}");
        }
        // Each mode sends that it failed, and the type of the error.
        assert!(has(&traces, "subscribe_failed"));
        let span = &received.traces[0].resource_spans[0].scope_spans[0].spans[0];
        let status = span.status.as_ref().map(|status| (status.code, status.message.as_str()));
        assert_eq!(status, Some((2, "subscribe_failed")));
    }
}

// The content of all files below.
fn files(directory: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        content.extend(if path.is_dir() { files(&path) } else { std::fs::read(&path).unwrap() });
    }
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn records_on_disk_are_hashed_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let whole = the_capture();
    let part = |lines: &[Line]| Capture { lines: lines.to_vec() };
    let config = |collector: &str| {
        let mut config = durable(collector, directory.path(), Arc::new(Files));
        config.export.privacy = hashed(SECRET);
        config
    };
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    replay_to(&server, &part(&whole.lines[..60])).await;
    stop(server).await;
    let waiting = files(&directory.path().join("outbox"));
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    replay_to(&server, &part(&whole.lines[60..])).await;
    let ended = |received: &Received| {
        Telemetry::read(received).spans.iter().any(|one| one.name == span::ROOM)
    };
    tokio::time::timeout(Duration::from_mins(1), collector.received_when(ended)).await.unwrap();
    stop(server).await;
    let received = collector.stop().await;
    for who in identities() {
        assert!(!has(&waiting, &who), "{who} waits on disk");
        assert!(has(&waiting, &hash(&who)), "nothing of {who} waits on disk");
        for (signal, bytes) in signals(&received) {
            assert!(!has(&bytes, &who), "{who} is in the {signal}");
        }
    }
    let telemetry = Telemetry::read(&received);
    let logs = telemetry.logs.iter().map(|log| &log.attributes);
    let spans = telemetry.spans.iter().map(|span| &span.attributes);
    let sent: BTreeSet<_> = logs
        .chain(spans)
        .filter_map(|attributes| attributes.text(key::PARTICIPANT_IDENTITY))
        .map(str::to_owned)
        .collect();
    assert_eq!(sent, identities().iter().map(|who| hash(who)).collect());
}
