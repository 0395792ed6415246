//! One series of streams: its sums since its start, and its values since the last flush.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::facts::StreamContext;
use crate::stats::lifecycle::of_track;
use crate::stats::points::seconds;
use crate::stats::settings::{Level, Settings};
use livekit_otel_model::event::{
    Counts, Direction, ParticipantSid, RoomSid, StreamStat, Time, TrackSid,
};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Row, Series, Temporality, Value};

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Key {
    Streams(RoomSid, Option<ParticipantSid>, Option<TrackSid>, Direction),
    /// All streams that got no series of their own.
    Overflow,
}

/// The participant, or at the level of rooms the room, whose end ends the series.
pub(super) type Owner = (RoomSid, Option<ParticipantSid>);

impl Key {
    pub(super) fn owner(&self) -> Option<Owner> {
        match self {
            Self::Streams(room, participant, ..) => Some((room.clone(), participant.clone())),
            Self::Overflow => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) key: Key,
    series: Series,
    start: Time,
    last: Time,
    sent: Option<Time>,
    counts: Counts,
    changed: bool,
    pub(super) ended: bool,
    round_trip: Option<Duration>,
    jitter: Option<Duration>,
    scores: (f64, u32),
    // Which gauges ever had a value.
    measured: [bool; Row::GAUGES],
}

// A series without windows for so long is ended: its stream is muted, or its end was not reported. The
// next window begins it again.
const IDLE: Duration = Duration::from_mins(5);
const STEP: Duration = Duration::from_millis(1);

impl Slot {
    pub(super) fn new(key: Key, series: Series, start: Time) -> Self {
        Self {
            key,
            series,
            start,
            last: start,
            sent: None,
            counts: Counts::default(),
            changed: false,
            ended: false,
            round_trip: None,
            jitter: None,
            scores: (0.0, 0),
            measured: [false; Row::GAUGES],
        }
    }

    pub(super) fn window(&mut self, stat: &StreamStat, at: Time) {
        if self.sent.is_none() {
            self.start = self.start.min(stat.start.unwrap_or(at));
        }
        self.last = self.last.max(at);
        self.changed = true;
        self.counts += stat.counts;
        if stat.is_media() {
            self.round_trip = self.round_trip.max(stat.rtt);
            self.jitter = self.jitter.max(stat.jitter);
            if let Some(score) = stat.score {
                self.scores.0 += f64::from(score);
                self.scores.1 += 1;
            }
        }
    }

    pub(super) fn is_idle(&self, now: Time) -> bool {
        !self.changed && now.since(self.last) > IDLE
    }

    /// The points of a flush; `None` if it has not changed and does not end.
    pub(super) fn row(&mut self, temporality: Temporality) -> Option<Row> {
        let ends = self.ended && temporality == Temporality::Cumulative;
        let is_silent = !ends || self.sent.is_none();
        if !self.changed && is_silent {
            return None;
        }
        let mut row = Row {
            series: self.series.clone(),
            start: self.start,
            time: None,
            opens: false,
            counts: [0; Row::COUNTERS],
            measured: [None; Row::GAUGES],
            ends: None,
        };
        if self.changed {
            self.values(temporality, &mut row);
        }
        // NO_RECORDED_VALUE, so that graphs do not continue past it.
        row.ends = self.sent.filter(|_| ends).map(|sent| (sent + STEP, self.measured));
        Some(row)
    }

    fn values(&mut self, temporality: Temporality, row: &mut Row) {
        // A stream without a start of its own (signalling) began just before its last window, if not earlier.
        self.start = self.start.min(before(self.last));
        // Windows of the same time may be in two flushes: the second must be later than the first.
        let time = self.sent.map_or(self.last, |sent| self.last.max(sent + STEP));
        row.start = match temporality {
            Temporality::Cumulative => self.start,
            Temporality::Delta => self.sent.unwrap_or(self.start),
        };
        row.opens = temporality == Temporality::Cumulative && self.sent.is_none();
        row.time = Some(time);
        row.counts = self.counts.values();
        let (sum, scored) = self.scores;
        row.measured = [
            self.round_trip.map(seconds),
            self.jitter.map(seconds),
            (scored > 0).then(|| sum / f64::from(scored)),
        ];
        for (ever, value) in self.measured.iter_mut().zip(row.measured) {
            *ever |= value.is_some();
        }
        self.sent = Some(time);
        self.changed = false;
        self.round_trip = None;
        self.jitter = None;
        self.scores = (0.0, 0);
        if temporality == Temporality::Delta {
            self.counts = Counts::default();
        }
    }
}

fn before(time: Time) -> Time {
    let nanos = time.nanos().saturating_sub(u64::try_from(STEP.as_nanos()).unwrap_or(0));
    Time::from_nanos(nanos).unwrap_or(time)
}

/// The attributes that identify a room or, at `Level::Participant` and finer, a participant; with the names that are
/// known, if `names` is set.
pub(in crate::stats) fn ids_and_names(
    level: Level,
    names: bool,
    stat: &StreamStat,
    context: &StreamContext,
) -> Vec<Attribute> {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(text(key::ROOM_ID, stat.room.shared()));
    let name = context.room_name.as_ref().or(stat.room_name.as_ref());
    attributes.extend(name.filter(|_| names).map(|name| text(key::ROOM_NAME, name.shared())));
    if level >= Level::Participant {
        attributes.push(text(key::PARTICIPANT_ID, stat.participant.shared()));
        let identity = context.identity.as_ref().filter(|_| names);
        attributes.extend(identity.map(|who| text(key::PARTICIPANT_IDENTITY, who.shared())));
    }
    attributes
}

fn text(key: &'static str, value: Arc<str>) -> Attribute {
    Attribute { key, value: Value::Text(value) }
}

/// The attributes that identify a series, with the names that are known.
pub(super) fn attributes(
    settings: &Settings,
    stat: &StreamStat,
    context: &StreamContext,
) -> Vec<Attribute> {
    let mut attributes = ids_and_names(settings.level, settings.names, stat, context);
    if settings.level >= Level::Track {
        attributes.push(text(key::TRACK_ID, stat.track.shared()));
        attributes.extend(of_track(context.description.kind(), context.description.source()));
    }
    attributes.push(Attribute::new(key::DIRECTION, stat.direction.as_str()));
    attributes
}
