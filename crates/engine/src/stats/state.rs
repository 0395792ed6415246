//! The state of all instruments.

use super::calls::CallSeries;
use super::lifecycle::Lifecycle;
use super::node::NodeStreams;
use super::points::{FlushInterval, Instrument, NodeSeries, count_points};
use super::reports::NodeReports;
use super::settings::{Level, NodeStreamSource, Settings};
use super::streams::Streams;
use super::top::Top;
use super::works::WorkSeries;
use crate::facts::{Census, Fact, StreamContext};
use livekit_otel_model::event::{StreamStat, Time};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Metric, Table, Temporality};

/// The instruments and their series.
#[derive(Debug)]
pub struct Stats {
    pub(super) settings: Settings,
    pub(super) nodes: NodeStreams,
    pub(super) streams: Streams,
    pub(super) top: Top,
    pub(super) overflowed: NodeSeries<u64>,
    pub(super) lifecycle: Lifecycle,
    pub(super) works: WorkSeries,
    calls: CallSeries,
    pub(super) flushed: Time,
}

const OVERFLOWED: Instrument = Instrument {
    name: metric::STREAM_OVERFLOWS,
    unit: "{window}",
    description: "Windows that found no series of their own: stats.cardinality_limit is reached.",
};

impl Stats {
    /// Creates instruments without series; the first points of the node's series begin at `now`.
    pub fn new(settings: Settings, now: Time) -> Self {
        Self {
            settings,
            nodes: NodeStreams::default(),
            streams: Streams::default(),
            top: Top::default(),
            overflowed: NodeSeries::new(Vec::new(), 0),
            lifecycle: Lifecycle::new(now),
            works: WorkSeries::default(),
            calls: CallSeries::default(),
            flushed: now,
        }
    }

    /// Sets the beginning to `now`, before anything is applied.
    pub fn begin(&mut self, now: Time) {
        self.lifecycle = Lifecycle::new(now);
        self.flushed = now;
    }

    /// The time of the last flush.
    pub(crate) fn flushed(&self) -> Time {
        self.flushed
    }

    /// Applies a window that was received at `now`, with what its room knows about the stream.
    pub fn window(&mut self, stat: &StreamStat, context: &StreamContext, now: Time) {
        let settings = &self.settings;
        if settings.node_streams == NodeStreamSource::Windows {
            self.nodes.window(settings.histograms, stat, context);
        }
        if settings.level > Level::Node {
            self.streams.window(settings, stat, context, now);
            self.overflowed.value += self.streams.take_overflowed();
        }
        if settings.top_n > 0 {
            self.top.window(settings, stat, context);
        }
    }

    /// Adds a node's own reports and calls.
    pub fn reports(&mut self, reports: NodeReports) {
        for (class, tally) in reports.classes() {
            self.nodes.reports(self.settings.histograms, class, tally);
        }
        let node = reports.node().cloned();
        self.calls.apply(node.as_ref(), reports.into_calls());
    }

    /// Applies a fact of the sessions.
    pub fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::ParticipantReleased { room, participant, .. } => {
                self.streams.end(room, Some(participant));
            }
            Fact::RoomReleased { room } => self.streams.end(room, None),
            Fact::ParticipantUsed(_) | Fact::WorkReleased(_) => {
                self.works.apply(&self.settings, fact);
            }
            fact => self.lifecycle.apply(self.settings.histograms, fact),
        }
    }

    /// How many series of streams have ended and wait for a flush.
    pub fn ended_series(&self) -> usize {
        self.streams.ended()
    }

    /// Begins a flush and returns the points of the nodes' series. [`Stats::flush_streams`] returns those
    /// of streams, until `None`; nothing may be applied in between.
    pub fn flush(&mut self, now: Time, census: &Census) -> Vec<Metric> {
        let interval = FlushInterval {
            since: self.flushed,
            now: now.max(self.flushed),
            temporality: self.settings.temporality,
            histograms: self.settings.histograms,
        };
        let mut metrics = Vec::new();
        self.lifecycle.flush(interval, census, &mut metrics);
        self.works.flush(&self.settings, interval, census, &mut metrics);
        self.nodes.flush(interval, &mut metrics);
        self.calls.flush(interval, &mut metrics);
        if self.settings.top_n > 0 {
            self.top.flush(self.settings.top_n, interval, &mut metrics);
        }
        self.flush_overflowed(interval, &mut metrics);
        metrics.retain(|metric| !metric.data.is_empty());
        self.streams.begin_flush();
        self.flushed = interval.now;
        metrics
    }

    /// The next points of streams that have changed or ended: a bounded number, so that a flush's memory
    /// does not grow with the number of streams.
    pub fn flush_streams(&mut self) -> Option<Table> {
        self.streams.flush_page(&self.settings, self.flushed)
    }

    fn flush_overflowed(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let series = &mut self.overflowed;
        if series.value == 0 {
            return;
        }
        let opening = series.open(interval);
        let mut points = Vec::new();
        count_points(&series.attributes, opening, interval.now, series.value, &mut points);
        if interval.temporality == Temporality::Delta {
            series.value = 0;
        }
        to.push(OVERFLOWED.counter(interval.temporality, points));
    }
}
