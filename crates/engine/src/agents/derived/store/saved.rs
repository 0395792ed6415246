//! The series of derived metrics in a snapshot.

use serde::{Deserialize, Serialize};

use super::super::values::Labels;
use super::{Derived, Key, Series};
use crate::snapshot::{Error, Part, Writer, read};
use crate::stats::{Histograms, Level};
use livekit_otel_model::signal::Temporality;

// How many series are one part.
const PAGE: usize = 128;

type Settings = (u8, bool, bool);

#[derive(Serialize)]
struct PageRef<'a> {
    settings: Settings,
    series: &'a [(&'a Key, &'a Series)],
}

#[derive(Deserialize)]
struct Page {
    settings: Settings,
    series: Vec<(Key, Series)>,
}

impl Derived {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub(in crate::agents) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let settings = self.settings();
        let all: Vec<_> = self.series.iter().collect();
        for series in all.chunks(PAGE) {
            to.put(Part::DerivedSeries, &PageRef { settings, series })?;
        }
        Ok(())
    }

    /// Reads series that [`Derived::save`] wrote. Series of other settings start again.
    ///
    /// # Errors
    /// If they can't be read.
    pub(in crate::agents) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let Page { settings, series } = read(content)?;
        if settings == self.settings() {
            self.live += series.iter().filter(|(key, _)| key.labels != Labels::Overflow).count();
            self.series.extend(series);
        }
        Ok(())
    }

    // What series have depends on these.
    fn settings(&self) -> Settings {
        let level = match self.level {
            Level::Node => 0,
            Level::Room => 1,
            Level::Participant | Level::Track => 2,
        };
        let is_delta = self.temporality == Temporality::Delta;
        (level, is_delta, self.histograms == Histograms::Exponential)
    }
}
