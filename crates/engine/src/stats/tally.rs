//! Sums over streams: counts, and distributions of their quality.

use serde::{Deserialize, Serialize};

use super::exemplar::Origin;
use super::histogram::{Histogram, Histograms, LATENCY_BOUNDS, RATIO_BOUNDS, SCORE_BOUNDS};
use super::points::{Instrument, seconds};
use super::worker::StatsKey;
use livekit_otel_model::event::report::StreamReport;
use livekit_otel_model::event::{Counter, Counts, Direction, StreamStat, Time};
use livekit_otel_model::semconv::metric;

/// How many counts a tally has.
pub(super) const COUNTS: usize = 9;
/// Which they are, in the order of a snapshot, and their instruments.
pub(super) const COUNTERS: [(Counter, Instrument); COUNTS] = [
    (
        Counter::Packets,
        Instrument::new(
            metric::NODE_PACKETS,
            "{packet}",
            "Packets, with padding; a publisher's retransmissions among them.",
        ),
    ),
    (
        Counter::Bytes,
        Instrument::new(
            metric::NODE_IO,
            "By",
            "Bytes, with padding; a publisher's retransmissions among them.",
        ),
    ),
    (
        Counter::RetransmitPackets,
        Instrument::new(
            metric::NODE_RETRANSMITTED_PACKETS,
            "{packet}",
            "Packets that the server sent again.",
        ),
    ),
    (
        Counter::RetransmitBytes,
        Instrument::new(metric::NODE_RETRANSMITTED_IO, "By", "Bytes that the server sent again."),
    ),
    (
        Counter::PacketsLost,
        Instrument::new(metric::NODE_PACKETS_LOST, "{packet}", "Packets that never came."),
    ),
    (
        Counter::PacketsOutOfOrder,
        Instrument::new(metric::NODE_PACKETS_OUT_OF_ORDER, "{packet}", "Packets that came late."),
    ),
    (
        Counter::Nacks,
        Instrument::new(metric::NODE_NACKS, "{nack}", "Requests to send a packet again."),
    ),
    (Counter::Plis, Instrument::new(metric::NODE_PLIS, "{pli}", "Picture loss indications.")),
    (Counter::Firs, Instrument::new(metric::NODE_FIRS, "{fir}", "Full intra requests.")),
];
/// How many distributions there are: loss, out of order, round trip, jitter, score.
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

// When a value was measured, and whose it is.
struct Measured<'a> {
    time: Option<Time>,
    origin: Origin<'a>,
}

impl Tally {
    pub(super) fn new(histograms: Histograms) -> Self {
        let quality = BOUNDS.map(|bounds| Histogram::with_exemplars(histograms, bounds));
        Self { counts: [0; COUNTS], quality, changed: false }
    }

    /// Adds a finished window of a participant; `own_trace` as in [`Origin::Participant`].
    pub(super) fn window(&mut self, stat: &StreamStat, own_trace: Option<bool>) {
        let counts = with_padding(stat.counts);
        self.count(stat.direction, counts);
        if stat.is_media() {
            let origin = Origin::Participant(&stat.room, &stat.participant, own_trace);
            let measured = Measured { time: stat.at, origin };
            self.part_of_packets(&counts, &measured);
            let rtt = stat.rtt.map(seconds);
            let jitter = stat.jitter.map(seconds);
            self.measure([rtt, jitter, stat.score.map(f64::from)], &measured);
        }
    }

    /// Adds one stream of a report, whose round trip and jitter are measured if they are not 0.
    pub(super) fn report(&mut self, key: &StatsKey, stream: &StreamReport) {
        let counts = with_padding(Counts::from(&stream.counts));
        self.count(key.direction(), counts);
        if key.class().is_some() {
            let measured = Measured { time: None, origin: Origin::Stream(key) };
            self.part_of_packets(&counts, &measured);
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

    fn count(&mut self, direction: Direction, mut counts: Counts) {
        self.changed = true;
        // As upstream: a publisher's retransmissions count as packets, the server's separately.
        if direction == Direction::Upstream {
            counts.fold(Counter::RetransmitPackets, Counter::Packets);
            counts.fold(Counter::RetransmitBytes, Counter::Bytes);
        }
        for (sum, (counter, _)) in self.counts.iter_mut().zip(&COUNTERS) {
            *sum = sum.saturating_add(counts[*counter]);
        }
    }

    fn part_of_packets(&mut self, counts: &Counts, measured: &Measured<'_>) {
        let packets = counts[Counter::Packets];
        if packets > 0 {
            let parts = [counts[Counter::PacketsLost], counts[Counter::PacketsOutOfOrder]];
            for (histogram, part) in self.quality.iter_mut().zip(parts) {
                let part = part as f64 / packets as f64;
                histogram.record_of(part, measured.time, &measured.origin);
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

    /// Resets everything to 0.
    pub(super) fn clear(&mut self) {
        self.counts = [0; COUNTS];
        self.quality.iter_mut().for_each(Histogram::clear);
        self.changed = false;
    }

    /// Whether anything was added since it was created or cleared.
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

fn with_padding(mut counts: Counts) -> Counts {
    counts.fold(Counter::PaddingPackets, Counter::Packets);
    counts.fold(Counter::PaddingBytes, Counter::Bytes);
    counts
}
