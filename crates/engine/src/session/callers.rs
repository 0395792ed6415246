//! The spans that calls were made in.

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Caller;
use livekit_otel_model::signal::Link;

// OpenTelemetry's limit of links per span; calls of one span share a link.
const MOST: usize = 128;

/// The callers of one room, participant or track, each once, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Callers(Vec<Caller>);

impl Callers {
    pub(super) fn add(&mut self, caller: Caller) {
        if self.0.len() < MOST && !self.0.contains(&caller) {
            self.0.push(caller);
        }
    }

    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        self.0
            .iter()
            .map(|Caller { trace_id, span_id }| Link { trace_id: *trace_id, span_id: *span_id })
    }
}
