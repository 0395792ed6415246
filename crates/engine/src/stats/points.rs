//! How series become points.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Histograms, Points};
use livekit_otel_model::event::Time;
use livekit_otel_model::signal::{
    Attribute, Data, Metric, Number, NumberPoint, Series, Temporality,
};

/// As they leave, rounded once: `as_secs_f64` adds two parts.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// The time between two flushes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) since: Time,
    pub(super) now: Time,
    pub(super) temporality: Temporality,
    pub(super) histograms: Histograms,
}

/// A name, a unit and a sentence.
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

/// A series of the node: there from its first value on, its points at the flush.
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

    /// When the points of this flush begin, and whether a zero point has to open the series:
    /// without one, a rate() over a short call sees nothing.
    pub(super) fn open(&mut self, window: Window) -> (Time, bool) {
        let opens = self.start.is_none() && window.temporality == Temporality::Cumulative;
        let start = match window.temporality {
            Temporality::Cumulative => *self.start.get_or_insert(window.since),
            Temporality::Delta => window.since,
        };
        (start, opens)
    }
}

/// A count's points: the zero that opens it, and its value.
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

/// A distribution's points: the empty one that opens it, and its value. Its exemplars begin anew.
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
