//! The series of other programs' metrics in a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::series::Series;
use super::{ForeignMetrics, Metric, MetricKey, SeriesKey};
use crate::snapshot::{Error, Part, Writer, read};
use crate::stats::Level;
use livekit_otel_model::signal::Temporality;

// How many series are one part.
const PAGE: usize = 128;

#[derive(Serialize)]
struct PageRef<'a> {
    settings: (u8, bool),
    key: &'a MetricKey,
    description: &'a str,
    series: Vec<(&'a SeriesKey, &'a Series)>,
}

#[derive(Deserialize)]
struct Page {
    settings: (u8, bool),
    key: MetricKey,
    description: Arc<str>,
    series: Vec<(SeriesKey, Series)>,
}

impl ForeignMetrics {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub(crate) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        for (key, Metric { description, series }) in &self.metrics {
            let series: Vec<_> = series.iter().collect();
            for page in series.chunks(PAGE) {
                let (settings, series) = (self.settings(), page.to_vec());
                to.put(Part::AgentSeries, &PageRef { settings, key, description, series })?;
            }
        }
        Ok(())
    }

    /// Reads series that [`ForeignMetrics::save`] wrote. Series of other settings start again.
    ///
    /// # Errors
    /// If they can't be read.
    pub(crate) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let Page { settings, key, description, series } = read(content)?;
        if settings != self.settings() {
            return Ok(());
        }
        let metric = self
            .metrics
            .entry(key)
            .or_insert_with(|| Metric { description, series: BTreeMap::new() });
        for (key, series) in series {
            let count = if key.is_overflow { &mut self.overflows } else { &mut self.live };
            *count += 1;
            self.sources += series.sources();
            metric.series.insert(key, series);
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
