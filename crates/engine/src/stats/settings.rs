//! Settings of the instruments.

use super::histogram::Histograms;
use livekit_otel_model::signal::Temporality;

/// Settings of the instruments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The finest level at which streams have series.
    pub level: Level,
    /// The highest number of series of each instrument of streams, operations and usage, of all metrics together that
    /// other programs upload, and of all metrics together that are derived from agents' records. Those beyond it share
    /// one series of each metric, marked with `otel.metric.overflow`.
    pub cardinality_limit: usize,
    /// Whether the series of rooms, participants and tracks have the names that belong to their ids.
    pub names: bool,
    /// How many of the participants with the worst media are reported by name; 0 for none.
    pub top_n: usize,
    /// The buckets of histograms.
    pub histograms: Histograms,
    /// Whether sums and histograms are cumulative.
    pub temporality: Temporality,
    /// What the node's streams are counted from.
    pub node_streams: NodeStreamSource,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: Level::default(),
            cardinality_limit: 100_000,
            names: true,
            top_n: 0,
            histograms: Histograms::default(),
            temporality: Temporality::default(),
            node_streams: NodeStreamSource::default(),
        }
    }
}

/// What the node's stream metrics are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeStreamSource {
    /// Finished windows, which are all that another process sends.
    #[default]
    Windows,
    /// Single reports ([`super::Stats::reports`]); windows are not counted again.
    Reports,
}

/// `stats.level`: what has a series of its own in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Level {
    /// Only nodes.
    Node,
    /// Each room.
    Room,
    /// Each participant.
    #[default]
    Participant,
    /// Each track of each participant that sends or receives it.
    Track,
}

impl Level {
    /// All levels, with their names in the configuration.
    pub const NAMES: [(&str, Self); 4] = [
        ("node", Self::Node),
        ("room", Self::Room),
        ("participant", Self::Participant),
        ("track", Self::Track),
    ];
}
