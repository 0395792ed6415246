//! The instruments of each series of streams: the sums of [`Counter`] and three last values.

use crate::stats::settings::Level;
use livekit_otel_model::event::Counter;
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Column, Row};

const fn column(name: &'static str, unit: &'static str, description: &'static str) -> Column {
    Column { name, unit, description }
}

pub(super) static COUNTERS: [Column; Row::COUNTERS] = {
    let mut columns = [column("", "", ""); Row::COUNTERS];
    let mut nth = 0;
    while nth < columns.len() {
        let (name, unit, description) = Counter::ALL[nth].metric();
        columns[nth] = column(name, unit, description);
        nth += 1;
    }
    columns
};

pub(super) static GAUGES: [Column; Row::GAUGES] = [
    column(metric::STREAM_ROUND_TRIP, "s", "Highest round trip of streams in their last windows."),
    column(metric::STREAM_JITTER, "s", "Highest jitter of streams in their last windows."),
    // Not 1, as Prometheus would name it a ratio.
    column(
        metric::STREAM_SCORE,
        "{score}",
        "Mean quality score of streams in their last windows, 1 to 5.",
    ),
];

/// The highest number of series of streams, with all instruments of each, as README.md states. A track
/// is counted once for each participant that sends or receives it.
pub fn most_series(level: Level, rooms: u64, participants: u64, tracks: u64) -> u64 {
    let each = (Row::COUNTERS + Row::GAUGES) as u64;
    match level {
        Level::Node => 0,
        Level::Room => rooms * 2 * each,
        Level::Participant => participants * 2 * each,
        Level::Track => tracks * each,
    }
}
