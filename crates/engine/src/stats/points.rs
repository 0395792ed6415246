//! Conversion of series to points.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Histograms, Points};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{
    Attribute, Data, Metric, Number, NumberPoint, Series, Temporality,
};

/// Seconds, rounded once: `as_secs_f64` rounds twice.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// The interval that a flush ends, and the settings of its points.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlushInterval {
    pub(super) since: Time,
    pub(super) now: Time,
    pub(super) temporality: Temporality,
    pub(super) histograms: Histograms,
}

/// An instrument: its name, unit and description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instrument {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
}

impl Instrument {
    pub(super) const fn new(
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, unit, description }
    }

    pub(super) fn counter(self, temporality: Temporality, points: Vec<NumberPoint>) -> Metric {
        self.metric(Data::Sum { monotonic: true, temporality, points })
    }

    pub(super) fn up_down(self, points: Vec<NumberPoint>) -> Metric {
        let temporality = Temporality::Cumulative;
        self.metric(Data::Sum { monotonic: false, temporality, points })
    }

    pub(super) fn gauge(self, points: Vec<NumberPoint>) -> Metric {
        self.metric(Data::Gauge(points))
    }

    pub(super) fn histogram(self, temporality: Temporality, points: Points) -> Metric {
        self.metric(points.data(temporality))
    }

    fn metric(self, data: Data) -> Metric {
        Metric { name: self.name, unit: self.unit, description: self.description, data }
    }
}

/// A series of the node: it begins with its first value and has a point at each flush.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NodeSeries<T> {
    pub(super) attributes: Series,
    pub(super) value: T,
    start: Option<Time>,
}

impl<T> NodeSeries<T> {
    pub(super) fn new(attributes: Vec<Attribute>, value: T) -> Self {
        Self { attributes: attributes.into(), value, start: None }
    }

    /// When the points of this flush begin, and whether a point of 0 has to open the series: without
    /// one, Prometheus' `rate()` would miss a short call.
    pub(super) fn open(&mut self, interval: FlushInterval) -> (Time, bool) {
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
    (start, opens): (Time, bool),
    time: Time,
    count: u64,
    to: &mut Vec<NumberPoint>,
) {
    let point = |time, count: u64| NumberPoint {
        attributes: attributes.clone(),
        start: Some(start),
        time,
        value: Some(Number::Int(i64::try_from(count).unwrap_or(i64::MAX))),
    };
    if opens {
        to.push(point(start, 0));
    }
    to.push(point(time, count));
}

/// A histogram's points: the empty one that opens the series if needed, and its value. Drops its
/// exemplars.
pub(super) fn histogram_points(
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
