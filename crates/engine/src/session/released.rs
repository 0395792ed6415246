//! What a room releases.

use super::legs::Leg;
use crate::facts::Fact;
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{LogRecord, Span};

/// What a room releases.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) spans: Vec<Span>,
    pub(super) facts: Vec<Fact>,
    /// What is known of SIP calls and agents' jobs by their participants.
    pub(super) legs: Vec<Leg>,
    pub(super) logs: Vec<LogRecord>,
    /// From when on the room's dispatches have to be known.
    pub(super) asks: Vec<Time>,
    /// From when on its participants have to be known.
    pub(super) lists: Vec<Time>,
    /// How many participants were forgotten early.
    pub(super) early: u64,
}
