//! A distribution over explicit buckets.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Time;
use crate::signal::{HistogramPoint, Series};

/// Seconds, for what takes from milliseconds to a day.
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

// Under its own word, as serde takes a reference for one that is borrowed.
type Bounds = &'static [f64];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Histogram {
    #[serde(serialize_with = "write_bounds", deserialize_with = "read_bounds")]
    bounds: Bounds,
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    range: Option<(f64, f64)>,
}

// In a snapshot bounds are known by how many they are.
#[allow(clippy::ptr_arg, clippy::trivially_copy_pass_by_ref)] // serde gives it so
fn write_bounds<S: Serializer>(bounds: &&'static [f64], to: S) -> Result<S::Ok, S::Error> {
    bounds.len().serialize(to)
}

fn read_bounds<'de, D: Deserializer<'de>>(from: D) -> Result<&'static [f64], D::Error> {
    let count = usize::deserialize(from)?;
    let mut all = [DURATION_BOUNDS, LATENCY_BOUNDS, RATIO_BOUNDS, SCORE_BOUNDS].into_iter();
    all.find(|bounds| bounds.len() == count)
        .ok_or_else(|| serde::de::Error::custom("no histogram has so many bounds"))
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], count: 0, sum: 0.0, range: None }
    }

    pub(super) fn record(&mut self, value: f64) {
        // OTLP: a bound belongs to the bucket below it.
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += value;
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
    }

    pub(super) fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
        self.sum = 0.0;
        self.range = None;
    }

    /// Adds another of the same bounds.
    pub(super) fn merge(&mut self, more: &Self) {
        for (bucket, count) in self.buckets.iter_mut().zip(&more.buckets) {
            *bucket += count;
        }
        self.count += more.count;
        self.sum += more.sum;
        self.range = match (self.range, more.range) {
            (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
            (range, other) => range.or(other),
        };
    }

    pub(super) fn point(&self, attributes: &Series, start: Time, time: Time) -> HistogramPoint {
        HistogramPoint {
            attributes: attributes.clone(),
            start,
            time,
            count: self.count,
            sum: self.sum,
            range: self.range,
            buckets: self.buckets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it_and_one_past_all_in_the_last_bucket() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            histogram.record(value);
        }
        assert_eq!(histogram.buckets, [2, 2, 1]);
        assert_eq!((histogram.count, histogram.range), (5, Some((0.5, 9.0))));
    }
}
