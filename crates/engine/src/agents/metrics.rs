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
use livekit_otel_model::foreign::{Facts, ForeignData, ForeignExemplar, ForeignMetric, Origin};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Temporality};
use series::{Kind, Place, Points, Rule, Series, Source, Uploaded};

/// A series that has the id of a room, job or process ends this long after its last point. Programs upload every 60 s
/// at least.
pub(super) const IDLE: Duration = Duration::from_mins(5);
// Overflow series, of metrics beyond the limit of series. Beyond that points pass unchanged.
const MOST_OVERFLOWS: usize = 1000;
// Processes and jobs that are remembered, over all series.
const MOST_SOURCES: usize = 1 << 20;

/// The series of other programs' metrics.
#[derive(Debug)]
pub(crate) struct ForeignMetrics {
    level: Level,
    limit: usize,
    temporality: Temporality,
    // In one map: most metrics have few series.
    series: BTreeMap<(MetricKey, SeriesKey), Box<Series>>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applied {
    New,
    Copy,
    // A derived metric has it.
    Replaced,
    NoCapacity,
}

/// Whether points of that name and of these facts are replaced by derived ones.
pub(crate) type IsReplaced<'a> = &'a dyn Fn(&str, &Facts) -> bool;

impl ForeignMetrics {
    /// Without series.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            level: settings.level,
            limit: settings.cardinality_limit,
            temporality: settings.temporality,
            series: BTreeMap::new(),
            live: 0,
            overflows: 0,
            sources: 0,
        }
    }

    /// Applies metrics that were received at `now`; those without capacity are in `out`, unchanged. Returns how
    /// many points are copies, and how many are replaced.
    pub(crate) fn apply(
        &mut self,
        uploaded: &[ForeignMetric],
        now: Time,
        is_replaced: IsReplaced<'_>,
        out: &mut Vec<ForeignMetric>,
    ) -> (u64, u64) {
        let (mut copies, mut replaced) = (0, 0);
        for metric in uploaded {
            let of = self.metric_key(metric);
            let points = Uploaded::all(&metric.data).into_iter();
            let point = |point: Uploaded<'_>| {
                if is_replaced(&metric.name, point.facts) {
                    return Applied::Replaced;
                }
                self.point((metric, &of), &point, now)
            };
            let applied: Vec<Applied> = points.map(point).collect();
            let count = |of| applied.iter().filter(|applied| **applied == of).count() as u64;
            copies += count(Applied::Copy);
            replaced += count(Applied::Replaced);
            if applied.contains(&Applied::NoCapacity) {
                out.push(left(metric, &applied));
            }
        }
        (copies, replaced)
    }

    fn point(
        &mut self,
        (metric, of): (&ForeignMetric, &MetricKey),
        point: &Uploaded<'_>,
        now: Time,
    ) -> Applied {
        let mut key = (of.clone(), self.series_key(point));
        if self.live >= self.limit && !self.series.contains_key(&key) {
            key.0.origin = without_process(&of.origin);
            key.1 = SeriesKey::overflow(key.1.bounds);
            if self.overflows >= MOST_OVERFLOWS && !self.series.contains_key(&key) {
                return Applied::NoCapacity;
            }
        }
        let is_own = self.level >= Level::Participant && !key.1.is_overflow;
        let rule = self.rule(of.kind, is_own);
        let count = if key.1.is_overflow { &mut self.overflows } else { &mut self.live };
        let series = self.series.entry(key).or_insert_with(|| {
            *count += 1;
            Box::new(Series::new(Arc::clone(&metric.description), point, now))
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

    fn metric_key(&self, metric: &ForeignMetric) -> MetricKey {
        let origin = if self.level < Level::Participant {
            without_process(&metric.origin)
        } else {
            Arc::clone(&metric.origin)
        };
        let (name, unit) = (Arc::clone(&metric.name), Arc::clone(&metric.unit));
        MetricKey { name, unit, kind: kind(&metric.data), origin }
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
        (self.live, self.overflows, self.sources) = (0, 0, 0);
        let mut series = std::mem::take(&mut self.series);
        let mut gathered: Option<Gathered> = None;
        series.retain(|(of, key), series| {
            let rule = self.rule(of.kind, false);
            if gathered.as_ref().is_none_or(|gathered| gathered.of != *of) {
                let next = Gathered::new(of, rule, series.description());
                out.extend(gathered.replace(next).and_then(Gathered::metric));
            }
            let Some(gathered) = &mut gathered else { return true };
            let bounds = key.bounds.iter().map(|bits| f64::from_bits(*bits)).collect();
            let facts = key.facts();
            series.flush(rule, (since, now), place, &mut |amount, times, exemplars| {
                let of = (&facts, &key.attributes, &bounds);
                gathered.points.push(of, amount, times, exemplars);
            });
            let has_id = of.origin.process.is_some() || key.room.is_some() || key.job.is_some();
            let stays = !has_id && series.counts(rule) || now.since(series.last()) < IDLE;
            if stays {
                let count = if key.is_overflow { &mut self.overflows } else { &mut self.live };
                *count += 1;
                self.sources += series.sources();
            }
            stays
        });
        out.extend(gathered.and_then(Gathered::metric));
        self.series = series;
    }
}

// The points of one metric at a flush.
struct Gathered {
    of: MetricKey,
    description: Arc<str>,
    rule: Rule,
    points: Points,
}

impl Gathered {
    fn new(of: &MetricKey, rule: Rule, description: &Arc<str>) -> Self {
        let description = Arc::clone(description);
        Self { of: of.clone(), description, rule, points: Points::new(of.kind) }
    }

    fn metric(self) -> Option<ForeignMetric> {
        let MetricKey { name, unit, kind, origin } = self.of;
        let data = self.points.data(kind, self.rule.is_delta)?;
        Some(ForeignMetric { origin, name, unit, description: self.description, data })
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

// The points that found no capacity, without exemplars: what is known of their job may change until a flush.
fn left(metric: &ForeignMetric, applied: &[Applied]) -> ForeignMetric {
    let mut left = metric.clone();
    let mut applied = applied.iter();
    let mut is_left = |exemplars: &mut Vec<ForeignExemplar>| {
        exemplars.clear();
        applied.next() == Some(&Applied::NoCapacity)
    };
    match &mut left.data {
        ForeignData::Gauge(points) | ForeignData::Sum { points, .. } => {
            points.retain_mut(|point| is_left(&mut point.exemplars));
        }
        ForeignData::Histogram { points, .. } => {
            points.retain_mut(|point| is_left(&mut point.exemplars));
        }
    }
    left
}

fn without_process(origin: &Arc<Origin>) -> Arc<Origin> {
    match origin.process {
        Some(_) => Arc::new(Origin { process: None, ..(**origin).clone() }),
        None => Arc::clone(origin),
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
