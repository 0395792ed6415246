//! Sums of a node's own reports. The library receives each report and counts it as upstream's
//! `TrackStats` does (livekit pkg/telemetry/stats.go).

use hashbrown::HashTable;
use std::sync::Arc;

use super::calls::Calls;
use super::histogram::Histograms;
use super::node::Class;
use super::tally::Tally;
use super::worker::StatsKey;
use livekit_otel_model::event::NodeId;
use livekit_otel_model::event::report::Report;
use livekit_otel_model::signal::{SpanId, TraceId};

/// Reports by class and calls since the last flush.
#[derive(Debug, Default)]
pub struct NodeReports {
    node: Option<NodeId>,
    histograms: Histograms,
    classes: HashTable<(u64, Class, Tally)>,
    calls: Calls,
}

impl NodeReports {
    /// Creates empty sums, whose histograms have these buckets.
    pub fn new(histograms: Histograms) -> Self {
        Self { histograms, calls: Calls::new(histograms), ..Self::default() }
    }

    /// Sets the node.
    #[must_use]
    pub fn of(self, node: Option<NodeId>) -> Self {
        Self { node, ..self }
    }

    /// Counts a valid report.
    pub fn report(&mut self, key: &StatsKey, report: &impl Report) {
        let (hash, histograms) = (key.class_hash(), self.histograms);
        // A 64-bit hash is enough to distinguish a node's few classes.
        let entry = self.classes.entry(hash, |entry| entry.0 == hash, |entry| entry.0);
        let mut entry = entry.or_insert_with(|| {
            let class = key.class();
            let class = Class {
                node: None,
                direction: key.direction(),
                kind: class.map(|class| class.kind),
                source: class.and_then(|class| class.source),
                country: (!key.country().is_empty()).then(|| Arc::from(key.country())),
            };
            (hash, class, Tally::new(histograms))
        });
        let tally = &mut entry.get_mut().2;
        for stream in report.streams() {
            tally.report(key, &stream);
        }
        if key.class().is_some() && report.score() > 0.0 {
            tally.score(key, report.score());
        }
    }

    /// The node's calls.
    pub fn calls(&mut self) -> &mut Calls {
        &mut self.calls
    }

    /// Moves the content of `other` into this.
    pub fn take(&mut self, other: &mut Self) {
        for (hash, class, tally) in &mut other.classes {
            if tally.has_changed() {
                let known = self.classes.entry(*hash, |entry| entry.0 == *hash, |entry| entry.0);
                let mut known =
                    known.or_insert_with(|| (*hash, class.clone(), Tally::new(self.histograms)));
                known.get_mut().2.merge(tally);
                tally.clear();
            }
        }
        self.calls.take(&mut other.calls);
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = (Class, &Tally)> {
        let of = |class: &Class| Class { node: self.node.clone(), ..class.clone() };
        #[expect(clippy::disallowed_methods, reason = "each class has a series of its own")]
        self.classes.iter().map(move |(_, class, tally)| (of(class), tally))
    }

    /// Looks up the spans of exemplars.
    pub fn find_spans(&mut self, span: &impl Fn(&StatsKey) -> Option<(TraceId, SpanId)>) {
        #[expect(clippy::disallowed_methods, reason = "each is handled on its own")]
        for histogram in self.classes.iter_mut().flat_map(|(_, _, tally)| tally.quality()) {
            histogram.exemplars().find(span);
        }
    }

    pub(super) fn into_calls(self) -> Calls {
        self.calls
    }

    pub(super) fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }
}
