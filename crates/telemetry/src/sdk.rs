//! Hands finished spans and log records to the OpenTelemetry SDK that a program already has.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger, LoggerProvider, Severity as Level};
use opentelemetry::trace::{
    self, Link, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};
use parking_lot::Mutex;

use livekit_otel_model::event::Time;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{
    self, Attribute, LogRecord, Metric, Severity, Span, SpanKind, Value,
};
use livekit_otel_model::sink::Sink;

/// A [`Sink`] to a span processor and a logger provider of `opentelemetry_sdk`, with the same ids,
/// times and attributes as over OTLP.
///
/// ```no_run
/// # use livekit_otel_telemetry::{OtelSettings, SdkSink, Telemetry};
/// # use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider, trace::{BatchSpanProcessor, SpanExporter}};
/// # fn start(exporter: impl SpanExporter + 'static, logs: &SdkLoggerProvider) -> Result<(), Box<dyn std::error::Error>> {
/// let spans = BatchSpanProcessor::builder(exporter).build();
/// let sink = std::sync::Arc::new(SdkSink::new(spans, logs, &Resource::builder().build()));
/// // The crate sends the metrics itself.
/// let settings = OtelSettings::from_env()?.traces(false).logs(false);
/// let telemetry = Telemetry::builder().otel(settings).sink(sink.clone()).start()?;
/// # Ok(())
/// # }
/// ```
///
/// **Spans** go to a processor of their own, as a tracer provider gives no access to its processors, and
/// makes ids and times itself. A `BatchSpanProcessor` drops spans while its queue is full
/// (`OTEL_BSP_MAX_QUEUE_SIZE`), and does not report it here: the spans of a large room leave at once.
///
/// **Metrics** are ignored. The SDK's `ResourceMetrics` can only be made by its own instruments, which
/// set their own times, can't end a series, and can't add to a window that has passed. Send them over OTLP
/// with [`super::Builder::otel`], or to another [`Sink`].
pub struct SdkSink<P, L> {
    processor: P,
    logger: L,
    scope: InstrumentationScope,
    privacy: Privacy,
    names: Mutex<HashSet<&'static str>>,
}

// The SDK keeps event names for ever. Unknown ones come from LiveKit, so their number is limited.
const MAX_NAMES: usize = 1000;

impl<P: SpanProcessor, L: Logger> SdkSink<P, L> {
    /// `resource` is the resource of the spans; the provider has that of the log records.
    pub fn new(
        mut processor: P,
        logs: &impl LoggerProvider<Logger = L>,
        resource: &Resource,
    ) -> Self {
        processor.set_resource(resource);
        let scope = InstrumentationScope::builder("livekit")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            processor,
            logger: logs.logger_with_scope(scope.clone()),
            scope,
            privacy: Privacy::default(),
            names: Mutex::default(),
        }
    }

    /// How personal data is sent; unchanged by default.
    #[must_use]
    pub fn privacy(mut self, privacy: Privacy) -> Self {
        self.privacy = privacy;
        self
    }

    /// Shuts the span processor down; blocks for up to `timeout`. The logger provider is the program's to
    /// shut down.
    ///
    /// # Errors
    /// Those of the processor.
    pub fn shutdown(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn name(&self, name: &str) -> Option<&'static str> {
        let mut names = self.names.lock();
        if let Some(known) = names.get(name) {
            return Some(known);
        }
        if names.len() >= MAX_NAMES {
            return None;
        }
        let name: &'static str = Box::leak(Box::from(name));
        names.insert(name);
        Some(name)
    }
}

impl<P, L> fmt::Debug for SdkSink<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkSink").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl<P, L> Sink for SdkSink<P, L>
where
    P: SpanProcessor,
    L: Logger + Send + Sync,
{
    fn spans(&self, spans: &[Span]) {
        for span in spans {
            let mut span = span.clone();
            self.privacy.redact_span(&mut span);
            self.processor.on_end(data(span, &self.scope));
        }
    }

    fn logs(&self, records: &[LogRecord]) {
        for record in records {
            let mut record = record.clone();
            self.privacy.redact_log(&mut record);
            let mut to = self.logger.create_log_record();
            if let Some(name) = self.name(&record.event_name) {
                to.set_event_name(name);
            }
            fill(&mut to, record);
            self.logger.emit(to);
        }
    }

    fn metrics(&self, _: &[Metric]) {}

    fn table(&self, _: &signal::Table) {}
}

fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let failure = span.failure().map(str::to_owned);
    let mut links = SpanLinks::default();
    let link = |link: &signal::Link| Link::new(context(link.trace_id, link.span_id), Vec::new(), 0);
    links.links = span.links.iter().map(link).collect();
    SpanData {
        span_context: context(span.trace_id, span.span_id),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: false,
        span_kind: match span.kind {
            SpanKind::Internal => trace::SpanKind::Internal,
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Client => trace::SpanKind::Client,
        },
        name: span.name.into(),
        start_time: system(span.start),
        end_time: system(span.end),
        attributes: span.attributes.into_iter().map(key_value).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn fill(to: &mut impl opentelemetry::logs::LogRecord, record: LogRecord) {
    let (severity, text) = match record.severity {
        Severity::Debug => (Level::Debug, "DEBUG"),
        Severity::Info => (Level::Info, "INFO"),
        Severity::Warn => (Level::Warn, "WARN"),
        Severity::Error => (Level::Error, "ERROR"),
    };
    to.set_timestamp(system(record.time));
    to.set_observed_timestamp(system(record.observed));
    to.set_severity_number(severity);
    to.set_severity_text(text);
    // The body is what log viewers show.
    to.set_body(AnyValue::String(Arc::clone(&record.event_name).into()));
    if let Some((trace_id, span_id)) = record.context {
        let ids = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
        to.set_trace_context(ids.0, ids.1, Some(TraceFlags::SAMPLED));
    }
    to.add_attributes(record.attributes.into_iter().map(|each| (each.key, any(each.value))));
}

fn context(trace_id: signal::TraceId, span_id: signal::SpanId) -> SpanContext {
    let (trace_id, span_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn system(at: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at.nanos())
}

fn key_value(attribute: Attribute) -> KeyValue {
    let value = match attribute.value {
        Value::Bool(flag) => opentelemetry::Value::Bool(flag),
        Value::Int(count) => opentelemetry::Value::I64(count),
        Value::Float(measure) => opentelemetry::Value::F64(measure),
        Value::Text(text) => opentelemetry::Value::String(text.into()),
    };
    KeyValue::new(attribute.key, value)
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(flag) => AnyValue::Boolean(flag),
        Value::Int(count) => AnyValue::Int(count),
        Value::Float(measure) => AnyValue::Double(measure),
        Value::Text(text) => AnyValue::String(text.into()),
    }
}
