//! All of LiveKit's instruments. Sans-IO: stats windows and facts in, metric points out, at the
//! times given.
//!
//! A stats window is a finished window of one of the server's stats workers: it is applied once
//! and never windowed again, so the histograms count windows.

pub mod calls;
mod histogram;
mod lifecycle;
mod node;
mod participant;
mod points;
mod reports;
mod saved;
mod tally;
pub mod worker;

use calls::CallSeries;
use lifecycle::Lifecycle;
use node::NodeStreams;
use participant::ParticipantStreams;
pub use reports::NodeReports;

use crate::event::{StreamStat, Time};
use crate::session::{Census, Fact, StreamContext};
use crate::signal::{Metric, Temporality};

/// What the instruments are told at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Down to what the per-entity series go.
    pub level: Level,
    /// What sums and histograms count from.
    pub temporality: Temporality,
    /// What the node's streams are counted from.
    pub node_streams: NodeStreamSource,
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

/// `stats.level`: what gets series of its own, beside the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Nothing.
    Node,
    /// Each participant and direction.
    #[default]
    Participant,
}

/// The instruments and their series.
#[derive(Debug)]
pub struct Stats {
    settings: Settings,
    nodes: NodeStreams,
    participants: ParticipantStreams,
    lifecycle: Lifecycle,
    calls: CallSeries,
    flushed: Time,
}

impl Stats {
    /// No series yet; `now` is what the first points of the node's series count from.
    pub fn new(settings: Settings, now: Time) -> Self {
        Self {
            settings,
            nodes: NodeStreams::default(),
            participants: ParticipantStreams::default(),
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
        if self.settings.node_streams == NodeStreamSource::Windows {
            self.nodes.window(stat, context);
        }
        if self.settings.level == Level::Participant {
            self.participants.window(stat, context, now);
        }
    }

    /// Adds what a node saw itself, report by report and call by call.
    pub fn reports(&mut self, reports: NodeReports) {
        for (class, tally) in reports.classes() {
            self.nodes.reports(class, tally);
        }
        let node = reports.node().cloned();
        self.calls.apply(node.as_ref(), reports.into_calls());
    }

    /// Applies what the sessions learned.
    pub fn fact(&mut self, fact: &Fact) {
        if let Fact::ParticipantReleased { room, participant } = fact {
            self.participants.end(room, participant);
        } else {
            self.lifecycle.apply(fact);
        }
    }

    /// How many series of participants have ended and wait for the flush.
    pub fn ended_series(&self) -> usize {
        self.participants.ended()
    }

    /// The points of all that has changed, and of the node's series in any case.
    pub fn flush(&mut self, now: Time, census: &Census) -> Vec<Metric> {
        let window = points::Window {
            since: self.flushed,
            now: now.max(self.flushed),
            temporality: self.settings.temporality,
        };
        let mut metrics = Vec::new();
        self.lifecycle.flush(window, census, &mut metrics);
        self.nodes.flush(window, &mut metrics);
        self.calls.flush(window, &mut metrics);
        self.participants.flush(self.settings.temporality, &mut metrics);
        metrics.retain(|metric| !points::is_empty(metric));
        self.flushed = window.now;
        metrics
    }
}
