//! One series: its points go in, its points of each flush come out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::amount::{Amount, Distribution};
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{
    Body, Facts, ForeignData, ForeignExemplar, ForeignHistogram, ForeignPoint,
};
use livekit_otel_model::signal::{SpanId, TraceId};

// A program repeats a request for seconds; its body is recognised for 60 s.
const COPIES: Duration = Duration::from_mins(2);
// A process whose cumulative points stay away for longer counts from its next point on.
const SILENCE: Duration = Duration::from_hours(1);
// Exemplars of a flush, the newest.
const MOST_EXEMPLARS: usize = 4;

/// Sets the trace and the span that an exemplar belongs to, by what is known of its record.
pub(crate) type Place<'a> = &'a dyn Fn(&Facts, (TraceId, SpanId)) -> (TraceId, SpanId);

/// What a metric's points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Gauge,
    Sum { is_monotonic: bool },
    Histogram,
}

/// Where a point is from, as an id: the process, the room, the job and the attributes.
pub(super) type Source = [u8; 8];

/// A point as it was uploaded.
pub(super) struct Uploaded<'a> {
    pub(super) facts: &'a Facts,
    pub(super) attributes: &'a Bytes,
    pub(super) bounds: &'a [f64],
    pub(super) exemplars: &'a [ForeignExemplar],
    pub(super) is_delta: bool,
    pub(super) start: Option<Time>,
    pub(super) time: Time,
    pub(super) amount: Amount,
}

impl<'a> Uploaded<'a> {
    pub(super) fn all(data: &'a ForeignData) -> Vec<Self> {
        match data {
            ForeignData::Gauge(points) => {
                points.iter().map(|point| Self::number(point, false)).collect()
            }
            ForeignData::Sum { is_delta, points, .. } => {
                points.iter().map(|point| Self::number(point, *is_delta)).collect()
            }
            ForeignData::Histogram { is_delta, points } => {
                points.iter().map(|point| Self::histogram(point, *is_delta)).collect()
            }
        }
    }

    fn number(point: &'a ForeignPoint, is_delta: bool) -> Self {
        let ForeignPoint { facts, attributes, start, time, value, exemplars } = point;
        let (start, time, amount) = (*start, *time, Amount::Number(*value));
        Self { facts, attributes, bounds: &[], exemplars, is_delta, start, time, amount }
    }

    fn histogram(point: &'a ForeignHistogram, is_delta: bool) -> Self {
        let ForeignHistogram { facts, attributes, start, time, bounds, exemplars, .. } = point;
        let (start, time) = (*start, *time);
        let amount = Amount::Histogram(Distribution {
            count: point.count,
            sum: point.sum,
            range: point.range,
            buckets: point.buckets.clone(),
        });
        Self { facts, attributes, bounds, exemplars, is_delta, start, time, amount }
    }
}

/// How points are added to a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    /// Whether the series is of one process: its cumulative points need no difference.
    pub(super) is_own: bool,
    /// Whether its points leave as deltas.
    pub(super) is_delta: bool,
    /// Whether one more source may be remembered.
    pub(super) has_capacity: bool,
}

/// Receives a point: its value, its start and its time, and some of its measurements.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&Amount, (Option<Time>, Time), Vec<ForeignExemplar>);

/// The last point of a source.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    start: Option<Time>,
    time: Time,
    received: Time,
    // Of a cumulative point that counts by its difference.
    amount: Option<Box<Amount>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    facts: Facts,
    context: Option<(TraceId, SpanId)>,
    bytes: Bytes,
}

/// The state of a series.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    description: Arc<str>,
    // Since the start, or the last flush if it leaves as deltas.
    total: Amount,
    start: Option<Time>,
    // The times of its last point, if `total` is that point.
    as_sent: Option<(Option<Time>, Time)>,
    has_changed: bool,
    last: Time,
    // In the order of the ids.
    sources: Vec<(Source, Last)>,
    exemplars: Vec<Kept>,
}

