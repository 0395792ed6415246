//! Histograms over explicit or exponential buckets.

mod exponential;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::exemplar::{Exemplars, Origin};
use exponential::Exponential;
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{Data, ExponentialPoint, HistogramPoint, Series, Temporality};

/// Seconds, for durations from milliseconds to a day.
pub(super) const DURATION_BOUNDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
    14400.0, 86400.0,
];
/// Seconds, for round trips and jitter.
pub(super) const LATENCY_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 5.0];
/// Parts of 1, for packets lost and out of order.
pub(super) const RATIO_BOUNDS: &[f64] =
    &[0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0];
/// LiveKit's quality score, 1 to 5: its thresholds are 2, 4 and 4.1 (pkg/sfu/connectionquality).
pub(super) const SCORE_BOUNDS: &[f64] = &[1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.1, 4.3, 4.5];

/// Seconds, for the parts of a turn of an agent: a person notices 300 ms, and gives up after some seconds.
pub(crate) const TURN_BOUNDS: &[f64] = &[
    0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
];

/// Seconds, for what people wait for: an answer, an agent, the first frame of a recording.
pub(super) const WAIT_BOUNDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0];

/// `stats.histograms`: the buckets of histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Histograms {
    /// Buckets with documented bounds, which Prometheus stores as classic histograms.
    #[default]
    Explicit,
    /// Up to 160 base-2 exponential buckets, which Prometheus stores as native histograms.
    Exponential,
}

// An alias, as serde's derive borrows fields that are written as references.
type Bounds = &'static [f64];

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Buckets {
    Explicit(
        #[serde(serialize_with = "write_bounds", deserialize_with = "read_bounds")] Bounds,
        Vec<u64>,
    ),
    Exponential(Exponential),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Histogram {
    buckets: Buckets,
    count: u64,
    sum: f64,
    range: Option<(f64, f64)>,
    exemplars: Exemplars,
}

// In a snapshot, bounds are identified by their number.
#[allow(clippy::ptr_arg, clippy::trivially_copy_pass_by_ref)] // serde's signature
fn write_bounds<S: Serializer>(bounds: &&'static [f64], to: S) -> Result<S::Ok, S::Error> {
    bounds.len().serialize(to)
}

fn read_bounds<'de, D: Deserializer<'de>>(from: D) -> Result<&'static [f64], D::Error> {
    let count = usize::deserialize(from)?;
    let all =
        [DURATION_BOUNDS, LATENCY_BOUNDS, RATIO_BOUNDS, SCORE_BOUNDS, TURN_BOUNDS, WAIT_BOUNDS];
    all.into_iter()
        .find(|bounds| bounds.len() == count)
        .ok_or_else(|| serde::de::Error::custom("no histogram has this number of bounds"))
}

// Exponential buckets, which are many, share this number of exemplars.
const EXPONENTIAL_EXEMPLARS: usize = 16;

impl Histogram {
    /// A histogram. The memory of its exemplars grows with the buckets that have any.
    pub(crate) fn new(kind: Histograms, bounds: &'static [f64]) -> Self {
        let buckets = match kind {
            Histograms::Explicit => Buckets::Explicit(bounds, vec![0; bounds.len() + 1]),
            Histograms::Exponential => Buckets::Exponential(Exponential::default()),
        };
        Self { buckets, count: 0, sum: 0.0, range: None, exemplars: Exemplars::default() }
    }

    /// A histogram with memory for an exemplar of each bucket, so that recording allocates nothing.
    pub(super) fn with_exemplars(kind: Histograms, bounds: &'static [f64]) -> Self {
        let exemplars = Exemplars::with_capacity(match kind {
            Histograms::Explicit => bounds.len() + 1,
            Histograms::Exponential => EXPONENTIAL_EXEMPLARS,
        });
        Self { exemplars, ..Self::new(kind, bounds) }
    }

    pub(crate) fn record(&mut self, value: f64) {
        self.add(value);
    }

    /// Records a value of `origin` as a candidate for an exemplar, with the time of its measurement if that is known.
    pub(crate) fn record_of(&mut self, value: f64, time: Option<Time>, origin: &Origin<'_>) {
        let place = self.add(value);
        self.exemplars.offer(place, value, time, origin);
    }

