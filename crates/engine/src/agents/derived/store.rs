//! The series of derived metrics: values go in, the points of each flush come out.

mod saved;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{Labels, Total, Uploaded, What};
use crate::agents::metrics::IDLE;
use crate::stats::{
    ExemplarOrigin, FlushInterval, Histograms, Level, NodeSeries, Points, Settings, TURN_BOUNDS,
    histogram_points, number_points,
};
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{
    Attribute, Metric, Number, NumberPoint, SpanId, Temporality, TraceId,
};

// A series without ids ends after so long without a value: uploads choose its labels.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// The series of all derived metrics.
#[derive(Debug)]
pub(in crate::agents) struct Derived {
    level: Level,
    limit: usize,
    temporality: Temporality,
    histograms: Histograms,
    series: BTreeMap<Key, Series>,
    // Without overflow series, of which each metric has at most one.
    live: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    what: What,
    room: Option<RoomSid>,
    job: Option<Arc<str>>,
    labels: Labels,
}

#[derive(Debug, Serialize, Deserialize)]
struct Series {
    of: NodeSeries<Total>,
    has_changed: bool,
    last: Time,
}

/// A value of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) what: What,
    pub(super) amount: f64,
    /// When it was measured.
    pub(super) time: Time,
    /// The span of it, in its trace.
    pub(super) span: Option<(TraceId, SpanId)>,
}

impl Value {
    /// One job.
    pub(super) fn job(time: Time) -> Self {
        Self { what: What::Jobs, amount: 1.0, time, span: None }
    }
}

impl Derived {
    /// Without series.
    pub(in crate::agents) fn new(settings: &Settings) -> Self {
        Self {
            level: settings.level,
            limit: settings.cardinality_limit,
            temporality: settings.temporality,
            histograms: settings.histograms,
            series: BTreeMap::new(),
            live: 0,
        }
    }

    /// Adds a value that became known at `now`. A known series costs no allocation: its key shares its texts.
    pub(super) fn add(
        &mut self,
        (room, job): (&RoomSid, Option<&Arc<str>>),
        value: &Value,
        labels: Labels,
        now: Time,
    ) {
        let mut key = Key {
            what: value.what,
            room: (self.level >= Level::Room).then(|| room.clone()),
            job: job.filter(|_| self.level >= Level::Participant).cloned(),
            labels,
        };
        if self.live >= self.limit && !self.series.contains_key(&key) {
            key = Key { what: value.what, room: None, job: None, labels: Labels::Overflow };
        }
        let (live, histograms) = (&mut self.live, self.histograms);
        let series = match self.series.get_mut(&key) {
            Some(series) => series,
            None => {
                *live += usize::from(key.labels != Labels::Overflow);
                let series = Series::new(&key, histograms, now);
                self.series.entry(key).or_insert(series)
            }
        };
        series.add(value, now);
    }

    /// Counts a job of which no record came.
    pub(in crate::agents) fn count_absent(
        &mut self,
        room: &RoomSid,
        job: Option<&Arc<str>>,
        now: Time,
    ) {
        let labels = Labels::Job { uploaded: Uploaded::None, close_reason: None, error: None };
        self.add((room, job), &Value::job(now), labels, now);
    }

    /// Passes the points of a flush at `now` to `out`. `since` is the time of the flush before.
    pub(in crate::agents) fn flush(&mut self, (since, now): (Time, Time), out: &mut Vec<Metric>) {
        let Self { temporality, histograms, .. } = *self;
        let interval = FlushInterval { since, now, temporality, histograms };
        let mut all: BTreeMap<What, Gathered> = BTreeMap::new();
        let mut live = 0;
        self.series.retain(|key, series| {
            let of = all.entry(key.what).or_insert_with(|| Gathered::new(key.what, histograms));
            series.flush(interval, of);
            let has_id = key.room.is_some() || temporality == Temporality::Delta;
            let stays = now.since(series.last) < if has_id { IDLE } else { FORGOTTEN };
            live += usize::from(stays && key.labels != Labels::Overflow);
            stays
        });
        self.live = live;
        let metrics = all.into_iter().map(|(what, of)| of.metric(what, temporality));
        out.extend(metrics.filter(|metric| !metric.data.is_empty()));
    }
}

impl Key {
    fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = Vec::with_capacity(6);
        let room = self.room.as_ref().map(|room| Attribute::new(key::ROOM_ID, room.shared()));
        let job = self.job.as_ref().map(|job| Attribute::new(key::JOB_ID, Arc::clone(job)));
        attributes.extend(room.into_iter().chain(job));
        self.labels.add_to(&mut attributes);
        attributes
    }
}

impl Series {
    fn new(key: &Key, histograms: Histograms, now: Time) -> Self {
        let of = NodeSeries::new(key.attributes(), key.what.zero(histograms));
        Self { of, has_changed: false, last: now }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count, below 2^53"
    )]
    fn add(&mut self, value: &Value, now: Time) {
        self.has_changed = true;
        self.last = self.last.max(now);
        match &mut self.of.value {
            Total::Count(count) => *count = count.saturating_add(value.amount as u64),
            Total::Amount(amount) => *amount += value.amount,
            Total::Histogram(histogram) => match value.span {
                Some((trace, span)) => {
                    let origin = ExemplarOrigin::Span(trace, span);
                    histogram.record_of(value.amount, Some(value.time), &origin);
                }
                None => histogram.record(value.amount),
            },
        }
    }

    fn flush(&mut self, interval: FlushInterval, to: &mut Gathered) {
        let is_delta = interval.temporality == Temporality::Delta;
        if is_delta && !std::mem::take(&mut self.has_changed) {
            return;
        }
        let opening = self.of.open(interval);
        let (attributes, now) = (&self.of.attributes, interval.now);
        let number = |to: &mut Gathered, sum| {
            if let Gathered::Numbers(points) = to {
                number_points(attributes, opening, now, sum, points);
            }
        };
        match &mut self.of.value {
            Total::Count(count) => {
                number(to, Number::Int(i64::try_from(*count).unwrap_or(i64::MAX)));
                *count = if is_delta { 0 } else { *count };
            }
            Total::Amount(amount) => {
                number(to, Number::Float(*amount));
                *amount = if is_delta { 0.0 } else { *amount };
            }
            Total::Histogram(histogram) => {
                if let Gathered::Histograms(points) = to {
                    histogram_points(histogram, attributes, opening, now, points);
                }
                if is_delta {
                    histogram.clear();
                }
            }
        }
    }
}

// The points of a metric at a flush.
enum Gathered {
    Numbers(Vec<NumberPoint>),
    Histograms(Points),
}

impl Gathered {
    fn new(what: What, histograms: Histograms) -> Self {
        match what.zero(histograms) {
            Total::Histogram(_) => Self::Histograms(Points::new(histograms, TURN_BOUNDS)),
            _ => Self::Numbers(Vec::new()),
        }
    }

    fn metric(self, what: What, temporality: Temporality) -> Metric {
        match self {
            Self::Numbers(points) => what.instrument().counter(temporality, points),
            Self::Histograms(points) => what.instrument().histogram(temporality, points),
        }
    }
}