impl Series {
    pub(super) fn new(description: Arc<str>, point: &Uploaded<'_>, now: Time) -> Self {
        Self {
            description,
            total: point.amount.zero(),
            start: None,
            as_sent: None,
            has_changed: false,
            last: now,
            sources: Vec::new(),
            exemplars: Vec::new(),
        }
    }

    /// What its metric measures.
    pub(super) fn description(&self) -> &Arc<str> {
        &self.description
    }

    /// How many sources are remembered.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// When its last point was received.
    pub(super) fn last(&self) -> Time {
        self.last
    }

    /// Whether the next points depend on it, even if none come for long.
    pub(super) fn counts(&self, rule: Rule) -> bool {
        self.as_sent.is_none() && !rule.is_delta
    }

    /// Adds a point that was received at `now`. Returns whether it is a copy.
    pub(super) fn add(
        &mut self,
        point: &Uploaded<'_>,
        source: Source,
        rule: Rule,
        now: Time,
    ) -> bool {
        self.last = self.last.max(now);
        let is_copy = match rule.kind {
            Kind::Gauge => self.replace(point),
            _ => self.count(point, source, rule, now),
        };
        if !is_copy {
            self.has_changed = true;
            self.keep_exemplars(point);
        }
        is_copy
    }

    // The newest value stays, if points of several processes share the series.
    fn replace(&mut self, point: &Uploaded<'_>) -> bool {
        let before = self.as_sent.map(|(_, time)| time);
        if before.is_none_or(|before| before < point.time) {
            self.as_sent = Some((point.start, point.time));
            self.total = point.amount.clone();
        }
        before == Some(point.time) && self.total == point.amount
    }

    fn count(&mut self, point: &Uploaded<'_>, source: Source, rule: Rule, now: Time) -> bool {
        let place = self.sources.binary_search_by_key(&source, |(source, _)| *source);
        let before = place.ok().map(|place| &self.sources[place].1);
        let is_copy = |last: &Last| {
            let is_again = last.start == point.start && last.time == point.time;
            is_again || (!point.is_delta && last.start == point.start && point.time < last.time)
        };
        if before.is_some_and(is_copy) {
            return true;
        }
        let is_whole = !point.is_delta && rule.is_own && !rule.is_delta;
        if point.is_delta {
            self.total.add(&point.amount);
        } else if is_whole {
            self.total = point.amount.clone();
        } else if let Some(more) = increase(before, point, rule, now) {
            self.total.add(&more);
        }
        self.as_sent = is_whole.then_some((point.start, point.time));
        if rule.has_capacity || before.is_some() {
            let counts = !point.is_delta && !is_whole;
            let amount = counts.then(|| Box::new(point.amount.clone()));
            let last = Last { start: point.start, time: point.time, received: now, amount };
            match place {
                Ok(place) => self.sources[place].1 = last,
                Err(place) => self.sources.insert(place, (source, last)),
            }
        }
        false
    }

    fn keep_exemplars(&mut self, point: &Uploaded<'_>) {
        for exemplar in point.exemplars.iter().rev().take(MOST_EXEMPLARS).rev() {
            if self.exemplars.len() == MOST_EXEMPLARS {
                self.exemplars.remove(0);
            }
            // Whether the job's content may leave is not known here, so it does not.
            let body = &exemplar.body;
            let bytes = body.redacted.as_ref().unwrap_or(&body.sent).clone();
            let (facts, context) = (point.facts.clone(), exemplar.context);
            self.exemplars.push(Kept { facts, context, bytes });
        }
    }

