//! Uploads of LiveKit's agents: the header of a recording, and the paths: those that LiveKit's agents append to `LIVEKIT_OBSERVABILITY_URL`
//! (livekit-agents, telemetry/traces.py), and those of plain OTLP (OTLP 1.9, "OTLP/HTTP Request").

use std::time::Duration;

use prost::Message;
use prost::encoding::string;

use crate::encode::timestamp;
use crate::messages::MetricsRecordingHeader;
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;

// `session_summary` of the header, which the crate's message does not have yet.
const SUMMARY: u32 = 11;

const AGENTS: [(&str, Source); 4] = [
    ("/observability/traces/otlp/v0", Source::AgentTraces),
    ("/observability/logs/otlp/v0", Source::AgentLogs),
    ("/observability/metrics/otlp/v0", Source::AgentMetrics),
    ("/observability/recordings/v0", Source::AgentRecordings),
];
const PLAIN: [(&str, Source); 3] = [
    ("/v1/traces", Source::OtlpTraces),
    ("/v1/logs", Source::OtlpLogs),
    ("/v1/metrics", Source::OtlpMetrics),
];

/// The path of a source's uploads, without a base path; `None` for other sources.
pub fn path(source: Source) -> Option<&'static str> {
    let served = AGENTS.into_iter().chain(PLAIN).find(|(_, of)| *of == source);
    served.map(|(path, _)| path)
}

/// The source whose uploads are sent to `path`. LiveKit's paths may follow any base path, plain ones
/// none.
pub fn source(path: &str) -> Option<Source> {
    let agents = AGENTS.into_iter().find(|(suffix, _)| path.ends_with(suffix));
    let (_, source) = agents.or_else(|| PLAIN.into_iter().find(|(whole, _)| path == *whole))?;
    Some(source)
}

/// The header of a job's recording, with the session's summary as JSON.
pub fn recording_header(
    room: &str,
    job: &str,
    began: Time,
    lasted: Duration,
    summary: &str,
) -> Vec<u8> {
    let header = MetricsRecordingHeader {
        room_id: room.to_owned(),
        duration: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
        start_time: Some(timestamp(began)),
        job_id: job.to_owned(),
        ..MetricsRecordingHeader::default()
    };
    let mut bytes = header.encode_to_vec();
    string::encode(SUMMARY, &summary.to_owned(), &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn livekits_paths_may_follow_any_base_path_and_plain_ones_none() {
        for (path, expected) in [
            ("/observability/traces/otlp/v0", Some(Source::AgentTraces)),
            ("//observability/logs/otlp/v0", Some(Source::AgentLogs)),
            ("/a/b/observability/metrics/otlp/v0", Some(Source::AgentMetrics)),
            ("/a//observability/recordings/v0", Some(Source::AgentRecordings)),
            ("/v1/traces", Some(Source::OtlpTraces)),
            ("/v1/logs", Some(Source::OtlpLogs)),
            ("/v1/metrics", Some(Source::OtlpMetrics)),
            ("/observability/traces/otlp/v1", None),
            ("/observability/traces/otlp/v0/", None),
            ("/a/v1/traces", None),
            ("/v1/profiles", None),
            ("/", None),
        ] {
            assert_eq!(source(path), expected, "{path}");
        }
    }
}
