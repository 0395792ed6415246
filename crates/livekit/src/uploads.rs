//! The paths of uploads: those that LiveKit's agents append to `LIVEKIT_OBSERVABILITY_URL`
//! (livekit-agents, telemetry/traces.py), and those of plain OTLP (OTLP 1.9, "OTLP/HTTP Request").

use livekit_otel_model::Source;

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
