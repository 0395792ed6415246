//! The series of operations and of usage in a snapshot.

use serde::{Deserialize, Serialize};

use super::series::{Key, Series, WorkSeries};
use crate::snapshot::{Error, Part, Writer, read};
use crate::stats::histogram::Histograms;
use crate::stats::settings::{Level, Settings};
use livekit_otel_model::signal::Temporality;

// How many series are one part.
const PAGE: usize = 128;

// Whether rooms have series, sums are deltas, and histograms are exponential: what series have depends on these.
type Kinds = [bool; 3];

#[derive(Serialize)]
struct PageRef<'a> {
    kinds: Kinds,
    series: &'a [(&'a Key, &'a Series)],
}

#[derive(Deserialize)]
struct Page {
    kinds: Kinds,
    series: Vec<(Key, Series)>,
}

impl WorkSeries {
    /// Writes all series.
    ///
    /// # Errors
    /// Those of `to`.
    pub(in crate::stats) fn save(
        &self,
        settings: &Settings,
        to: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let kinds = kinds(settings);
        let all: Vec<_> = self.series.iter().collect();
        for series in all.chunks(PAGE) {
            to.put(Part::WorkSeries, &PageRef { kinds, series })?;
        }
        Ok(())
    }

    /// Reads series that [`WorkSeries::save`] wrote. Series of other settings start again.
    ///
    /// # Errors
    /// If they can't be read.
    pub(in crate::stats) fn load(
        &mut self,
        settings: &Settings,
        content: &[u8],
    ) -> Result<(), Error> {
        let page: Page = read(content)?;
        if page.kinds == kinds(settings) {
            for (key, _) in page.series.iter().filter(|(key, _)| !key.is_overflow) {
                *self.live.entry(key.what).or_default() += 1;
            }
            self.series.extend(page.series);
        }
        Ok(())
    }
}

fn kinds(settings: &Settings) -> Kinds {
    [
        settings.level >= Level::Room,
        settings.temporality == Temporality::Delta,
        settings.histograms == Histograms::Exponential,
    ]
}
