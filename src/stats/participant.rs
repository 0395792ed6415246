//! Each participant's streams, by direction: series that open with a zero, have their points at
//! the windows' own times, and end when the participant's spans have left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::points::{Instrument, count_points};
use crate::event::{Counts, Direction, ParticipantSid, RoomSid, StreamStat, Time};
use crate::semconv::{key, metric};
use crate::session::StreamContext;
use crate::signal::{Attribute, Metric, Number, NumberPoint, Series, Temporality, Value};
use crate::snapshot::{Error, Part, Writer, read};

#[derive(Debug, Serialize, Deserialize)]
struct Streams {
    attributes: Series,
    start: Time,
    last: Time,
    sent: Option<Time>,
    counts: Counts,
    changed: bool,
    ended: bool,
    round_trip: Option<Duration>,
    jitter: Option<Duration>,
    scores: (f64, u32),
    // Which gauges ever had a value.
    measured: [bool; GAUGES.len()],
}

type Key = (RoomSid, ParticipantSid, Direction);

// So many series are one part of a snapshot.
const MANY: usize = 1000;

/// All participants' streams.
#[derive(Debug, Default)]
pub(super) struct ParticipantStreams {
    series: BTreeMap<Key, Streams>,
    ended: usize,
}

impl ParticipantStreams {
    pub(super) fn window(&mut self, stat: &StreamStat, context: &StreamContext, now: Time) {
        let at = stat.at.unwrap_or(now);
        let start = stat.start.unwrap_or(at);
        let key = (stat.room.clone(), stat.participant.clone(), stat.direction);
        let streams = self.series.entry(key).or_insert_with(|| Streams {
            attributes: attributes(stat, context).into(),
            start,
            last: at,
            sent: None,
            counts: Counts::default(),
            changed: false,
            ended: false,
            round_trip: None,
            jitter: None,
            scores: (0.0, 0),
            measured: [false; GAUGES.len()],
        });
        if streams.sent.is_none() {
            streams.start = streams.start.min(start);
        }
        streams.last = streams.last.max(at);
        streams.changed = true;
        streams.counts += stat.counts;
        if stat.is_media() {
            streams.round_trip = streams.round_trip.max(stat.rtt);
            streams.jitter = streams.jitter.max(stat.jitter);
            if let Some(score) = stat.score {
                streams.scores.0 += f64::from(score);
                streams.scores.1 += 1;
            }
        }
    }

    /// No more is waited for: the series end with the next flush.
    pub(super) fn end(&mut self, room: &RoomSid, participant: &ParticipantSid) {
        for direction in [Direction::Upstream, Direction::Downstream] {
            let key = (room.clone(), participant.clone(), direction);
            if let Some(streams) = self.series.get_mut(&key) {
                self.ended += usize::from(!streams.ended);
                streams.ended = true;
            }
        }
    }

    /// How many have ended and wait for the flush.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Writes all series.
    pub(super) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        let series: Vec<_> = self.series.iter().collect();
        series.chunks(MANY).try_for_each(|series| to.put(Part::Series, &series))
    }

    /// Takes in series that were written.
    pub(super) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let series: Vec<(Key, Streams)> = read(content)?;
        self.ended += series.iter().filter(|(_, streams)| streams.ended).count();
        self.series.extend(series);
        Ok(())
    }

    pub(super) fn flush(&mut self, temporality: Temporality, to: &mut Vec<Metric>) {
        let mut counters: [Vec<NumberPoint>; COUNTERS.len()] = Default::default();
        let mut gauges: [Vec<NumberPoint>; GAUGES.len()] = Default::default();
        for streams in self.series.values_mut() {
            if streams.changed {
                streams.points(temporality, &mut counters, &mut gauges);
            }
            if streams.ended && temporality == Temporality::Cumulative {
                streams.last_points(&mut counters, &mut gauges);
            }
        }
        self.series.retain(|_, streams| !streams.ended);
        self.ended = 0;
        for ((instrument, _), points) in COUNTERS.into_iter().zip(counters) {
            to.push(instrument.counter(temporality, points));
        }
        for (instrument, points) in GAUGES.into_iter().zip(gauges) {
            to.push(instrument.gauge(points));
        }
    }
}

