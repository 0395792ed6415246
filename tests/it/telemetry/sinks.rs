//! Other outputs than OTLP: a sink of the program's own, and the OpenTelemetry SDK.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livekit_otel_model::semconv::{event, key, metric, span};
use livekit_otel_telemetry::messages::RoomEndReason;
use livekit_otel_telemetry::signal::{LogRecord, Metric, Span};
use livekit_otel_telemetry::{
    Activation, HashKey, OtelSettings, Privacy, SdkSink, Sink, Telemetry, TelemetryService,
};
use livekit_otel_tools::demo::{Collector, Telemetry as Received};
use opentelemetry::trace::Status;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor, SpanData};
use tokio::time::Instant;

use super::recorder::{of, participant, room};

// One participant that connects, and one that does not.
fn call(telemetry: &Telemetry) {
    let (room, who) = (room(), participant());
    telemetry.room_started(&room);
    telemetry.participant_joined(of(&room, &who), None, None, true, None);
    telemetry.participant_active(of(&room, &who), None, Activation::default(), None);
    telemetry.participant_left(of(&room, &who), true, None);
    let aborted = livekit_otel_telemetry::messages::ParticipantInfo { sid: "PA_2".into(), ..who };
    telemetry.participant_joined(of(&room, &aborted), None, None, true, None);
    telemetry.participant_left(of(&room, &aborted), true, None);
    telemetry.room_ended(&room, RoomEndReason::RoomEndApiDelete);
}

async fn end(telemetry: &Telemetry) {
    let report = telemetry.shutdown(Instant::now() + Duration::from_secs(10)).await;
    assert_eq!((&*report.faults, report.undelivered), (&[][..], 0));
}

#[derive(Debug, Default)]
struct Names {
    names: Mutex<Vec<String>>,
    panics: bool,
    calls: AtomicU64,
}

impl Names {
    fn add(&self, names: impl Iterator<Item = String>) {
        self.calls.fetch_add(1, SeqCst);
        assert!(!self.panics, "made up");
        self.names.lock().unwrap().extend(names);
    }

    fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap().iter().any(|each| each == name)
    }
}

impl Sink for Names {
    fn spans(&self, spans: &[Span]) {
        self.add(spans.iter().map(|span| span.name.to_owned()));
    }

    fn logs(&self, records: &[LogRecord]) {
        self.add(records.iter().map(|record| record.event_name.to_string()));
    }

    fn metrics(&self, metrics: &[Metric]) {
        self.add(metrics.iter().map(|metric| metric.name.to_owned()));
    }
}

#[tokio::test]
async fn a_sink_alone_receives_all_signals() {
    let sink = Arc::new(Names::default());
    let telemetry = Telemetry::builder().sink(Arc::clone(&sink) as _).start().unwrap();
    call(&telemetry);
    end(&telemetry).await;
    for name in [span::ROOM, span::PARTICIPANT, event::ROOM_ENDED, metric::NODE_PARTICIPANTS] {
        assert!(sink.has(name), "{name}");
    }
}

#[tokio::test]
async fn a_sink_that_panics_takes_nothing_from_the_others() {
    let collector = Collector::start().await.unwrap();
    let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
    let panics = Arc::new(Names { panics: true, ..Names::default() });
    let sink = Arc::new(Names::default());
    let builder = Telemetry::builder().otel(settings).sink(Arc::clone(&panics) as _);
    let telemetry = builder.sink(Arc::clone(&sink) as _).start().unwrap();
    call(&telemetry);
    end(&telemetry).await;
    assert!(panics.calls.load(SeqCst) > 0);
    assert_eq!(telemetry.panics(), panics.calls.load(SeqCst));
    assert!(sink.has(span::ROOM));
    let received = Received::read(&collector.stop().await);
    assert!(received.spans.iter().any(|each| each.name == span::ROOM));
}

struct Sdk {
    spans: InMemorySpanExporter,
    logs: InMemoryLogExporter,
    provider: SdkLoggerProvider,
}

impl Sdk {
    fn new() -> Self {
        let logs = InMemoryLogExporter::default();
        let provider = SdkLoggerProvider::builder().with_simple_exporter(logs.clone()).build();
        Self { spans: InMemorySpanExporter::default(), logs, provider }
    }

    fn sink(&self, privacy: Privacy) -> Arc<dyn Sink> {
        let processor = SimpleSpanProcessor::new(self.spans.clone());
        let resource = Resource::builder_empty().with_service_name("my-sfu").build();
        Arc::new(SdkSink::new(processor, &self.provider, &resource).privacy(privacy))
    }
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_nanos().try_into().unwrap()
}

fn texts(span: &SpanData) -> BTreeMap<String, String> {
    let texts = span.attributes.iter();
    texts.map(|each| (each.key.to_string(), each.value.to_string())).collect()
}

#[tokio::test]
async fn the_sdk_receives_what_the_collector_receives() {
    let collector = Collector::start().await.unwrap();
    let sdk = Sdk::new();
    let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
    let builder = Telemetry::builder().otel(settings).sink(sdk.sink(Privacy::Plain));
    let telemetry = builder.start().unwrap();
    call(&telemetry);
    end(&telemetry).await;
    let received = Received::read(&collector.stop().await);
    let spans = sdk.spans.get_finished_spans().unwrap();
    assert_eq!(spans.len(), received.spans.len());
    assert!(spans.len() > 4);
    for (ours, theirs) in received.spans.iter().zip(&spans) {
        let context = &theirs.span_context;
        assert_eq!(ours.trace_id, context.trace_id().to_string());
        assert_eq!(ours.span_id, context.span_id().to_string());
        assert_eq!((&*ours.name, ours.start), (&*theirs.name, nanos(theirs.start_time)));
        assert_eq!(ours.end, nanos(theirs.end_time));
        assert_eq!(ours.error.is_some(), theirs.status != Status::Unset);
        let texts = texts(theirs);
        assert_eq!(texts.get(key::ROOM_ID).map(|sid| &**sid), ours.attributes.text(key::ROOM_ID));
        assert_eq!(texts.len(), ours.attributes.0.len());
    }
    let logs = sdk.logs.get_emitted_logs().unwrap();
    let names: Vec<_> = logs.iter().map(|log| log.record.event_name().unwrap()).collect();
    let expected: Vec<_> = received.logs.iter().map(|log| &*log.event_name).collect();
    assert_eq!(names, expected);
    for (ours, theirs) in received.logs.iter().zip(&logs) {
        assert_eq!(ours.time, nanos(theirs.record.timestamp().unwrap()));
        assert_eq!(theirs.record.attributes_iter().count(), ours.attributes.0.len());
    }
}

#[tokio::test]
async fn personal_data_is_hashed_before_the_sdk_has_it() {
    let sdk = Sdk::new();
    let hash = Privacy::Hash(HashKey::new("a made-up key of some length").unwrap());
    let telemetry = Telemetry::builder().sink(sdk.sink(hash)).start().unwrap();
    call(&telemetry);
    end(&telemetry).await;
    let spans = sdk.spans.get_finished_spans().unwrap();
    let identities: Vec<_> =
        spans.iter().filter_map(|span| texts(span).remove(key::PARTICIPANT_IDENTITY)).collect();
    assert!(!identities.is_empty());
    assert!(identities.iter().all(|identity| identity.len() == 32), "{identities:?}");
    let logs = format!("{:?}", sdk.logs.get_emitted_logs().unwrap());
    assert!(logs.contains(&identities[0]) && !logs.contains("\"ada\""), "{logs}");
}
