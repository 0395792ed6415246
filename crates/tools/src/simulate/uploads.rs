//! What a simulated agent uploads, as LiveKit's agents do (livekit-agents 1.8): the spans and log
//! records of its turns, delta metrics, and a recording without audio.

use std::time::Duration;

use http::HeaderValue;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::jobs::Turn;
use super::measures;
use super::records::{JobOf, said_for, text};
use super::spans::Spans;
use crate::capture::Upload;
use livekit_otel_livekit::uploads::recording_header;
use livekit_otel_model::Source;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const MULTIPART: HeaderValue =
    HeaderValue::from_static("multipart/form-data; boundary=livekit-otel-simulated");

/// An upload of a simulated agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentUpload {
    /// Its source, one of those of agents.
    pub source: Source,
    /// Its body, and what is in the request's head.
    pub upload: Upload,
    /// The number of its spans, log records or points; 1 for a recording.
    pub records: u64,
}

/// The uploads of one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uploads<'a> {
    pub(super) of: JobOf<'a>,
}

impl Uploads<'_> {
    /// What a job uploads of a source at the end of a window; `None` if there is nothing.
    pub(super) fn upload(
        &self,
        source: Source,
        from: Duration,
        to: Duration,
    ) -> Option<AgentUpload> {
        let turns = self.of.job.ended(from, to);
        let (records, body) = match source {
            Source::AgentTraces => self.spans(turns, from, to)?,
            Source::AgentLogs => self.logs(turns)?,
            Source::AgentMetrics => self.metrics(turns, from, to)?,
            _ => (1, self.recording()),
        };
        let is_recording = source == Source::AgentRecordings;
        let content_type = if is_recording { MULTIPART } else { PROTOBUF };
        let upload = Upload { content_type, is_gzip: !is_recording, body: body.into() };
        Some(AgentUpload { source, upload, records })
    }

    fn spans(&self, turns: &[Turn], from: Duration, to: Duration) -> Option<(u64, Vec<u8>)> {
        let spans = Spans { of: self.of };
        let mut all: Vec<Span> = turns.iter().flat_map(|turn| spans.of_turn(turn)).collect();
        if from == self.of.visit.active {
            all.extend(spans.of_start());
        }
        if to == self.of.visit.leave {
            all.extend(spans.of_end());
        }
        let count = all.len() as u64;
        let scope = Some(scope("livekit-agents"));
        let scope_spans = vec![ScopeSpans { scope, spans: all, ..ScopeSpans::default() }];
        let resource = Some(self.resource("livekit-agents"));
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        (count > 0).then(|| (count, request.encode_to_vec()))
    }

    fn logs(&self, turns: &[Turn]) -> Option<(u64, Vec<u8>)> {
        let log_records: Vec<LogRecord> =
            turns.iter().flat_map(|turn| self.log_records(turn)).collect();
        let count = log_records.len() as u64;
        let scope = Some(scope("livekit.agents"));
        let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
        let resource = Some(self.resource("unknown_service:python"));
        let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs };
        (count > 0).then(|| (count, request.encode_to_vec()))
    }

    fn log_records(&self, turn: &Turn) -> Vec<LogRecord> {
        let spans = Spans { of: self.of };
        let heard =
            [("received user transcript", turn.spoken()), ("user turn committed", turn.handed())];
        let heard = heard.into_iter().filter(|_| !turn.is_greeting());
        let said = [("conversation_item_added", turn.end())];
        let record = |(what, at): (&str, Duration)| {
            let mut attributes = self.of.ids();
            attributes.push(text("logger.name", "livekit.agents"));
            attributes.push(text("lk.pii.text", said_for(turn.speaks)));
            let (trace_id, span_id) = spans.context(turn);
            LogRecord {
                time_unix_nano: self.of.nanos(at),
                observed_time_unix_nano: self.of.nanos(at),
                severity_number: 5,
                severity_text: "DEBUG".to_owned(),
                body: Some(AnyValue { value: Some(Value::StringValue(what.to_owned())) }),
                attributes,
                trace_id,
                span_id,
                ..LogRecord::default()
            }
        };
        heard.chain(said).map(record).collect()
    }

    fn metrics(&self, turns: &[Turn], from: Duration, to: Duration) -> Option<(u64, Vec<u8>)> {
        let times = (self.of.nanos(from), self.of.nanos(to));
        let metrics: Vec<Metric> = measures::of_turns(turns, &self.of.ids(), times);
        let count = metrics.len() as u64;
        let scope = Some(scope("livekit-agents"));
        let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource("livekit-agents"));
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        let request = ExportMetricsServiceRequest { resource_metrics };
        (count > 0).then(|| (count, request.encode_to_vec()))
    }

    fn recording(&self) -> Vec<u8> {
        let lasted = self.of.visit.leave.saturating_sub(self.of.visit.active);
        let user_turns = self.of.job.turns.iter().filter(|turn| !turn.is_greeting()).count();
        let errors = self.of.job.turns.iter().filter(|turn| turn.is_failed).count();
        let summary = serde_json::json!({
            "duration_ms": lasted.as_secs_f64() * 1000.0,
            "user_turns": user_turns,
            "errors": { "llm": errors, "stt": 0, "tts": 0 },
            "close_reason": self.of.close_reason().to_uppercase(),
        });
        let began = self.of.start + self.of.visit.active;
        let header = recording_header(
            &self.of.plan.sid,
            &self.of.job.id,
            began,
            lasted,
            &summary.to_string(),
        );
        let parts: [(&str, &str, &[u8]); 2] = [
            ("header", "application/protobuf", &header),
            ("chat_history", "application/json", b"{\"items\":[]}"),
        ];
        let mut body = Vec::new();
        for (name, media, content) in parts {
            let head = format!(
                "--livekit-otel-simulated\r\nContent-Type: {media}\r\n\
                 Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
            );
            body.extend([head.as_bytes(), content, b"\r\n"].concat());
        }
        body.extend(b"--livekit-otel-simulated--\r\n");
        body
    }

    fn resource(&self, service: &str) -> Resource {
        let mut attributes = self.of.ids();
        attributes.push(text("service.name", service));
        attributes.push(text("service.instance.id", &format!("{:016x}", self.of.job.seed)));
        attributes.push(text("telemetry.sdk.language", "python"));
        Resource { attributes, ..Resource::default() }
    }
}

fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() }
}
