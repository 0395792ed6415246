//! What some streams came to: counts, and distributions of their quality.

use serde::{Deserialize, Serialize};

use super::exemplar::Origin;
use super::histogram::{Histogram, Histograms, LATENCY_BOUNDS, RATIO_BOUNDS, SCORE_BOUNDS};
use super::points::seconds;
use super::worker::StatsKey;
use livekit_otel_model::event::report::StreamReport;
use livekit_otel_model::event::{Direction, StreamStat, Time};

/// How many counts a tally has, in the order of the node's counters.
pub(super) const COUNTS: usize = 9;
/// How many distributions: loss, out of order, round trip, jitter, score.
pub(super) const QUALITIES: usize = 5;
/// Their bounds, in this order.
pub(super) const BOUNDS: [&[f64]; QUALITIES] =
    [RATIO_BOUNDS, RATIO_BOUNDS, LATENCY_BOUNDS, LATENCY_BOUNDS, SCORE_BOUNDS];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tally {
    counts: [u64; COUNTS],
    quality: [Histogram; QUALITIES],
    changed: bool,
}

// What one window or report adds, in units that leave.
struct Sample {
    packets: u64,
    bytes: u64,
    retransmit: (u64, u64),
    packets_lost: u64,
    packets_out_of_order: u64,
    feedback: [u64; 3],
}

// When and of whom a value was measured.
struct Measured<'a> {
    time: Option<Time>,
    origin: Origin<'a>,
}

impl Tally {
    pub(super) fn new(histograms: Histograms) -> Self {
        let quality = BOUNDS.map(|bounds| Histogram::with_exemplars(histograms, bounds));
        Self { counts: [0; COUNTS], quality, changed: false }
    }

    /// Adds a finished window of a participant, whose trace is its own or its room's.
    pub(super) fn window(&mut self, stat: &StreamStat, own_trace: Option<bool>) {
        let counts = &stat.counts;
        let sample = Sample {
            packets: counts.packets.saturating_add(counts.padding_packets),
            bytes: counts.bytes.saturating_add(counts.padding_bytes),
            retransmit: (counts.retransmit_packets, counts.retransmit_bytes),
            packets_lost: counts.packets_lost,
            packets_out_of_order: counts.packets_out_of_order,
            feedback: [counts.nacks, counts.plis, counts.firs],
        };
        self.count(stat.direction, &sample);
        if stat.is_media() {
            let origin = Origin::Participant(&stat.room, &stat.participant, own_trace);
            let measured = Measured { time: stat.at, origin };
            self.part_of_packets(&sample, &measured);
            let rtt = stat.rtt.map(seconds);
            let jitter = stat.jitter.map(seconds);
            self.measure([rtt, jitter, stat.score.map(f64::from)], &measured);
        }
    }

    /// Adds one stream of a report. Round trip and jitter are measured where they are not 0.
    pub(super) fn report(&mut self, key: &StatsKey, stream: &StreamReport) {
        let counts = &stream.counts;
        let sample = Sample {
            packets: u64::from(counts.primary_packets) + u64::from(counts.padding_packets),
            bytes: counts.primary_bytes.saturating_add(counts.padding_bytes),
            retransmit: (counts.retransmit_packets.into(), counts.retransmit_bytes),
            packets_lost: counts.packets_lost.into(),
            packets_out_of_order: counts.packets_out_of_order.into(),
            feedback: [counts.nacks.into(), counts.plis.into(), counts.firs.into()],
        };
        self.count(key.direction(), &sample);
        if key.class().is_some() {
            let measured = Measured { time: None, origin: Origin::Stream(key) };
            self.part_of_packets(&sample, &measured);
            let rtt = (stream.rtt > 0).then(|| f64::from(stream.rtt) / 1e3);
            let jitter = (stream.jitter > 0).then(|| f64::from(stream.jitter) / 1e6);
            self.measure([rtt, jitter, None], &measured);
        }
    }

    /// Adds a report's quality score.
    pub(super) fn score(&mut self, key: &StatsKey, score: f32) {
        let measured = Measured { time: None, origin: Origin::Stream(key) };
        self.measure([None, None, Some(score.into())], &measured);
    }

    fn count(&mut self, direction: Direction, sample: &Sample) {
        self.changed = true;
        // Upstream counts a publisher's retransmissions as packets, the server's own apart.
        let (folded, apart) = match direction {
            Direction::Upstream => (sample.retransmit, (0, 0)),
            Direction::Downstream => ((0, 0), sample.retransmit),
        };
        let [nacks, plis, firs] = sample.feedback;
        let values = [
            sample.packets.saturating_add(folded.0),
            sample.bytes.saturating_add(folded.1),
            apart.0,
            apart.1,
            sample.packets_lost,
            sample.packets_out_of_order,
            nacks,
            plis,
            firs,
        ];
        for (sum, value) in self.counts.iter_mut().zip(values) {
            *sum = sum.saturating_add(value);
        }
    }

    fn part_of_packets(&mut self, sample: &Sample, measured: &Measured<'_>) {
        if sample.packets > 0 {
            let packets = sample.packets as f64;
            let parts = [sample.packets_lost, sample.packets_out_of_order];
            for (histogram, part) in self.quality.iter_mut().zip(parts) {
                histogram.record_of(part as f64 / packets, measured.time, &measured.origin);
            }
        }
    }

    fn measure(&mut self, values: [Option<f64>; 3], measured: &Measured<'_>) {
        for (histogram, value) in self.quality[2..].iter_mut().zip(values) {
            if let Some(value) = value {
                histogram.record_of(value, measured.time, &measured.origin);
            }
        }
    }

    /// Adds another.
    pub(super) fn merge(&mut self, more: &Self) {
        self.changed |= more.changed;
        for (sum, value) in self.counts.iter_mut().zip(more.counts) {
            *sum = sum.saturating_add(value);
        }
        for (histogram, more) in self.quality.iter_mut().zip(&more.quality) {
            histogram.merge(more);
        }
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.counts = [0; COUNTS];
        self.quality.iter_mut().for_each(Histogram::clear);
        self.changed = false;
    }

    /// Whether anything was added since it began.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn counts(&self) -> &[u64; COUNTS] {
        &self.counts
    }

    pub(super) fn quality(&mut self) -> &mut [Histogram; QUALITIES] {
        &mut self.quality
    }
}
