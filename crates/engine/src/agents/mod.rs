//! What LiveKit's agents and other programs upload, joined to the rooms' traces.

use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{Foreign, Upload};

use crate::session::Sessions;

/// The jobs whose records were received.
#[derive(Debug, Default)]
pub struct Agents {}

impl Agents {
    /// Applies an upload that was received at `now`. Returns how many of its records are copies.
    pub fn apply(
        &mut self,
        upload: &Upload,
        _now: Time,
        _sessions: &Sessions,
        out: &mut Foreign,
    ) -> u64 {
        match upload {
            Upload::Spans(spans) => out.spans.extend_from_slice(spans),
            Upload::Logs(logs) => out.logs.extend_from_slice(logs),
            Upload::Metrics(metrics) => out.metrics.extend_from_slice(metrics),
            Upload::Recording(_) => {}
        }
        0
    }

    /// Releases everything that is due at `now`.
    pub fn tick(&mut self, _now: Time, _sessions: &Sessions, _out: &mut Foreign) {}

    /// When [`Agents::tick`] is due next.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Releases everything.
    pub fn close(&mut self, _now: Time, _sessions: &Sessions, _out: &mut Foreign) {}
}