impl Streams {
    fn points(
        &mut self,
        temporality: Temporality,
        counters: &mut [Vec<NumberPoint>; COUNTERS.len()],
        gauges: &mut [Vec<NumberPoint>; GAUGES.len()],
    ) {
        // A stream without a start of its own (signalling) began at the latest just before.
        self.start = self.start.min(before(self.last));
        let opening = match (temporality, self.sent) {
            (Temporality::Cumulative, None) => (self.start, true),
            (Temporality::Cumulative, Some(_)) => (self.start, false),
            (Temporality::Delta, sent) => (sent.unwrap_or(self.start), false),
        };
        // Windows of one time may come in two flushes: the second must not be before the first.
        let time = self.sent.map_or(self.last, |sent| self.last.max(after(sent)));
        for ((_, count), points) in COUNTERS.iter().zip(counters) {
            count_points(&self.attributes, opening, time, count(&self.counts), points);
        }
        let (sum, scored) = self.scores;
        let measured = [
            self.round_trip.map(|rtt| rtt.as_secs_f64()),
            self.jitter.map(|jitter| jitter.as_secs_f64()),
            (scored > 0).then(|| sum / f64::from(scored)),
        ];
        for (nth, (value, points)) in measured.into_iter().zip(gauges).enumerate() {
            if let Some(value) = value {
                self.measured[nth] = true;
                points.push(self.point(None, time, Some(Number::Float(value))));
            }
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

    // The end of series that have points: NO_RECORDED_VALUE, so that nothing draws on past it.
    fn last_points(
        &self,
        counters: &mut [Vec<NumberPoint>; COUNTERS.len()],
        gauges: &mut [Vec<NumberPoint>; GAUGES.len()],
    ) {
        let Some(sent) = self.sent else { return };
        for points in counters {
            points.push(self.point(Some(self.start), after(sent), None));
        }
        for (_, points) in self.measured.iter().zip(gauges).filter(|(measured, _)| **measured) {
            points.push(self.point(None, after(sent), None));
        }
    }

    fn point(&self, start: Option<Time>, time: Time, value: Option<Number>) -> NumberPoint {
        NumberPoint { attributes: self.attributes.clone(), start, time, value }
    }
}

const STEP: Duration = Duration::from_millis(1);

fn after(time: Time) -> Time {
    time + STEP
}

fn before(time: Time) -> Time {
    let nanos = time.nanos().saturating_sub(u64::try_from(STEP.as_nanos()).unwrap_or(0));
    Time::from_nanos(nanos).unwrap_or(time)
}

fn attributes(stat: &StreamStat, context: &StreamContext) -> Vec<Attribute> {
    let text = |key, value| Attribute { key, value: Value::Text(value) };
    let mut attributes = vec![text(key::ROOM_SID, stat.room.shared())];
    let name = context.room_name.as_ref().or(stat.room_name.as_ref());
    attributes.extend(name.map(|name| text(key::ROOM_NAME, name.shared())));
    attributes.push(text(key::PARTICIPANT_SID, stat.participant.shared()));
    let identity = context.identity.as_ref();
    attributes.extend(identity.map(|who| text(key::PARTICIPANT_IDENTITY, who.shared())));
    attributes.push(Attribute::new(key::DIRECTION, stat.direction.as_str()));
    attributes
}

type Read = fn(&Counts) -> u64;

const fn counter(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: Read,
) -> (Instrument, Read) {
    (Instrument { name, unit, description }, read)
}

const COUNTERS: [(Instrument, Read); 12] = [
    counter(metric::PARTICIPANT_PACKETS, "{packet}", "A participant's packets.", |of| of.packets),
    counter(metric::PARTICIPANT_IO, "By", "A participant's bytes.", |of| of.bytes),
    counter(
        metric::PARTICIPANT_RETRANSMITTED_PACKETS,
        "{packet}",
        "A participant's packets that were sent again.",
        |of| of.retransmit_packets,
    ),
    counter(
        metric::PARTICIPANT_RETRANSMITTED_IO,
        "By",
        "A participant's bytes that were sent again.",
        |of| of.retransmit_bytes,
    ),
    counter(
        metric::PARTICIPANT_PADDING_PACKETS,
        "{packet}",
        "A participant's packets of padding.",
        |of| of.padding_packets,
    ),
    counter(metric::PARTICIPANT_PADDING_IO, "By", "A participant's bytes of padding.", |of| {
        of.padding_bytes
    }),
    counter(
        metric::PARTICIPANT_PACKETS_LOST,
        "{packet}",
        "A participant's packets that never came.",
        |of| of.packets_lost,
    ),
    counter(
        metric::PARTICIPANT_PACKETS_OUT_OF_ORDER,
        "{packet}",
        "A participant's packets that came late.",
        |of| of.packets_out_of_order,
    ),
    counter(metric::PARTICIPANT_FRAMES, "{frame}", "A participant's frames.", |of| of.frames),
    counter(
        metric::PARTICIPANT_NACKS,
        "{nack}",
        "A participant's requests to send a packet again.",
        |of| of.nacks,
    ),
    counter(metric::PARTICIPANT_PLIS, "{pli}", "A participant's picture loss indications.", |of| {
        of.plis
    }),
    counter(metric::PARTICIPANT_FIRS, "{fir}", "A participant's full intra requests.", |of| {
        of.firs
    }),
];

const GAUGES: [Instrument; 3] = [
    Instrument {
        name: metric::PARTICIPANT_ROUND_TRIP,
        unit: "s",
        description: "Highest round trip of a participant's streams in the last windows.",
    },
    Instrument {
        name: metric::PARTICIPANT_JITTER,
        unit: "s",
        description: "Highest jitter of a participant's streams in the last windows.",
    },
    Instrument {
        name: metric::PARTICIPANT_SCORE,
        // Not 1: Prometheus would name it a ratio.
        unit: "{score}",
        description: "Mean quality score of a participant's streams in the last windows, 1 to 5.",
    },
];
