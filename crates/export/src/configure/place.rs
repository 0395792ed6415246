//! The variables of one signal.

use super::reader::{Found, Reader};
use livekit_otel_model::Signal;

/// The signal that is read, and the number of errors before it.
pub(super) struct Place {
    pub(super) signal: Signal,
    pub(super) before: usize,
}

impl Place {
    pub(super) fn upper(&self) -> &'static str {
        match self.signal {
            Signal::Traces => "TRACES",
            Signal::Logs => "LOGS",
            Signal::Metrics => "METRICS",
        }
    }

    /// The signal's variable.
    pub(super) fn own(&self, reader: &Reader<'_>, option: &str) -> Option<Found> {
        reader.variable(&format!("OTEL_EXPORTER_OTLP_{}_{option}", self.upper()))
    }

    /// The signal's variable, or that for all signals.
    pub(super) fn either(&self, reader: &Reader<'_>, option: &str) -> Option<Found> {
        self.own(reader, option)
            .or_else(|| reader.variable(&format!("OTEL_EXPORTER_OTLP_{option}")))
    }
}
