//! The series of operations and of usage: values go in, the points of each flush come out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::what::{Kind, What};
use crate::facts::Labels;
use crate::stats::histogram::{Histogram, Histograms, Points};
use crate::stats::points::{FlushInterval, NodeSeries, histogram_points, number_points, seconds};
use crate::stats::settings::{Level, Settings};
use livekit_otel_model::event::{RoomName, RoomSid, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Metric, Number, NumberPoint, Temporality};

// A room's series ends after so long without a change, as those of its streams do.
const IDLE: Duration = Duration::from_mins(5);
// Any other ends after so long: trunks and agents come and go.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// The room of a usage, and its name, if they are known.
pub(super) type Of<'a> = (Option<&'a RoomSid>, Option<&'a RoomName>);

/// All series of operations and of usage.
#[derive(Debug, Default)]
pub(in crate::stats) struct WorkSeries {
    pub(super) series: BTreeMap<Key, Series>,
    // How many each metric has, without its overflow series.
    pub(super) live: BTreeMap<What, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) what: What,
    room: Option<RoomSid>,
    labels: Labels,
    /// Whether it is of everything that has no series of its own.
    pub(super) is_overflow: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    of: NodeSeries<Total>,
    has_changed: bool,
    // When it was flushed with a change, if it was.
    last: Option<Time>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Total {
    Open(u64),
    // Added up without rounding, so that the order makes no difference.
    Time(Duration),
    Durations(Histogram),
}

impl WorkSeries {
    /// Adds a duration to a sum that is counted by room, if rooms have series.
    pub(super) fn add_time(
        &mut self,
        settings: &Settings,
        what: What,
        (room, name): Of<'_>,
        labels: Labels,
        took: Duration,
    ) {
        let of_room = settings.level >= Level::Room;
        let room = room.filter(|_| of_room).cloned();
        let name = name.filter(|_| of_room && settings.names);
        let name = name.map(|name| Attribute::new(key::ROOM_NAME, name.shared()));
        let key = Key { what, room, labels, is_overflow: false };
        if let Total::Time(sum) = self.total(settings, key, name) {
            *sum = sum.saturating_add(took);
        }
    }

    /// Records a duration.
    pub(super) fn took(&mut self, settings: &Settings, what: What, labels: Labels, took: Duration) {
        let key = Key { what, room: None, labels, is_overflow: false };
        if let Total::Durations(histogram) = self.total(settings, key, None) {
            histogram.record(seconds(took));
        }
    }

    /// Sets all counts of what is open to 0.
    pub(super) fn close(&mut self) {
        for series in self.series.values_mut() {
            if let Total::Open(count) = &mut series.of.value {
                *count = 0;
            }
        }
    }

    /// Adds to what is open at this flush.
    pub(super) fn open(&mut self, settings: &Settings, what: What, labels: Labels, more: u64) {
        let key = Key { what, room: None, labels, is_overflow: false };
        if let Total::Open(count) = self.total(settings, key, None) {
            *count += more;
        }
    }

    // The series, created if necessary, which now changes.
    fn total(&mut self, settings: &Settings, mut key: Key, name: Option<Attribute>) -> &mut Total {
        let mut name = name;
        let live = self.live.entry(key.what).or_default();
        if *live >= settings.cardinality_limit && !self.series.contains_key(&key) {
            let (room, labels) = (None, Labels::default());
            key = Key { room, labels, is_overflow: true, ..key };
            name = None;
        }
        let series = self.series.entry(key).or_insert_with_key(|key| {
            *live += usize::from(!key.is_overflow);
            let total = Total::new(key.what, settings.histograms);
            let of = NodeSeries::new(key.attributes(name), total);
            Series { of, has_changed: false, last: None }
        });
        series.has_changed = true;
        &mut series.of.value
    }

    /// Passes the points of a flush to `to`.
    pub(super) fn points(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let mut all: BTreeMap<What, Gathered> = BTreeMap::new();
        self.live.clear();
        self.series.retain(|key, series| {
            let gathered = all.entry(key.what);
            let gathered = gathered.or_insert_with(|| Gathered::new(key.what, interval.histograms));
            let stays = series.flush(interval, key.room.is_some(), gathered);
            *self.live.entry(key.what).or_default() += usize::from(stays && !key.is_overflow);
            stays
        });
        let metrics = all.into_iter().map(|(what, of)| of.metric(what, interval.temporality));
        to.extend(metrics);
    }
}

