//! Defaults that depend on other settings.

use super::super::Config;
use super::super::values::shown_size as size;
use livekit_otel_engine::session::AgentTraces;

const GRPC: &str = "http://localhost:4317/";

/// The values in use of the settings without a fixed default, by their keys.
pub(super) fn values(config: &Config) -> Vec<(&'static str, String)> {
    let journal = config.journal.as_ref().map(|journal| journal.settings.max_bytes);
    let mut values = vec![
        ("listen.admin", config.admin.to_string()),
        ("limits.unfinished", size(config.unfinished as u64)),
        ("journal.max_bytes", size(journal.unwrap_or(config.journal_bytes as u64))),
        ("set_aside.max_bytes", size(config.dead_letter_bytes)),
        ("agents.traces", agent_traces(config.session.agent_traces()).to_owned()),
        ("agents.max_body", size(config.uploads.max_body as u64)),
        ("agents.unfinished", size(config.uploads.unfinished as u64)),
    ];
    let export = &config.export;
    // With http/protobuf it is another one.
    if [&export.traces, &export.logs, &export.metrics].iter().all(|to| to.endpoint == GRPC) {
        values.push(("export.endpoint", GRPC.to_owned()));
    }
    values
}

fn agent_traces(traces: AgentTraces) -> &'static str {
    match traces {
        AgentTraces::Join => "join",
        AgentTraces::Link => "link",
        AgentTraces::Off => "off",
    }
}
