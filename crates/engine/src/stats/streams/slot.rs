//! One series of streams: what came in since its start, and since the last flush.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Key, Level};
use crate::session::StreamContext;
use crate::stats::points::seconds;
use livekit_otel_model::event::{Counts, StreamStat, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Row, Series, Temporality, Value};

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

// A series that nothing came of for so long has ended: its stream is muted, or was never told to
// have ended. It begins again with what comes.
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

    /// The points of a flush; none where nothing came and nothing ends.
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
        // NO_RECORDED_VALUE, so that nothing draws on past it.
        row.ends = self.sent.filter(|_| ends).map(|sent| (sent + STEP, self.measured));
        Some(row)
    }

    fn values(&mut self, temporality: Temporality, row: &mut Row) {
        // A stream without a start of its own (signalling) began at the latest just before.
        self.start = self.start.min(before(self.last));
        // Windows of one time may come in two flushes: the second must not be before the first.
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

/// What a series of this level is told apart by, and what else is known of it.
pub(super) fn attributes(
    level: Level,
    stat: &StreamStat,
    context: &StreamContext,
) -> Vec<Attribute> {
    let text = |key, value| Attribute { key, value: Value::Text(value) };
    let mut attributes = Vec::with_capacity(8);
    attributes.push(text(key::ROOM_SID, stat.room.shared()));
    let name = context.room_name.as_ref().or(stat.room_name.as_ref());
    attributes.extend(name.map(|name| text(key::ROOM_NAME, name.shared())));
    if level >= Level::Participant {
        attributes.push(text(key::PARTICIPANT_SID, stat.participant.shared()));
        let identity = context.identity.as_ref();
        attributes.extend(identity.map(|who| text(key::PARTICIPANT_IDENTITY, who.shared())));
    }
    if level >= Level::Track {
        attributes.push(text(key::TRACK_SID, stat.track.shared()));
        attributes.extend(super::super::lifecycle::of_track(
            context.description.kind(),
            context.description.source(),
        ));
    }
    attributes.push(Attribute::new(key::DIRECTION, stat.direction.as_str()));
    attributes
}
