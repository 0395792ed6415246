//! `livekit-otel trace-id`: the id of a trace, computed from session ids.

use std::io::Write;

use super::Failure;
use crate::cli::TraceIdArgs;
use livekit_otel_engine::ids;
use livekit_otel_model::hex;

pub(super) fn run(args: &TraceIdArgs) -> Result<(), Failure> {
    let TraceIdArgs { room, participant, url } = args;
    let trace = match participant {
        None => ids::trace(room),
        Some(participant) => ids::participant_trace(room, participant),
    };
    let id = hex(&trace);
    let line = url.as_ref().map_or_else(|| id.clone(), |url| url.replace("{trace_id}", &id));
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
