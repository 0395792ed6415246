//! The node's streams: low cardinality, by direction, track kind and source, counted as
//! upstream's own Prometheus metrics are (livekit pkg/telemetry/stats.go, prometheus/packets.go).

use std::collections::BTreeMap;

use super::histogram::{Histogram, LATENCY_BOUNDS, RATIO_BOUNDS, SCORE_BOUNDS};
use super::lifecycle::of_track;
use super::points::{Instrument, NodeSeries, Window, count_points, histogram_points};
use crate::event::{Direction, NodeId, StreamStat, TrackKind, TrackSource};
use crate::semconv::{key, metric};
use crate::session::StreamContext;
use crate::signal::{Attribute, Metric, Temporality, Value};

type Key = (Option<NodeId>, Direction, Option<TrackKind>, Option<TrackSource>);

#[derive(Debug)]
struct Streams {
    counts: [u64; COUNTERS.len()],
    quality: [Histogram; QUALITY.len()],
    // Which of them have points already.
    opened: [bool; QUALITY.len()],
    changed: bool,
}

/// All streams of all nodes.
#[derive(Debug, Default)]
pub(super) struct NodeStreams {
    series: BTreeMap<Key, NodeSeries<Streams>>,
}

impl NodeStreams {
    pub(super) fn window(&mut self, stat: &StreamStat, context: &StreamContext) {
        let kind = context.description.kind().or_else(|| kind_of(stat.mime_type.as_deref()));
        let source = context.description.source();
        let key = (stat.node.clone(), stat.direction, kind, source);
        let series = self.series.entry(key).or_insert_with(|| {
            let mut attributes = vec![Attribute::new(key::DIRECTION, stat.direction.as_str())];
            attributes.extend(of_track(kind, source));
            if let Some(node) = &stat.node {
                let value = Value::Text(node.shared());
                attributes.push(Attribute { key: key::NODE_ID, value });
            }
            let quality = QUALITY.map(|(_, bounds)| Histogram::new(bounds));
            let (counts, opened) = ([0; COUNTERS.len()], [false; QUALITY.len()]);
            NodeSeries::new(attributes, Streams { counts, quality, opened, changed: false })
        });
        series.value.add(stat);
    }

    pub(super) fn flush(&mut self, window: Window, to: &mut Vec<Metric>) {
        let mut counters: [Vec<_>; COUNTERS.len()] = Default::default();
        let mut quality: [Vec<_>; QUALITY.len()] = Default::default();
        let delta = window.temporality == Temporality::Delta;
        for series in self.series.values_mut() {
            if delta && !series.value.changed {
                continue;
            }
            let opening = series.open(window);
            let attributes = &series.attributes;
            let streams = &mut series.value;
            for (count, points) in streams.counts.iter().zip(&mut counters) {
                count_points(attributes, opening, window.now, *count, points);
            }
            let histograms = streams.quality.iter().zip(&mut streams.opened).zip(&mut quality);
            // Signalling never has any, and others begin when they do.
            for ((histogram, opened), points) in
                histograms.filter(|((histogram, _), _)| !histogram.is_empty())
            {
                let opening = (opening.0, !delta && !*opened);
                histogram_points(histogram, attributes, opening, window.now, points);
                *opened = true;
            }
            if delta {
                streams.counts = [0; COUNTERS.len()];
                streams.quality.iter_mut().for_each(Histogram::clear);
                streams.changed = false;
            }
        }
        for (instrument, points) in COUNTERS.into_iter().zip(counters) {
            to.push(instrument.counter(window.temporality, points));
        }
        for ((instrument, bounds), points) in QUALITY.into_iter().zip(quality) {
            to.push(instrument.histogram(window.temporality, bounds, points));
        }
    }
}

impl Streams {
    fn add(&mut self, stat: &StreamStat) {
        self.changed = true;
        let counts = &stat.counts;
        let sent = counts.packets.saturating_add(counts.padding_packets);
        let sent_bytes = counts.bytes.saturating_add(counts.padding_bytes);
        let again = (counts.retransmit_packets, counts.retransmit_bytes);
        // Upstream counts a publisher's retransmissions as packets, the server's own apart.
        let (folded, apart) = match stat.direction {
            Direction::Upstream => (again, (0, 0)),
            Direction::Downstream => ((0, 0), again),
        };
        let values = [
            sent.saturating_add(folded.0),
            sent_bytes.saturating_add(folded.1),
            apart.0,
            apart.1,
            counts.packets_lost,
            counts.packets_out_of_order,
            counts.nacks,
            counts.plis,
            counts.firs,
        ];
        for (sum, value) in self.counts.iter_mut().zip(values) {
            *sum = sum.saturating_add(value);
        }
        if !stat.is_media() {
            return;
        }
        let part = |of: u64| (sent > 0).then(|| of as f64 / sent as f64);
        let quality = [
            part(counts.packets_lost),
            part(counts.packets_out_of_order),
            stat.rtt.map(|rtt| rtt.as_secs_f64()),
            stat.jitter.map(|jitter| jitter.as_secs_f64()),
            stat.score.map(f64::from),
        ];
        for (histogram, value) in self.quality.iter_mut().zip(quality) {
            if let Some(value) = value {
                histogram.record(value);
            }
        }
    }
}

// Where nobody told of the publication: the codec says as much.
fn kind_of(mime_type: Option<&str>) -> Option<TrackKind> {
    let (kind, _) = mime_type?.split_once('/')?;
    match kind {
        "audio" => Some(TrackKind::Audio),
        "video" => Some(TrackKind::Video),
        _ => None,
    }
}

const fn instrument(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
) -> Instrument {
    Instrument { name, unit, description }
}

const COUNTERS: [Instrument; 9] = [
    instrument(
        metric::NODE_PACKETS,
        "{packet}",
        "Packets, with padding; a publisher's retransmissions among them.",
    ),
    instrument(
        metric::NODE_IO,
        "By",
        "Bytes, with padding; a publisher's retransmissions among them.",
    ),
    instrument(
        metric::NODE_RETRANSMITTED_PACKETS,
        "{packet}",
        "Packets that the server sent again.",
    ),
    instrument(metric::NODE_RETRANSMITTED_IO, "By", "Bytes that the server sent again."),
    instrument(metric::NODE_PACKETS_LOST, "{packet}", "Packets that never came."),
    instrument(metric::NODE_PACKETS_OUT_OF_ORDER, "{packet}", "Packets that came late."),
    instrument(metric::NODE_NACKS, "{nack}", "Requests to send a packet again."),
    instrument(metric::NODE_PLIS, "{pli}", "Picture loss indications."),
    instrument(metric::NODE_FIRS, "{fir}", "Full intra requests."),
];

const QUALITY: [(Instrument, &[f64]); 5] = [
    (
        instrument(metric::NODE_LOSS, "1", "Part of a window's packets that never came."),
        RATIO_BOUNDS,
    ),
    (
        instrument(metric::NODE_OUT_OF_ORDER, "1", "Part of a window's packets that came late."),
        RATIO_BOUNDS,
    ),
    (instrument(metric::NODE_ROUND_TRIP, "s", "Highest round trip of a window."), LATENCY_BOUNDS),
    (instrument(metric::NODE_JITTER, "s", "Highest jitter of a window."), LATENCY_BOUNDS),
    (
        instrument(metric::NODE_SCORE, "{score}", "Average quality score of a window, 1 to 5."),
        SCORE_BOUNDS,
    ),
];
