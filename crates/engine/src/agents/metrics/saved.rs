//! The series of other programs' metrics in a snapshot.

use serde::{Deserialize, Serialize};

use super::series::Series;
use super::{ForeignMetrics, MetricKey, SeriesKey};
use crate::snapshot::{Error, Part, Writer, read};
use crate::stats::Level;
use livekit_otel_model::signal::Temporality;

// How many series are one part.
const PAGE: usize = 128;

#[derive(Serialize)]
struct PageRef<'a> {
    settings: (u8, bool),
    series: &'a [(&'a (MetricKey, SeriesKey), &'a Series)],
}

#[derive(Deserialize)]
struct Page {
    settings: (u8, bool),
    series: Vec<((MetricKey, SeriesKey), Series)>,
}

impl ForeignMetrics {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub(crate) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let settings = self.settings();
        let all: Vec<_> = self.series.iter().map(|(key, series)| (key, &**series)).collect();
        for series in all.chunks(PAGE) {
            to.put(Part::AgentSeries, &PageRef { settings, series })?;
        }
        Ok(())
    }

    /// Reads series that [`ForeignMetrics::save`] wrote. Series of other settings start again.
    ///
    /// # Errors
    /// If they can't be read.
    pub(crate) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let Page { settings, series } = read(content)?;
        if settings != self.settings() {
            return Ok(());
        }
        for (key, series) in series {
            let count = if key.1.is_overflow { &mut self.overflows } else { &mut self.live };
            *count += 1;
            self.sources += series.sources();
            self.series.insert(key, Box::new(series));
        }
        Ok(())
    }

    // What series have depends on these.
    fn settings(&self) -> (u8, bool) {
        let level = match self.level {
            Level::Node => 0,
            Level::Room => 1,
            Level::Participant | Level::Track => 2,
        };
        (level, self.temporality == Temporality::Delta)
    }
}