impl Key {
    fn attributes(&self, name: Option<Attribute>) -> Vec<Attribute> {
        if self.is_overflow {
            return vec![Attribute::new(key::METRIC_OVERFLOW, true)];
        }
        let room = self.room.as_ref().map(|room| Attribute::new(key::ROOM_ID, room.shared()));
        room.into_iter().chain(name).chain(self.labels.attributes()).collect()
    }
}

impl Total {
    fn new(what: What, histograms: Histograms) -> Self {
        match what.kind() {
            Kind::Open => Self::Open(0),
            Kind::Time => Self::Time(Duration::ZERO),
            Kind::Durations(bounds) => Self::Durations(Histogram::new(histograms, bounds)),
        }
    }

    // Its value, if that is a number.
    fn number(&self) -> Option<Number> {
        match self {
            Self::Open(count) => Some(Number::Int(i64::try_from(*count).unwrap_or(i64::MAX))),
            Self::Time(sum) => Some(Number::Float(seconds(*sum))),
            Self::Durations(_) => None,
        }
    }

    // Begins the next interval of deltas.
    fn clear(&mut self) {
        match self {
            Self::Open(_) => {}
            Self::Time(sum) => *sum = Duration::ZERO,
            Self::Durations(histogram) => histogram.clear(),
        }
    }
}

impl Series {
    // Adds its points; `false` if it has ended.
    fn flush(&mut self, interval: FlushInterval, is_of_room: bool, to: &mut Gathered) -> bool {
        let is_count = matches!(self.of.value, Total::Open(_));
        // Counts of what is open are never deltas, as nothing else is that falls.
        let is_delta = interval.temporality == Temporality::Delta && !is_count;
        let has_changed = std::mem::take(&mut self.has_changed);
        if has_changed {
            self.last = Some(interval.now);
        }
        let idle = if is_of_room || is_delta { IDLE } else { FORGOTTEN };
        let stays = self.last.is_none_or(|last| interval.now.since(last) < idle);
        if is_delta && !has_changed {
            return stays;
        }
        let temporality = if is_count { Temporality::Cumulative } else { interval.temporality };
        let (start, opens) = self.of.open(FlushInterval { temporality, ..interval });
        let opening = (start, opens && !is_count);
        let (attributes, now) = (&self.of.attributes, interval.now);
        match (to, &mut self.of.value) {
            (Gathered::Numbers(points), _) if !stays => {
                // NO_RECORDED_VALUE, so that graphs do not continue past it.
                let (attributes, start) = (attributes.clone(), Some(start));
                points.push(NumberPoint { attributes, start, time: now, value: None });
            }
            (Gathered::Durations(points), Total::Durations(histogram)) if stays => {
                histogram_points(histogram, attributes, opening, now, points);
            }
            (Gathered::Numbers(points), total) => {
                if let Some(number) = total.number() {
                    number_points(attributes, opening, now, number, points);
                }
            }
            (Gathered::Durations(_), _) => {}
        }
        if is_delta {
            self.of.value.clear();
        }
        stays
    }
}

// The points of a metric at a flush.
enum Gathered {
    Numbers(Vec<NumberPoint>),
    Durations(Points),
}

impl Gathered {
    fn new(what: What, histograms: Histograms) -> Self {
        match what.kind() {
            Kind::Durations(bounds) => Self::Durations(Points::new(histograms, bounds)),
            Kind::Open | Kind::Time => Self::Numbers(Vec::new()),
        }
    }

    fn metric(self, what: What, temporality: Temporality) -> Metric {
        let instrument = what.instrument();
        match (self, what.kind()) {
            (Self::Numbers(points), Kind::Open) => instrument.up_down(points),
            (Self::Numbers(points), _) => instrument.counter(temporality, points),
            (Self::Durations(points), _) => instrument.histogram(temporality, points),
        }
    }
}
