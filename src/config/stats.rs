//! What the instruments are told.

use std::time::Duration;

use super::{option, values};
use crate::cli::ServeArgs;
use livekit_otel_engine::stats::Settings;
use livekit_otel_export::configure::Reader;
use livekit_otel_model::signal::Temporality;

/// The instruments' settings, and how often they are flushed.
pub(super) fn read(
    args: &ServeArgs,
    temporality: Temporality,
    reader: &mut Reader<'_>,
) -> (Settings, Duration) {
    let level = option(reader, "--stats-level", args.stats_level.as_ref(), "stats.level");
    let interval = match reader.variable("OTEL_METRIC_EXPORT_INTERVAL") {
        found @ Some(_) => reader.parse(found, values::millis),
        None => reader.in_file("stats.interval", values::positive_duration),
    };
    let default = Settings::default();
    let settings = Settings {
        level: reader.parse(level, values::level).unwrap_or_default(),
        cardinality_limit: reader
            .in_file("stats.cardinality_limit", values::cardinality)
            .unwrap_or(default.cardinality_limit),
        top_n: reader.in_file("stats.top_n", values::top_n).unwrap_or(default.top_n),
        histograms: reader.in_file("stats.histograms", values::histograms).unwrap_or_default(),
        temporality,
        ..default
    };
    (settings, interval.unwrap_or(Duration::from_secs(30)))
}
