//! All of LiveKit's instruments. Sans-IO: stats windows and facts in, metric points out, at the
//! times given.
//!
//! A stats window is a finished window of one of the server's stats workers: it is applied once
//! and never windowed again, so the histograms count windows.

pub mod calls;
mod exemplar;
mod histogram;
mod lifecycle;
mod node;
mod points;
mod reports;
mod saved;
mod streams;
mod tally;
mod top;
pub mod worker;

use calls::CallSeries;
pub use histogram::Histograms;
use lifecycle::Lifecycle;
use node::NodeStreams;
use points::{Instrument, NodeSeries, Window, count_points};
pub use reports::NodeReports;
use streams::Streams;
pub use streams::most_series;
use top::Top;

use crate::session::{Census, Fact, StreamContext};
use livekit_otel_model::event::{StreamStat, Time};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Metric, Table, Temporality};

/// What the instruments are told at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Down to what the streams' series go.
    pub level: Level,
    /// How many series of streams each instrument has at most; what comes after shares one, which
    /// `otel.metric.overflow` tells.
    pub cardinality_limit: usize,
    /// How many of the participants whose media fares worst are told by name; 0 for none.
    pub top_n: usize,
    /// What distributions are told over.
    pub histograms: Histograms,
    /// What sums and histograms count from.
    pub temporality: Temporality,
    /// What the node's streams are counted from.
    pub node_streams: NodeStreamSource,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: Level::default(),
            cardinality_limit: 100_000,
            top_n: 0,
            histograms: Histograms::default(),
            temporality: Temporality::default(),
            node_streams: NodeStreamSource::default(),
        }
    }
}

/// What the node's stream metrics are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeStreamSource {
    /// Finished windows: all that another process tells.
    #[default]
    Windows,
    /// Each report, by [`Stats::reports`]: windows don't count again.
    Reports,
}

/// `stats.level`: what has series of its own, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing but nodes.
    Node,
    /// Each room.
    Room,
    /// Each participant.
    #[default]
    Participant,
    /// Each track of each participant that sends or receives it.
    Track,
}

impl Level {
    /// All, by the names that settings have for them.
    pub const NAMES: [(&str, Self); 4] = [
        ("node", Self::Node),
        ("room", Self::Room),
        ("participant", Self::Participant),
        ("track", Self::Track),
    ];
}

/// The instruments and their series.
#[derive(Debug)]
pub struct Stats {
    settings: Settings,
    nodes: NodeStreams,
    streams: Streams,
    top: Top,
    overflowed: NodeSeries<u64>,
    lifecycle: Lifecycle,
    calls: CallSeries,
    flushed: Time,
}

const OVERFLOWED: Instrument = Instrument {
    name: metric::STREAM_OVERFLOWS,
    unit: "{window}",
    description: "Windows that found no series of their own: stats.cardinality_limit is reached.",
};

impl Stats {
    /// No series yet; `now` is what the first points of the node's series count from.
    pub fn new(settings: Settings, now: Time) -> Self {
        Self {
            settings,
            nodes: NodeStreams::default(),
            streams: Streams::default(),
            top: Top::default(),
            overflowed: NodeSeries::new(Vec::new(), 0),
            lifecycle: Lifecycle::new(now),
            calls: CallSeries::default(),
            flushed: now,
        }
    }

    /// Begins at `now`, before anything is applied.
    pub fn begin(&mut self, now: Time) {
        self.lifecycle = Lifecycle::new(now);
        self.flushed = now;
    }

    /// Applies a window that came at `now`, with what its room knows of the stream.
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
            self.top.window(stat, context);
        }
    }

    /// Adds what a node saw itself, report by report and call by call.
    pub fn reports(&mut self, reports: NodeReports) {
        for (class, tally) in reports.classes() {
            self.nodes.reports(self.settings.histograms, class, tally);
        }
        let node = reports.node().cloned();
        self.calls.apply(node.as_ref(), reports.into_calls());
    }

    /// Applies what the sessions learned.
    pub fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::ParticipantReleased { room, participant } => {
                self.streams.end(room, Some(participant));
            }
            Fact::RoomReleased { room } => self.streams.end(room, None),
            fact => self.lifecycle.apply(self.settings.histograms, fact),
        }
    }

    /// How many series of streams have ended and wait for the flush.
    pub fn ended_series(&self) -> usize {
        self.streams.ended()
    }

    /// Begins a flush: gives the points of the nodes' series. Those of streams are given by
    /// [`Stats::flush_streams`], until it gives none; nothing is to be applied in between.
    pub fn flush(&mut self, now: Time, census: &Census) -> Vec<Metric> {
        let window = Window {
            since: self.flushed,
            now: now.max(self.flushed),
            temporality: self.settings.temporality,
            histograms: self.settings.histograms,
        };
        let mut metrics = Vec::new();
        self.lifecycle.flush(window, census, &mut metrics);
        self.nodes.flush(window, &mut metrics);
        self.calls.flush(window, &mut metrics);
        if self.settings.top_n > 0 {
            self.top.flush(self.settings.top_n, window, &mut metrics);
        }
        self.flush_overflowed(window, &mut metrics);
        metrics.retain(|metric| !metric.data.is_empty());
        self.streams.begin_flush();
        self.flushed = window.now;
        metrics
    }

    /// The next points of streams that have changed or ended, not many at once, so that a flush
    /// takes no more memory the more there are.
    pub fn flush_streams(&mut self) -> Option<Table> {
        self.streams.flush_page(&self.settings, self.flushed)
    }

    fn flush_overflowed(&mut self, window: Window, to: &mut Vec<Metric>) {
        let series = &mut self.overflowed;
        if series.value == 0 {
            return;
        }
        let opening = series.open(window);
        let mut points = Vec::new();
        count_points(&series.attributes, opening, window.now, series.value, &mut points);
        if window.temporality == Temporality::Delta {
            series.value = 0;
        }
        to.push(OVERFLOWED.counter(window.temporality, points));
    }
}
