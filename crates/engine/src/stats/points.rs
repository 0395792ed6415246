//! Conversion of series to points.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Histograms, Points};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{
    Attribute, Data, Metric, Number, NumberPoint, Series, Temporality,
};

/// Seconds, rounded once: `as_secs_f64` rounds twice.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// The interval that a flush ends, and the settings of its points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlushInterval {
    pub(crate) since: Time,
    pub(crate) now: Time,
    pub(crate) temporality: Temporality,
    pub(crate) histograms: Histograms,
}

/// An instrument: its name, unit and description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instrument {
    pub(crate) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
}

impl Instrument {
    pub(crate) const fn new(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, unit, description }
    }

    pub(crate) fn counter(self, temporality: Temporality, points: Vec<NumberPoint>) -> Metric {
        self.metric(Data::Sum { monotonic: true, temporality, points })
    }

    pub(super) fn up_down(self, points: Vec<NumberPoint>) -> Metric {
        let temporality = Temporality::Cumulative;
        self.metric(Data::Sum { monotonic: false, temporality, points })
    }

    pub(super) fn gauge(self, points: Vec<NumberPoint>) -> Metric {
        self.metric(Data::Gauge(points))
    }

    pub(crate) fn histogram(self, temporality: Temporality, points: Points) -> Metric {
        self.metric(points.data(temporality))
    }

    fn metric(self, data: Data) -> Metric {
        Metric { name: self.name, unit: self.unit, description: self.description, data }
    }
}

/// A series, such as one of the node: it begins with its first value and has a point at each flush.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeSeries<T> {
    pub(crate) attributes: Series,
    pub(crate) value: T,
    start: Option<Time>,
}

impl<T> NodeSeries<T> {
    pub(crate) fn new(attributes: Vec<Attribute>, value: T) -> Self {
        Self { attributes: attributes.into(), value, start: None }
    }

    /// When the points of this flush begin, and whether a point of 0 has to open the series: without
    /// one, Prometheus' `rate()` would miss a short call.
    pub(crate) fn open(&mut self, interval: FlushInterval) -> (Time, bool) {
        let opens = self.start.is_none() && interval.temporality == Temporality::Cumulative;
        let start = match interval.temporality {
            Temporality::Cumulative => *self.start.get_or_insert(interval.since),
            Temporality::Delta => interval.since,
        };
        (start, opens)
    }
}

/// A counter's points: the zero that opens the series if needed, and its value.
pub(super) fn count_points(
    attributes: &Series,
    opening: (Time, bool),
    time: Time,
    count: u64,
    to: &mut Vec<NumberPoint>,
) {
    let count = Number::Int(i64::try_from(count).unwrap_or(i64::MAX));
    number_points(attributes, opening, time, count, to);
}

/// The same for a sum of either type.
pub(crate) fn number_points(
    attributes: &Series,
    (start, opens): (Time, bool),
    time: Time,
    sum: Number,
    to: &mut Vec<NumberPoint>,
) {
    let point = |time, sum| NumberPoint {
        attributes: attributes.clone(),
        start: Some(start),
        time,
        value: Some(sum),
    };
    if opens {
        let zero = match sum {
            Number::Int(_) => Number::Int(0),
            Number::Float(_) => Number::Float(0.0),
        };
        to.push(point(start, zero));
    }
    to.push(point(time, sum));
}

/// A histogram's points: the empty one that opens the series if needed, and its value. Drops its
/// exemplars.
pub(crate) fn histogram_points(
    histogram: &mut Histogram,
    attributes: &Series,
    (start, opens): (Time, bool),
    time: Time,
    to: &mut Points,
) {
    if opens {
        to.push(&histogram.emptied(), attributes, start, start);
    }
    to.push(histogram, attributes, start, time);
    histogram.forget_exemplars();
}