    /// Passes the points of a flush to `to`. `since` is the time of the flush before.
    pub(super) fn flush(
        &mut self,
        rule: Rule,
        (since, now): (Time, Time),
        place: Place<'_>,
        to: Emit<'_>,
    ) {
        let has_changed = std::mem::take(&mut self.has_changed);
        let exemplars =
            std::mem::take(&mut self.exemplars).into_iter().map(|kept| ForeignExemplar {
                context: kept.context.map(|context| place(&kept.facts, context)),
                body: Body { sent: kept.bytes, redacted: None },
            });
        let exemplars: Vec<_> = exemplars.collect();
        if let Some((start, time)) = self.as_sent {
            if has_changed {
                to(&self.total, (start, time), exemplars);
            }
        } else if rule.is_delta {
            if has_changed {
                to(&self.total, (Some(since), now), exemplars);
                self.total = self.total.zero();
            }
        } else {
            let start = *self.start.get_or_insert_with(|| {
                // Without a point of 0, Prometheus' `rate()` would miss a short call.
                to(&self.total.zero(), (Some(since), since), Vec::new());
                since
            });
            to(&self.total, (Some(start), now), exemplars);
        }
        self.forget_sources(rule, now);
    }

    fn forget_sources(&mut self, rule: Rule, now: Time) {
        let mut gone = Vec::new();
        self.sources.retain_mut(|(_, last)| {
            let memory = if last.amount.is_some() { SILENCE } else { COPIES };
            let is_known = now.since(last.received) < memory;
            if !is_known {
                gone.extend(last.amount.take());
            }
            is_known
        });
        // A sum that can fall is that of the processes that there are.
        if rule.kind == (Kind::Sum { is_monotonic: false }) {
            for amount in gone {
                self.total = self.total.change(&amount);
            }
        }
    }
}

// By how much a cumulative point raises the total; `None` where that is not known.
fn increase(before: Option<&Last>, point: &Uploaded<'_>, rule: Rule, now: Time) -> Option<Amount> {
    let amount = &point.amount;
    let is_monotonic = rule.kind != (Kind::Sum { is_monotonic: false });
    let known = before.and_then(|last| Some((last.start, last.amount.as_deref()?)));
    let more = match known {
        Some((_, before)) if !is_monotonic => amount.change(before),
        Some((start, before)) if start == point.start => {
            amount.since(before).unwrap_or_else(|| amount.clone())
        }
        // The process counts from 0 again.
        Some(_) => amount.clone(),
        None => {
            let is_new = point.start.is_some_and(|start| now.since(start) < SILENCE);
            if is_monotonic && !is_new {
                return None;
            }
            amount.clone()
        }
    };
    Some(if rule.is_delta { more.without_range() } else { more })
}

/// Where a flush's points go.
pub(super) enum Points {
    Numbers(Vec<ForeignPoint>),
    Histograms(Vec<ForeignHistogram>),
}

impl Points {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Histogram => Self::Histograms(Vec::new()),
            _ => Self::Numbers(Vec::new()),
        }
    }

    pub(super) fn push(
        &mut self,
        (facts, attributes, bounds): (&Facts, &Bytes, &Arc<[f64]>),
        amount: &Amount,
        (start, time): (Option<Time>, Time),
        exemplars: Vec<ForeignExemplar>,
    ) {
        let (facts, attributes) = (facts.clone(), attributes.clone());
        match (self, amount) {
            (Self::Numbers(points), Amount::Number(value)) => {
                let value = *value;
                points.push(ForeignPoint { facts, attributes, start, time, value, exemplars });
            }
            (Self::Histograms(points), Amount::Histogram(of)) => points.push(ForeignHistogram {
                facts,
                attributes,
                start,
                time,
                count: of.count,
                sum: of.sum,
                range: of.range,
                bounds: Arc::clone(bounds),
                buckets: of.buckets.clone(),
                exemplars,
            }),
            _ => {}
        }
    }

    /// The data of a metric; `None` without points.
    pub(super) fn data(self, kind: Kind, is_delta: bool) -> Option<ForeignData> {
        let data = match self {
            Self::Numbers(points) if points.is_empty() => return None,
            Self::Histograms(points) if points.is_empty() => return None,
            Self::Histograms(points) => ForeignData::Histogram { is_delta, points },
            Self::Numbers(points) => match kind {
                Kind::Sum { is_monotonic } => ForeignData::Sum { is_monotonic, is_delta, points },
                _ => ForeignData::Gauge(points),
            },
        };
        Some(data)
    }
}
