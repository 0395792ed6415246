//! Spans that others name as their parent and that never come: they are inferred from their children.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{Body, Facts, ForeignSpan, Origin};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Link, SpanId, TraceId};

/// What the children say of their parent. It does not depend on their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Missing {
    /// The trace in which its children left.
    pub(super) trace: TraceId,
    // The child that began first.
    first: (Time, SpanId),
    origin: Arc<Origin>,
    facts: Facts,
    rank: usize,
    end: Time,
}

impl Missing {
    /// The parent of one child, which left in that trace.
    pub(super) fn new(child: &ForeignSpan, trace: TraceId) -> Self {
        Self {
            trace,
            first: (child.start, child.span_id),
            origin: Arc::clone(&child.origin),
            facts: of_job(&child.facts),
            rank: names::rank(&child.name),
            end: child.end,
        }
    }

    /// Adds another child.
    pub(super) fn add(&mut self, child: &ForeignSpan) {
        let first = (child.start, child.span_id);
        if first < self.first {
            self.first = first;
            self.origin = Arc::clone(&child.origin);
            self.facts = of_job(&child.facts);
        }
        self.rank = self.rank.min(names::rank(&child.name));
        self.end = self.end.max(child.end);
    }

    pub(super) fn start(&self) -> Time {
        self.first.0
    }

    pub(super) fn name(&self) -> &'static str {
        names::parent(self.rank)
    }

    /// The span with this id.
    pub(super) fn infer(
        self,
        span_id: SpanId,
        parent: Option<SpanId>,
        added_links: Vec<Link>,
        rule: &'static str,
    ) -> ForeignSpan {
        let name = self.name();
        let times = (self.first.0, self.end);
        let mut span = span((self.trace, span_id), name, times, &self.origin, self.facts, rule);
        span.parent = parent;
        span.added_links = added_links;
        span
    }
}

/// A span without any original.
pub(super) fn span(
    (trace_id, span_id): (TraceId, SpanId),
    name: &str,
    (start, end): (Time, Time),
    origin: &Arc<Origin>,
    facts: Facts,
    rule: &'static str,
) -> ForeignSpan {
    let room = facts.room.as_ref().map(|room| Attribute::new(key::ROOM_ID, room.shared()));
    let job = facts.job.as_ref().map(|job| Attribute::new(key::JOB_ID, Arc::clone(job)));
    let rule = Attribute::new(key::END_INFERRED, rule);
    ForeignSpan {
        origin: Arc::clone(origin),
        trace_id,
        span_id,
        parent: None,
        name: name.into(),
        start,
        end: end.max(start),
        failure: None,
        links: Vec::new(),
        added: room.into_iter().chain(job).chain([rule]).collect(),
        added_links: Vec::new(),
        facts,
        body: Body::default(),
    }
}

/// The room and the job alone.
pub(super) fn of_job(facts: &Facts) -> Facts {
    Facts { room: facts.room.clone(), job: facts.job.clone(), ..Facts::default() }
}