    // Returns the index of its exemplar.
    fn add(&mut self, value: f64) -> usize {
        self.count += 1;
        self.sum += value;
        let (low, high) = self.range.get_or_insert((value, value));
        if value < *low {
            *low = value;
        }
        if value > *high {
            *high = value;
        }
        match &mut self.buckets {
            Buckets::Explicit(bounds, counts) => {
                // OTLP: a bound belongs to the bucket below it. With so few bounds, comparing all is
                // faster than a binary search, whose steps depend on each other.
                let place = bounds.iter().filter(|bound| **bound < value).count();
                counts[place] += 1;
                place
            }
            Buckets::Exponential(buckets) => {
                buckets.record(value);
                buckets.slot(value, EXPONENTIAL_EXEMPLARS)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn clear(&mut self) {
        match &mut self.buckets {
            Buckets::Explicit(_, counts) => counts.fill(0),
            Buckets::Exponential(buckets) => buckets.clear(),
        }
        self.count = 0;
        self.sum = 0.0;
        self.range = None;
        self.exemplars.clear();
    }

    /// An empty histogram of the same kind and bounds.
    pub(super) fn emptied(&self) -> Self {
        let mut empty = self.clone();
        empty.clear();
        empty
    }

    /// Drops the exemplars, which are of one interval even if the counts are cumulative.
    pub(super) fn forget_exemplars(&mut self) {
        self.exemplars.clear();
    }

    pub(super) fn exemplars(&mut self) -> &mut Exemplars {
        &mut self.exemplars
    }

    /// Adds another of the same kind and bounds.
    pub(super) fn merge(&mut self, more: &Self) {
        match (&mut self.buckets, &more.buckets) {
            (Buckets::Explicit(_, counts), Buckets::Explicit(_, more)) => {
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
            (Buckets::Exponential(buckets), Buckets::Exponential(more)) => buckets.merge(more),
            // All histograms of a process are of one kind.
            _ => return,
        }
        self.count += more.count;
        self.sum += more.sum;
        self.range = match (self.range, more.range) {
            (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
            (range, other) => range.or(other),
        };
        self.exemplars.merge(&more.exemplars);
    }
}

/// Points of histograms with the same bounds.
#[derive(Debug)]
pub(crate) enum Points {
    Explicit(Bounds, Vec<HistogramPoint>),
    Exponential(Vec<ExponentialPoint>),
}

impl Points {
    pub(crate) fn new(kind: Histograms, bounds: Bounds) -> Self {
        match kind {
            Histograms::Explicit => Self::Explicit(bounds, Vec::new()),
            Histograms::Exponential => Self::Exponential(Vec::new()),
        }
    }

    pub(super) fn push(&mut self, of: &Histogram, series: &Series, start: Time, time: Time) {
        let Histogram { count, sum, range, .. } = *of;
        let attributes = series.clone();
        let exemplars = of.exemplars.at_flush(time);
        match (self, &of.buckets) {
            (Self::Explicit(_, points), Buckets::Explicit(_, counts)) => {
                let buckets = counts.clone();
                let point = HistogramPoint {
                    attributes,
                    start,
                    time,
                    count,
                    sum,
                    range,
                    buckets,
                    exemplars,
                };
                points.push(point);
            }
            (Self::Exponential(points), Buckets::Exponential(counts)) => {
                let (scale, zero_count, offset, buckets) = counts.parts();
                points.push(ExponentialPoint {
                    attributes,
                    start,
                    time,
                    count,
                    sum,
                    range,
                    scale,
                    zero_count,
                    offset,
                    buckets,
                    exemplars,
                });
            }
            // Of another kind only in a snapshot from before the setting was changed.
            _ => {}
        }
    }

    pub(super) fn data(self, temporality: Temporality) -> Data {
        match self {
            Self::Explicit(bounds, points) => Data::Histogram { temporality, bounds, points },
            Self::Exponential(points) => Data::Exponential { temporality, points },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it_and_one_past_all_in_the_last_bucket() {
        let mut histogram = Histogram::new(Histograms::Explicit, &[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            histogram.record(value);
        }
        let Buckets::Explicit(_, counts) = &histogram.buckets else { panic!("explicit") };
        assert_eq!(counts[..], [2, 2, 1]);
        assert_eq!((histogram.count, histogram.range), (5, Some((0.5, 9.0))));
    }
}
