//! `stats.top_n`: the participants with the worst media since the last flush, by name, independent of
//! `stats.level`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::points::{FlushInterval, Instrument, seconds};
use super::settings::{Level, Settings};
use super::streams::ids_and_names;
use crate::facts::StreamContext;
use livekit_otel_model::event::{Counter, ParticipantSid, RoomSid, StreamStat};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Metric, Number, NumberPoint, Series};

const CRITERIA: usize = 3;
const INSTRUMENTS: [Instrument; CRITERIA] = [
    Instrument {
        name: metric::WORST_SCORE,
        unit: "{score}",
        description: "Lowest mean quality score of a stream, of the participants where it is lowest.",
    },
    Instrument {
        name: metric::WORST_LOSS,
        unit: "1",
        description: "Part of packets that never came, of the participants where it is highest.",
    },
    Instrument {
        name: metric::WORST_ROUND_TRIP,
        unit: "s",
        description: "Highest round trip, of the participants where it is highest.",
    },
];

type Who = (RoomSid, ParticipantSid);

// A participant's windows since the last flush.
#[derive(Debug, Serialize, Deserialize)]
struct Quality {
    series: Series,
    score: Option<f32>,
    packets: u64,
    lost: u64,
    round_trip: Option<Duration>,
}

/// The participants of this flush, and the worst of the one before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Top {
    #[serde(with = "entries")]
    participants: HashMap<Who, Quality>,
    worst: [BTreeMap<Who, Series>; CRITERIA],
}

impl Top {
    pub(super) fn window(
        &mut self,
        settings: &Settings,
        stat: &StreamStat,
        context: &StreamContext,
    ) {
        if !stat.is_media() {
            return;
        }
        let who = (stat.room.clone(), stat.participant.clone());
        let quality = self.participants.entry(who).or_insert_with(|| Quality {
            series: ids_and_names(Level::Participant, settings.names, stat, context).into(),
            score: None,
            packets: 0,
            lost: 0,
            round_trip: None,
        });
        if let Some(score) = stat.score {
            quality.score = Some(quality.score.map_or(score, |lowest| lowest.min(score)));
        }
        let counts = &stat.counts;
        // The same packets as for the node's loss.
        let packets = counts[Counter::Packets].saturating_add(counts[Counter::PaddingPackets]);
        quality.packets = quality.packets.saturating_add(packets);
        quality.lost = quality.lost.saturating_add(counts[Counter::PacketsLost]);
        quality.round_trip = quality.round_trip.max(stat.rtt);
    }

    pub(super) fn flush(&mut self, most: usize, interval: FlushInterval, to: &mut Vec<Metric>) {
        let participants = std::mem::take(&mut self.participants);
        for (nth, instrument) in INSTRUMENTS.into_iter().enumerate() {
            #[expect(clippy::disallowed_methods, reason = "sorted below, by a total order")]
            let mut measured: Vec<(f64, &Who, &Series)> = participants
                .iter()
                .filter_map(|(who, quality)| Some((quality.badness(nth)?, who, &quality.series)))
                .collect();
            // The worst first; equal ones in the order of their ids.
            let order = |a: &(f64, &Who, &Series), b: &(f64, &Who, &Series)| {
                b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1))
            };
            if measured.len() > most {
                measured.select_nth_unstable_by(most, order);
                measured.truncate(most);
            }
            measured.sort_unstable_by(order);
            let point = |series: &Series, value| NumberPoint {
                attributes: series.clone(),
                start: None,
                time: interval.now,
                value,
            };
            let now: BTreeMap<Who, Series> = measured
                .iter()
                .map(|(_, who, series)| ((*who).clone(), (*series).clone()))
                .collect();
            let before = std::mem::replace(&mut self.worst[nth], now);
            let gone = before.iter().filter(|(who, _)| !self.worst[nth].contains_key(who));
            let mut points: Vec<_> = gone.map(|(_, series)| point(series, None)).collect();
            points.extend(measured.iter().map(|(badness, _, series)| {
                point(series, Some(Number::Float(if nth == 0 { -badness } else { *badness })))
            }));
            to.push(instrument.gauge(points));
        }
    }
}

impl Quality {
    // The higher the worse; `None` if it was not measured, or nothing is bad.
    fn badness(&self, criterion: usize) -> Option<f64> {
        match criterion {
            0 => self.score.map(|score| -f64::from(score)),
            1 => (self.lost > 0).then(|| self.lost as f64 / self.packets.max(self.lost) as f64),
            _ => self.round_trip.map(seconds),
        }
    }
}

// In a snapshot as a list, in the order of its keys.
mod entries {
    use std::collections::HashMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::stats::top::{Quality, Who};

    pub(super) fn serialize<S: Serializer>(
        of: &HashMap<Who, Quality>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(crate::snapshot::sorted(of))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<HashMap<Who, Quality>, D::Error> {
        Ok(Vec::<(Who, Quality)>::deserialize(from)?.into_iter().collect())
    }
}
