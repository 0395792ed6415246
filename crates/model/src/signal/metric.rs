//! Metric points, by instrument ([`Metric`]) or by series ([`Table`]).

use serde::{Deserialize, Serialize};

use super::attribute::Series;
use super::span::{SpanId, TraceId};
use crate::counts::Counter;
use crate::event::Time;

/// Whether sums and histograms begin at the start of their series or at the previous flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Temporality {
    #[default]
    Cumulative,
    Delta,
}

/// One instrument's points of one flush.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name (see [`crate::semconv::metric`]).
    pub name: &'static str,
    /// Its UCUM unit.
    pub unit: &'static str,
    /// What it measures, in a sentence.
    pub description: &'static str,
    /// Its points.
    pub data: Data,
}

/// A metric's points, by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// The last value.
    Gauge(Vec<NumberPoint>),
    /// Sums; not monotonic if they can fall.
    Sum {
        /// Whether the sum never falls.
        monotonic: bool,
        /// Whether its points are cumulative.
        temporality: Temporality,
        /// Its points.
        points: Vec<NumberPoint>,
    },
    /// Distributions over explicit buckets.
    Histogram {
        /// Whether its points are cumulative.
        temporality: Temporality,
        /// The buckets' upper bounds, inclusive, rising.
        bounds: &'static [f64],
        /// Its points.
        points: Vec<HistogramPoint>,
    },
    /// Distributions over exponential buckets.
    Exponential {
        /// Whether its points are cumulative.
        temporality: Temporality,
        /// Its points.
        points: Vec<ExponentialPoint>,
    },
}

impl Data {
    /// The series of its points.
    pub fn series(&self) -> Vec<&Series> {
        match self {
            Self::Gauge(points) | Self::Sum { points, .. } => {
                points.iter().map(|point| &point.attributes).collect()
            }
            Self::Histogram { points, .. } => {
                points.iter().map(|point| &point.attributes).collect()
            }
            Self::Exponential { points, .. } => {
                points.iter().map(|point| &point.attributes).collect()
            }
        }
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Gauge(points) | Self::Sum { points, .. } => points.is_empty(),
            Self::Histogram { points, .. } => points.is_empty(),
            Self::Exponential { points, .. } => points.is_empty(),
        }
    }
}

/// A value of a series at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberPoint {
    /// The series.
    pub attributes: Series,
    /// When the sum began; gauges have none.
    pub start: Option<Time>,
    /// When it was measured.
    pub time: Time,
    /// The value; `None` is OTLP's `NO_RECORDED_VALUE`: the series has ended.
    pub value: Option<Number>,
}

/// A number point's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// A distribution of a series at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramPoint {
    /// The series.
    pub attributes: Series,
    /// When its interval began.
    pub start: Time,
    /// When it was measured.
    pub time: Time,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The lowest and the highest value, if there is any.
    pub range: Option<(f64, f64)>,
    /// How many in each bucket; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// Some of the values, with their spans.
    pub exemplars: Vec<Exemplar>,
}

/// A distribution over buckets that grow by a factor of 2^(2^-scale), of values that are not
/// negative (OpenTelemetry's base-2 exponential histogram).
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialPoint {
    /// The series.
    pub attributes: Series,
    /// When its interval began.
    pub start: Time,
    /// When it was measured.
    pub time: Time,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The lowest and the highest value, if there is any.
    pub range: Option<(f64, f64)>,
    /// The resolution of the buckets, -10 to 20.
    pub scale: i32,
    /// How many values were 0.
    pub zero_count: u64,
    /// The first bucket's index.
    pub offset: i32,
    /// How many in each bucket from there on.
    pub buckets: Vec<u64>,
    /// Some of the values, with their spans.
    pub exemplars: Vec<Exemplar>,
}

/// One value of a distribution, and the span that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    /// The value.
    pub value: f64,
    /// When it was measured.
    pub time: Time,
    /// The span, if it is known.
    pub context: Option<(TraceId, SpanId)>,
}

/// The instrument of a column of a [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name (see [`crate::semconv::metric`]).
    pub name: &'static str,
    /// Its UCUM unit.
    pub unit: &'static str,
    /// What it measures, in a sentence.
    pub description: &'static str,
}

/// Points of series that all have the same instruments: one row for each series, so that its
/// attributes and times are stored once for all of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Monotonic sums.
    pub counters: &'static [Column; Row::COUNTERS],
    /// Last values.
    pub gauges: &'static [Column; Row::GAUGES],
    /// Whether the sums are cumulative.
    pub temporality: Temporality,
    /// The series.
    pub rows: Vec<Row>,
}

/// The points of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The series.
    pub series: Series,
    /// When its sums began.
    pub start: Time,
    /// When its values were measured; `None` if it has none in this flush.
    pub time: Option<Time>,
    /// Whether each sum begins with a zero at `start`.
    pub opens: bool,
    /// The sums.
    pub counts: [u64; Self::COUNTERS],
    /// The last values, if measured.
    pub measured: [Option<f64>; Self::GAUGES],
    /// The time of the `NO_RECORDED_VALUE` that ends the series, and which gauges ever had a value.
    pub ends: Option<(Time, [bool; Self::GAUGES])>,
}

impl Row {
    /// How many sums.
    pub const COUNTERS: usize = Counter::COUNT;
    /// How many last values.
    pub const GAUGES: usize = 3;
}

impl Table {
    /// The same points by instrument.
    pub fn metrics(&self) -> Vec<Metric> {
        let of = |column: &Column, data| {
            let Column { name, unit, description } = *column;
            Metric { name, unit, description, data }
        };
        let counters = self.counters.iter().enumerate().map(|(nth, column)| {
            let points = self.rows.iter().flat_map(|row| row.sums(nth)).collect();
            of(column, Data::Sum { monotonic: true, temporality: self.temporality, points })
        });
        let gauges = self.gauges.iter().enumerate().map(|(nth, column)| {
            let points = self.rows.iter().flat_map(|row| row.gauge(nth)).collect();
            of(column, Data::Gauge(points))
        });
        counters.chain(gauges).filter(|metric| !metric.data.is_empty()).collect()
    }
}

impl Row {
    fn sums(&self, nth: usize) -> impl Iterator<Item = NumberPoint> {
        let count = i64::try_from(self.counts[nth]).unwrap_or(i64::MAX);
        let zero = self.time.filter(|_| self.opens).map(|_| (self.start, Some(Number::Int(0))));
        let value = self.time.map(|time| (time, Some(Number::Int(count))));
        let end = self.ends.map(|(time, _)| (time, None));
        let points = [zero, value, end].into_iter().flatten();
        points.map(|(time, value)| self.point(Some(self.start), time, value))
    }

    fn gauge(&self, nth: usize) -> impl Iterator<Item = NumberPoint> {
        let value = self.time.zip(self.measured[nth]);
        let value = value.map(|(time, measured)| (time, Some(Number::Float(measured))));
        let end = self.ends.filter(|(_, ever)| ever[nth]).map(|(time, _)| (time, None));
        let points = [value, end].into_iter().flatten();
        points.map(|(time, value)| self.point(None, time, value))
    }

    fn point(&self, start: Option<Time>, time: Time, value: Option<Number>) -> NumberPoint {
        NumberPoint { attributes: self.series.clone(), start, time, value }
    }
}
