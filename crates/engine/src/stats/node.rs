//! Metrics of the node's streams, with low cardinality: by direction, track kind and source. Counted as
//! in LiveKit's Prometheus metrics (livekit pkg/telemetry/stats.go, prometheus/packets.go).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::histogram::{Histograms, Points};
use super::lifecycle::of_track;
use super::points::{FlushInterval, Instrument, NodeSeries, count_points, histogram_points};
use super::tally::{BOUNDS, COUNTERS, COUNTS, QUALITIES, Tally};
use crate::facts::StreamContext;
use livekit_otel_model::event::{Direction, NodeId, StreamStat, TrackKind, TrackSource};
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Metric, Temporality, Value};

/// The attributes of the node's series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Class {
    pub(super) node: Option<NodeId>,
    pub(super) direction: Direction,
    pub(super) kind: Option<TrackKind>,
    pub(super) source: Option<TrackSource>,
    pub(super) country: Option<Arc<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Streams {
    tally: Tally,
    // Which of its distributions have had points.
    opened: [bool; QUALITIES],
}

/// All streams of all nodes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NodeStreams {
    series: BTreeMap<Class, NodeSeries<Streams>>,
}

impl NodeStreams {
    /// Applies a finished window.
    pub(super) fn window(
        &mut self,
        histograms: Histograms,
        stat: &StreamStat,
        context: &StreamContext,
    ) {
        let kind = context.description.kind().or_else(|| kind_of(stat.mime_type.as_deref()));
        let source = context.description.source();
        let node = stat.node.clone();
        let class = Class { node, direction: stat.direction, kind, source, country: None };
        self.tally(histograms, class).window(stat, context.own_trace);
    }

    /// Adds the sum of one class's reports.
    pub(super) fn reports(&mut self, histograms: Histograms, class: Class, reports: &Tally) {
        self.tally(histograms, class).merge(reports);
    }

    fn tally(&mut self, histograms: Histograms, class: Class) -> &mut Tally {
        let series = self.series.entry(class).or_insert_with_key(|class| {
            let streams = Streams { tally: Tally::new(histograms), opened: [false; QUALITIES] };
            NodeSeries::new(class.attributes(), streams)
        });
        &mut series.value.tally
    }

    pub(super) fn flush(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let mut counters: [Vec<_>; COUNTS] = Default::default();
        let mut quality = BOUNDS.map(|bounds| Points::new(interval.histograms, bounds));
        let delta = interval.temporality == Temporality::Delta;
        for series in self.series.values_mut() {
            if delta && !series.value.tally.has_changed() {
                continue;
            }
            let opening = series.open(interval);
            let attributes = &series.attributes;
            let Streams { tally, opened } = &mut series.value;
            for (count, points) in tally.counts().iter().zip(&mut counters) {
                count_points(attributes, opening, interval.now, *count, points);
            }
            let histograms = tally.quality().iter_mut().zip(opened).zip(&mut quality);
            // Signalling never has any; the others open with their first value.
            for ((histogram, opened), points) in
                histograms.filter(|((histogram, _), _)| !histogram.is_empty())
            {
                let opening = (opening.0, !delta && !*opened);
                histogram_points(histogram, attributes, opening, interval.now, points);
                *opened = true;
            }
            if delta {
                tally.clear();
            }
        }
        for ((_, instrument), points) in COUNTERS.into_iter().zip(counters) {
            to.push(instrument.counter(interval.temporality, points));
        }
        for (instrument, points) in QUALITY.into_iter().zip(quality) {
            to.push(instrument.histogram(interval.temporality, points));
        }
    }
}

impl Class {
    fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = vec![Attribute::new(key::DIRECTION, self.direction.as_str())];
        attributes.extend(of_track(self.kind, self.source));
        if let Some(country) = &self.country {
            attributes.push(Attribute::new(key::CLIENT_COUNTRY, Arc::clone(country)));
        }
        if let Some(node) = &self.node {
            let value = Value::Text(node.shared());
            attributes.push(Attribute { key: key::NODE_ID, value });
        }
        attributes
    }
}

// The kind by the codec, if the publication was not reported.
fn kind_of(mime_type: Option<&str>) -> Option<TrackKind> {
    let (kind, _) = mime_type?.split_once('/')?;
    match kind {
        "audio" => Some(TrackKind::Audio),
        "video" => Some(TrackKind::Video),
        _ => None,
    }
}

const QUALITY: [Instrument; QUALITIES] = [
    Instrument::new(metric::NODE_LOSS, "1", "Part of a stream's packets that never came."),
    Instrument::new(metric::NODE_OUT_OF_ORDER, "1", "Part of a stream's packets that came late."),
    Instrument::new(metric::NODE_ROUND_TRIP, "s", "Round trip of a stream; a window's highest."),
    Instrument::new(metric::NODE_JITTER, "s", "Jitter of a stream; a window's highest."),
    Instrument::new(metric::NODE_SCORE, "{score}", "Quality score of a stream, 1 to 5."),
];
