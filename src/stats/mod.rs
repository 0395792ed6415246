//! Sans-IO.

use crate::signal::Temporality;

/// What the instruments are told at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Down to what the per-entity series go.
    pub level: Level,
    /// What sums and histograms count from.
    pub temporality: Temporality,
}

/// `stats.level`: what gets series of its own, beside the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Nothing.
    Node,
    /// Each participant and direction.
    #[default]
    Participant,
}
