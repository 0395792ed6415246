//! What the sessions return.

use crate::facts::Fact;
use livekit_otel_model::signal::{LogRecord, Span};

/// The outputs of the sessions, in their order.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Finished spans; a participant's all at once.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Facts for the instruments.
    pub facts: Vec<Fact>,
}

/// The outcome of an event or a stats window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// The other source had reported the same event: one record stands for both.
    Merged,
    /// Its id was seen before; it changed nothing.
    Duplicate,
}
