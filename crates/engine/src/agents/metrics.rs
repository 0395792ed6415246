//! Metrics of other programs, series by series. Sums and histograms leave with each flush, as `stats.level` and the
//! temporality preference want them:
//!
//! - At the level of nodes, rooms, jobs and processes share series. At the level of rooms each room has its own. At
//!   finer levels nothing is dropped.
//! - Delta points are added up. A cumulative point counts by its difference from the one before of its process, and
//!   replaces that if the series is the process's own.
//! - Gauges keep the last value.
//!
//! A point's attributes are opaque here: encoded, in the order of their keys, and compared as bytes.

mod amount;
mod saved;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids;
use crate::stats::{Level, Settings};
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::foreign::{Facts, ForeignData, ForeignMetric, Origin};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, SpanId, Temporality, TraceId};
use series::{Points, Rule, Series, Source, Uploaded};

// A series that has the id of a room, job or process ends this long after its last point. Programs upload every 60 s
// at least.
const IDLE: Duration = Duration::from_mins(5);
// Overflow series, of metrics beyond the limit of series. Beyond that points pass unchanged.
const MOST_OVERFLOWS: usize = 1000;
// Processes and jobs that are remembered, over all series.
const MOST_SOURCES: usize = 1 << 20;

/// Sets the trace and the span that an exemplar belongs to, by what is known of its record.
pub(crate) type Place<'a> = &'a dyn Fn(&Facts, (TraceId, SpanId)) -> (TraceId, SpanId);

/// The series of other programs' metrics.
#[derive(Debug)]
pub(crate) struct ForeignMetrics {
    level: Level,
    limit: usize,
    temporality: Temporality,
    metrics: BTreeMap<MetricKey, Metric>,
    // Without overflow series.
    live: usize,
    overflows: usize,
    sources: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct MetricKey {
    name: Arc<str>,
    unit: Arc<str>,
    kind: Kind,
    origin: Arc<Origin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    Gauge,
    Sum { is_monotonic: bool },
    Histogram,
}

#[derive(Debug)]
struct Metric {
    description: Arc<str>,
    series: BTreeMap<SeriesKey, Series>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SeriesKey {
    room: Option<RoomSid>,
    job: Option<Arc<str>>,
    // Everything beyond the limit of series.
    is_overflow: bool,
    // The bits of a histogram's bounds: counts of other buckets can't be added.
    bounds: Vec<u64>,
    attributes: Bytes,
}

enum Applied {
    New,
    Copy,
    NoCapacity,
}

impl ForeignMetrics {
    /// Without series.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            level: settings.level,
            limit: settings.cardinality_limit,
            temporality: settings.temporality,
            metrics: BTreeMap::new(),
            live: 0,
            overflows: 0,
            sources: 0,
        }
    }

    /// Applies metrics that were received at `now`; those without capacity are in `out`, unchanged. Returns how many
    /// points are copies.
    pub(crate) fn apply(
        &mut self,
        uploaded: &[ForeignMetric],
        now: Time,
        out: &mut Vec<ForeignMetric>,
    ) -> u64 {
        let mut copies = 0;
        for metric in uploaded {
            let mut left = metric.clone();
            let count;
            let mut applied = Uploaded::all(&metric.data).into_iter().map(|point| {
                let applied = self.point(metric, &point, now);
                copies += u64::from(matches!(applied, Applied::Copy));
                matches!(applied, Applied::NoCapacity)
            });
            // What is known of an exemplar's job may change until a flush.
            match &mut left.data {
                ForeignData::Gauge(points) | ForeignData::Sum { points, .. } => {
                    points.iter_mut().for_each(|point| point.exemplars.clear());
                    points.retain(|_| applied.next() == Some(true));
                    count = points.len();
                }
                ForeignData::Histogram { points, .. } => {
                    points.iter_mut().for_each(|point| point.exemplars.clear());
                    points.retain(|_| applied.next() == Some(true));
                    count = points.len();
                }
            }
            if count > 0 {
                out.push(left);
            }
        }
        copies
    }

    fn point(&mut self, metric: &ForeignMetric, point: &Uploaded<'_>, now: Time) -> Applied {
        let kind = kind(&metric.data);
        let (mut of, mut key) = (self.metric_key(metric, kind), self.series_key(point));
        let is_known = self.metrics.get(&of).is_some_and(|of| of.series.contains_key(&key));
        if !is_known && self.live >= self.limit {
            let origin = Origin { process: None, ..(*of.origin).clone() };
            of.origin = Arc::new(origin);
            key = SeriesKey::overflow(key.bounds);
            let is_known = self.metrics.get(&of).is_some_and(|of| of.series.contains_key(&key));
            if !is_known && self.overflows >= MOST_OVERFLOWS {
                return Applied::NoCapacity;
            }
        }
        let is_own = self.level >= Level::Participant && !key.is_overflow;
        let rule = self.rule(kind, is_own);
        let is_overflow = key.is_overflow;
        let description = &metric.description;
        let metrics = self.metrics.entry(of).or_insert_with(|| Metric {
            description: Arc::clone(description),
            series: BTreeMap::new(),
        });
        let series = metrics.series.entry(key).or_insert_with(|| {
            let count = if is_overflow { &mut self.overflows } else { &mut self.live };
            *count += 1;
            Series::new(point, now)
        });
        let before = series.sources();
        let is_copy = series.add(point, source(metric, point), rule, now);
        self.sources += series.sources() - before;
        if is_copy { Applied::Copy } else { Applied::New }
    }

