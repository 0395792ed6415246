//! Spans that name no job, of which each passes once.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::place::redacted;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::ForeignSpan;
use livekit_otel_model::signal::{SpanId, TraceId};

// How long, and how many of, their ids are remembered.
const REMEMBERED: Duration = Duration::from_mins(15);
const MOST: usize = 500_000;

/// The ids of those that passed.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    known: BTreeSet<(TraceId, SpanId)>,
    order: VecDeque<(Time, TraceId, SpanId)>,
}

impl Strangers {
    /// Passes spans on; returns how many are copies.
    pub(super) fn pass(
        &mut self,
        spans: &[ForeignSpan],
        now: Time,
        out: &mut Vec<ForeignSpan>,
    ) -> u64 {
        let mut copies = 0;
        for span in spans {
            if self.add((span.trace_id, span.span_id), now) {
                out.push(redacted(span.clone(), span.facts.is_redacted));
            } else {
                copies += 1;
            }
        }
        copies
    }

    fn add(&mut self, (trace, span): (TraceId, SpanId), now: Time) -> bool {
        let is_new = self.known.insert((trace, span));
        if is_new {
            self.order.push_back((now, trace, span));
        }
        while let Some((at, trace, span)) = self.order.front().copied()
            && (now.since(at) > REMEMBERED || self.order.len() > MOST)
        {
            self.known.remove(&(trace, span));
            self.order.pop_front();
        }
        is_new
    }

    /// The spans of a trace.
    pub(super) fn of(&self, trace: &TraceId) -> Vec<SpanId> {
        let spans = self.known.range((*trace, [0; 8])..=(*trace, [0xff; 8]));
        spans.map(|(_, span)| *span).collect()
    }

    /// Those of a snapshot, and those for one.
    pub(super) fn order(&self) -> &VecDeque<(Time, TraceId, SpanId)> {
        &self.order
    }

    pub(super) fn restore(&mut self, order: Vec<(Time, TraceId, SpanId)>) {
        self.known.extend(order.iter().map(|(_, trace, span)| (*trace, *span)));
        self.order.extend(order);
    }
}
