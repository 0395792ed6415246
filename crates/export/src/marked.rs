//! Test records: one of each signal, which say nothing about LiveKit. They show whether a collector accepts
//! what this program sends.

use bytes::Bytes;

use crate::encode;
use crate::record::Scope;
use crate::request::Assembler;
use crate::settings::Settings;
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{event, key, metric, span};
use livekit_otel_model::signal::{
    Attribute, Data, LogRecord, Metric, Number, NumberPoint, Severity, Span, SpanId, SpanKind,
    TraceId,
};

/// A span, a log record of it, and a metric, each with the attribute [`key::DOCTOR`].
#[derive(Debug, Clone)]
pub struct Marked {
    /// The span, which is the whole trace.
    pub span: Span,
    /// The log record.
    pub log: LogRecord,
    /// The metric, of one point.
    pub metric: Metric,
}

impl Marked {
    /// The records of the time `at`, with these ids.
    pub fn new(at: Time, trace_id: TraceId, span_id: SpanId) -> Self {
        let attributes = || vec![Attribute::new(key::DOCTOR, true)];
        let span = Span {
            trace_id,
            span_id,
            parent: None,
            name: span::DOCTOR,
            kind: SpanKind::Internal,
            start: at,
            end: at,
            attributes: attributes(),
            links: Vec::new(),
        };
        let log = LogRecord {
            event_name: event::DOCTOR.into(),
            time: at,
            observed: at,
            severity: Severity::Info,
            context: Some((trace_id, span_id)),
            attributes: attributes(),
        };
        let point = NumberPoint {
            attributes: attributes().into(),
            start: None,
            time: at,
            value: Some(Number::Int(1)),
        };
        let metric = Metric {
            name: metric::DOCTOR,
            unit: "1",
            description: "1 for each test point of `livekit-otel doctor`",
            data: Data::Gauge(vec![point]),
        };
        Self { span, log, metric }
    }

    /// The request with the record of `signal`, for [`crate::send_once`].
    pub fn request(&self, settings: &Settings, signal: Signal) -> Bytes {
        let privacy = &settings.privacy;
        let mut records = match signal {
            Signal::Traces => vec![encode::span(privacy, &self.span)],
            Signal::Logs => vec![encode::log(privacy, &self.log)],
            Signal::Metrics => {
                let mut records = Vec::new();
                encode::metric(privacy, &self.metric, &mut records);
                records
            }
        };
        // LiveKit's scope is for what LiveKit reports.
        for record in &mut records {
            record.scope = Scope::Own;
        }
        Assembler::new(&settings.resource, settings.max_request_bytes).request(&records)
    }
}