    fn rule(&self, kind: Kind, is_own: bool) -> Rule {
        let can_be_delta = matches!(kind, Kind::Sum { is_monotonic: true } | Kind::Histogram);
        Rule {
            kind,
            is_own,
            is_delta: can_be_delta && self.temporality == Temporality::Delta,
            has_capacity: self.sources < MOST_SOURCES,
        }
    }

    fn metric_key(&self, metric: &ForeignMetric, kind: Kind) -> MetricKey {
        let is_dropped = self.level < Level::Participant && metric.origin.process.is_some();
        let origin = if is_dropped {
            Arc::new(Origin { process: None, ..(*metric.origin).clone() })
        } else {
            Arc::clone(&metric.origin)
        };
        let (name, unit) = (Arc::clone(&metric.name), Arc::clone(&metric.unit));
        MetricKey { name, unit, kind, origin }
    }

    fn series_key(&self, point: &Uploaded<'_>) -> SeriesKey {
        let Facts { room, job, .. } = point.facts;
        SeriesKey {
            room: room.clone().filter(|_| self.level >= Level::Room),
            job: job.clone().filter(|_| self.level >= Level::Participant),
            is_overflow: false,
            bounds: point.bounds.iter().map(|bound| bound.to_bits()).collect(),
            attributes: point.attributes.clone(),
        }
    }

    /// Passes the points of a flush at `now` to `out`, in the order of their metrics. `since` is the time of the
    /// flush before.
    pub(crate) fn flush(
        &mut self,
        (since, now): (Time, Time),
        place: Place<'_>,
        out: &mut Vec<ForeignMetric>,
    ) {
        let mut metrics = std::mem::take(&mut self.metrics);
        (self.live, self.overflows, self.sources) = (0, 0, 0);
        metrics.retain(|of, metric| {
            let rule = self.rule(of.kind, false);
            let mut points = Points::new(of.kind);
            metric.series.retain(|key, series| {
                let bounds = key.bounds.iter().map(|bits| f64::from_bits(*bits)).collect();
                let facts = key.facts();
                series.flush(rule, (since, now), place, &mut |amount, times, exemplars| {
                    let of = (&facts, &key.attributes, &bounds);
                    points.push(of, amount, times, exemplars);
                });
                let is_node = of.origin.process.is_none() && key.room.is_none();
                let counts = is_node && key.job.is_none() && series.counts(rule);
                let stays = counts || now.since(series.last()) < IDLE;
                if stays {
                    let count = if key.is_overflow { &mut self.overflows } else { &mut self.live };
                    *count += 1;
                    self.sources += series.sources();
                }
                stays
            });
            if let Some(data) = points.data(of.kind, rule.is_delta) {
                out.push(ForeignMetric {
                    origin: Arc::clone(&of.origin),
                    name: Arc::clone(&of.name),
                    unit: Arc::clone(&of.unit),
                    description: Arc::clone(&metric.description),
                    data,
                });
            }
            !metric.series.is_empty()
        });
        self.metrics = metrics;
    }
}

impl SeriesKey {
    fn overflow(bounds: Vec<u64>) -> Self {
        Self { room: None, job: None, is_overflow: true, bounds, attributes: Bytes::new() }
    }

    // The ids that its points keep.
    fn facts(&self) -> Facts {
        let overflow = self.is_overflow.then(|| Attribute::new(key::METRIC_OVERFLOW, true));
        Facts {
            room: self.room.clone(),
            job: self.job.clone(),
            attributes: overflow.into_iter().collect(),
            ..Facts::default()
        }
    }
}

fn kind(data: &ForeignData) -> Kind {
    match data {
        ForeignData::Gauge(_) => Kind::Gauge,
        ForeignData::Sum { is_monotonic, .. } => Kind::Sum { is_monotonic: *is_monotonic },
        ForeignData::Histogram { .. } => Kind::Histogram,
    }
}

// Also of a room and attributes: an overflow series has points of many.
fn source(metric: &ForeignMetric, point: &Uploaded<'_>) -> Source {
    let Facts { room, job, .. } = point.facts;
    let process = metric.origin.process.as_deref().unwrap_or_default();
    let room = room.as_ref().map(RoomSid::as_str).unwrap_or_default();
    let job = job.as_deref().unwrap_or_default();
    ids::source([process.as_bytes(), room.as_bytes(), job.as_bytes(), point.attributes])
}
