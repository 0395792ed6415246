//! Counts of what is open, and durations of what ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{DURATION_BOUNDS, Histogram, Histograms, Points};
use super::points::{
    FlushInterval, Instrument, NodeSeries, count_points, histogram_points, seconds,
};
use crate::facts::{Census, Departure, Description, Disagreement, Fact};
use livekit_otel_model::event::{Time, TrackKind, TrackSource};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Metric, Number, NumberPoint, Temporality};

const ROOMS: Instrument =
    Instrument { name: metric::ROOM_COUNT, unit: "{room}", description: "Open rooms." };
const PARTICIPANTS: Instrument = Instrument {
    name: metric::PARTICIPANT_COUNT,
    unit: "{participant}",
    description: "Participants in open rooms.",
};
const TRACKS: Instrument =
    Instrument { name: metric::TRACK_COUNT, unit: "{track}", description: "Published tracks." };
const DISCONNECTS: Instrument = Instrument {
    name: metric::PARTICIPANT_DISCONNECTS,
    unit: "{participant}",
    description: "Participants that left; with an error.type where that was a failure.",
};
const DISAGREEMENTS: Instrument = Instrument {
    name: metric::RECONCILER_DISAGREEMENTS,
    unit: "{disagreement}",
    description: "How often a list of rooms differed from what had been reported.",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum What {
    Room,
    Participant,
    Connect,
    Publish,
    Subscribe,
}

impl What {
    const ALL: [Self; 5] =
        [Self::Room, Self::Participant, Self::Connect, Self::Publish, Self::Subscribe];

    fn instrument(self) -> Instrument {
        let (name, description) = match self {
            Self::Room => (metric::ROOM_DURATION, "How long rooms were open."),
            Self::Participant => {
                (metric::PARTICIPANT_DURATION, "How long participants were in their room.")
            }
            Self::Connect => (
                metric::PARTICIPANT_CONNECT_DURATION,
                "From a participant's signal connection to its media connection.",
            ),
            Self::Publish => (
                metric::TRACK_PUBLISH_DURATION,
                "From the request to publish a track to its publication.",
            ),
            Self::Subscribe => (
                metric::TRACK_SUBSCRIBE_DURATION,
                "From the request to subscribe to a track to its answer.",
            ),
        };
        Instrument { name, unit: "s", description }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    what: What,
    kind: Option<TrackKind>,
    source: Option<TrackSource>,
    #[serde(with = "livekit_otel_model::interned::option")]
    error_type: Option<Name>,
}

/// Durations, and counts from the census.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lifecycle {
    began: Time,
    durations: BTreeMap<Key, NodeSeries<Histogram>>,
    // All kinds and sources so far: one without tracks is reported as 0.
    tracks: BTreeMap<(Option<TrackKind>, Option<TrackSource>), u64>,
    disagreements: BTreeMap<Disagreement, NodeSeries<u64>>,
    departures: BTreeMap<Departure, NodeSeries<u64>>,
}

impl Lifecycle {
    pub(super) fn new(began: Time) -> Self {
        let (durations, tracks) = (BTreeMap::new(), BTreeMap::new());
        let (disagreements, departures) = (BTreeMap::new(), BTreeMap::new());
        Self { began, durations, tracks, disagreements, departures }
    }

    pub(super) fn apply(&mut self, histograms: Histograms, fact: &Fact) {
        let mut record = |what, track: &Description, error_type, took: &Duration| {
            self.record(histograms, what, track, error_type, *took);
        };
        let none = Description::default();
        let aborted = |failed: bool| failed.then_some("connection_aborted");
        let refused = |failed: bool| failed.then_some("subscribe_failed");
        match fact {
            Fact::RoomEnded { took } => record(What::Room, &none, None, took),
            Fact::ParticipantEnded { took, aborted: failed, departure } => {
                record(What::Participant, &none, aborted(*failed), took);
                let series = self.departures.entry(departure.clone());
                series.or_insert_with(|| NodeSeries::new(of_departure(departure), 0)).value += 1;
            }
            Fact::Connected { took, aborted: failed } => {
                record(What::Connect, &none, aborted(*failed), took);
            }
            Fact::Published { took, description } => {
                record(What::Publish, description, None, took);
            }
            Fact::Subscribed { took, failed, description } => {
                record(What::Subscribe, description, refused(*failed), took);
            }
            Fact::Disagreement(what) => {
                let attributes = || vec![Attribute::new(key::DISAGREEMENT, what.as_str())];
                let series = self.disagreements.entry(*what);
                series.or_insert_with(|| NodeSeries::new(attributes(), 0)).value += 1;
            }
            Fact::ParticipantReleased { .. }
            | Fact::ParticipantUsed(_)
            | Fact::RoomReleased { .. }
            | Fact::WorkReleased(_) => {}
        }
    }

    fn record(
        &mut self,
        histograms: Histograms,
        what: What,
        track: &Description,
        error_type: Option<&'static str>,
        took: Duration,
    ) {
        let key = Key { what, kind: track.kind(), source: track.source(), error_type };
        let series = self.durations.entry(key).or_insert_with(|| {
            let mut attributes = of_track(track.kind(), track.source());
            attributes.extend(error_type.map(|kind| Attribute::new(key::ERROR_TYPE, kind)));
            NodeSeries::new(attributes, Histogram::new(histograms, DURATION_BOUNDS))
        });
        series.value.record(seconds(took));
    }

    pub(super) fn flush(&mut self, interval: FlushInterval, census: &Census, to: &mut Vec<Metric>) {
        let now = interval.now;
        let count = |attributes: Vec<Attribute>, count: u64| {
            let value = Some(Number::Int(i64::try_from(count).unwrap_or(i64::MAX)));
            let start = Some(self.began);
            NumberPoint { attributes: attributes.into(), start, time: now, value }
        };
        self.tracks.values_mut().for_each(|count| *count = 0);
        self.tracks.extend(census.tracks.iter().map(|(track, count)| (*track, *count)));
        to.push(ROOMS.up_down(vec![count(Vec::new(), census.rooms)]));
        to.push(PARTICIPANTS.up_down(vec![count(Vec::new(), census.participants)]));
        let tracks = self.tracks.iter();
        let tracks =
            tracks.map(|((kind, source), tracks)| count(of_track(*kind, *source), *tracks));
        to.push(TRACKS.up_down(tracks.collect()));
        for what in What::ALL {
            let mut points = Points::new(interval.histograms, DURATION_BOUNDS);
            for (key, series) in &mut self.durations {
                if key.what != what || series.value.is_empty() {
                    continue;
                }
                let opening = series.open(interval);
                histogram_points(&mut series.value, &series.attributes, opening, now, &mut points);
                if interval.temporality == Temporality::Delta {
                    series.value.clear();
                }
            }
            to.push(what.instrument().histogram(interval.temporality, points));
        }
        to.push(counter(DISCONNECTS, self.departures.values_mut(), interval));
        to.push(counter(DISAGREEMENTS, self.disagreements.values_mut(), interval));
    }
}

fn counter<'a>(
    instrument: Instrument,
    counts: impl Iterator<Item = &'a mut NodeSeries<u64>>,
    interval: FlushInterval,
) -> Metric {
    let mut points = Vec::new();
    for series in counts.filter(|series| series.value > 0) {
        let opening = series.open(interval);
        count_points(&series.attributes, opening, interval.now, series.value, &mut points);
        if interval.temporality == Temporality::Delta {
            series.value = 0;
        }
    }
    instrument.counter(interval.temporality, points)
}

fn of_departure(departure: &Departure) -> Vec<Attribute> {
    let Departure { reason, kind, error_type } = departure;
    let mut attributes = vec![Attribute::new(key::DISCONNECT_REASON, *reason)];
    attributes.extend(kind.map(|kind| Attribute::new(key::PARTICIPANT_KIND, kind)));
    let error_type = error_type.as_ref();
    attributes.extend(error_type.map(|it| Attribute::new(key::ERROR_TYPE, Arc::clone(it))));
    attributes
}

/// A track's kind and source, as attributes.
pub(super) fn of_track(kind: Option<TrackKind>, source: Option<TrackSource>) -> Vec<Attribute> {
    let mut attributes = Vec::with_capacity(2);
    attributes
        .extend(kind.and_then(TrackKind::name).map(|kind| Attribute::new(key::TRACK_KIND, kind)));
    attributes.extend(source.map(|source| Attribute::new(key::TRACK_SOURCE, source.name())));
    attributes
}
