//! The OTLP requests and recordings that LiveKit's agents and other programs upload, read to the records of
//! [`livekit_otel_model::foreign`]. What must not leave is removed here.
//!
//! - It may know OTLP's messages, and the keys of LiveKit's agents.
//! - It must not know a socket, a runtime or a clock. A request that is read again gives the same records.
//! - Tests: `cargo test -p livekit-otel-agents`, and the root package's `tests/it`.

mod classes;
mod clean;
mod facts;
mod json;
mod limits;
mod logs;
mod measured;
mod metrics;
mod origin;
mod recording;
mod rules;
mod traces;
mod unreadable;

use opentelemetry_proto::tonic::collector;
use prost::Message;

use livekit_otel_model::Source;
use livekit_otel_model::foreign::Upload;
pub use livekit_otel_model::privacy::Content;
use livekit_otel_model::privacy::Privacy;

pub use recording::with_sizes;
use rules::Rules;
pub use unreadable::Unreadable;

/// Reads uploads.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// What leaves of names and identities.
    pub privacy: Privacy,
    /// What leaves of content.
    pub content: Content,
}

/// A request that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its records.
    pub upload: Upload,
    /// How many records these are: spans, log records, points, or one recording.
    pub items: u64,
    /// How many more it has that can't be used, such as spans without an id.
    pub unusable: u64,
}

impl Reader {
    /// Reads a request: protobuf, or JSON if its first byte is `{`. A recording is its header, with sizes if
    /// [`with_sizes`] added them.
    ///
    /// # Errors
    /// If it is malformed, if it would take much more memory than its bytes, or if messages of `source` are no uploads.
    pub fn read(&self, source: Source, raw: &[u8]) -> Result<Read, Unreadable> {
        let is_plain =
            matches!(source, Source::OtlpTraces | Source::OtlpLogs | Source::OtlpMetrics);
        let rules = &Rules { privacy: &self.privacy, content: self.content, is_plain };
        match source {
            Source::AgentTraces | Source::OtlpTraces => {
                type Request = collector::trace::v1::ExportTraceServiceRequest;
                let request: Request = message(raw, &json::TRACES)?;
                let (spans, unusable) = traces::read(rules, request);
                let items = spans.len() as u64;
                Ok(Read { upload: Upload::Spans(spans), items, unusable })
            }
            Source::AgentLogs | Source::OtlpLogs => {
                type Request = collector::logs::v1::ExportLogsServiceRequest;
                let request: Request = message(raw, &json::LOGS)?;
                let logs = logs::read(rules, request);
                let items = logs.len() as u64;
                Ok(Read { upload: Upload::Logs(logs), items, unusable: 0 })
            }
            Source::AgentMetrics | Source::OtlpMetrics => {
                type Request = collector::metrics::v1::ExportMetricsServiceRequest;
                let request: Request = message(raw, &json::METRICS)?;
                let (metrics, items, unusable) = metrics::read(rules, request);
                Ok(Read { upload: Upload::Metrics(metrics), items, unusable })
            }
            Source::AgentRecordings => {
                let recording = Box::new(recording::read(raw)?);
                Ok(Read { upload: Upload::Recording(recording), items: 1, unusable: 0 })
            }
            Source::Webhook | Source::Events | Source::Stats | Source::NodeRooms | Source::Api => {
                Err(Unreadable)
            }
        }
    }
}

fn message<M: Message + Default>(raw: &[u8], of: &'static json::Message) -> Result<M, Unreadable> {
    let encoded;
    let bytes = match raw.first() {
        Some(b'{') => {
            encoded = json::encode(raw, of)?;
            &encoded[..]
        }
        _ => raw,
    };
    if !limits::keeps(bytes, of) {
        return Err(Unreadable);
    }
    M::decode(bytes).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests;
