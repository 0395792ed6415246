//! Spans that are held until the turn is known to which they belong, as their job's part of the room's trace is
//! nearly used up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::waiting::Size;
use livekit_otel_model::foreign::ForeignSpan;
use livekit_otel_model::signal::SpanId;

/// How many bytes and spans are held in all jobs together.
pub(super) const MOST: Size = Size { bytes: 32 << 20, records: 50_000 };

/// Those of one job, by their parents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    /// Whether spans are held, as their job's part of the room's trace is nearly used up.
    pub(super) is_on: bool,
    children: BTreeMap<SpanId, Vec<ForeignSpan>>,
    parents: BTreeMap<SpanId, SpanId>,
    size: Size,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    pub(super) fn has(&self, id: SpanId) -> bool {
        self.parents.contains_key(&id)
    }

    pub(super) fn push(&mut self, parent: SpanId, span: ForeignSpan) {
        self.size += Size::of_span(&span);
        self.parents.insert(span.span_id, parent);
        self.children.entry(parent).or_default().push(span);
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// How many spans are below this one.
    pub(super) fn below(&self, id: SpanId) -> usize {
        let (mut count, mut next) = (0, vec![id]);
        // Spans that are parents of each other end it too.
        while count <= self.parents.len()
            && let Some(id) = next.pop()
        {
            for child in self.children.get(&id).into_iter().flatten() {
                count += 1;
                next.push(child.span_id);
            }
        }
        count
    }

    /// Removes the spans below this one and returns them, each after its parent.
    pub(super) fn take_below(&mut self, id: SpanId) -> Vec<ForeignSpan> {
        let mut taken = self.take_children(id);
        let mut at = 0;
        while let Some(id) = taken.get(at).map(|span| span.span_id) {
            taken.extend(self.take_children(id));
            at += 1;
        }
        taken
    }

    fn take_children(&mut self, id: SpanId) -> Vec<ForeignSpan> {
        let children = self.children.remove(&id).unwrap_or_default();
        for child in &children {
            self.size -= Size::of_span(child);
            self.parents.remove(&child.span_id);
        }
        children
    }

    /// The smallest id of a parent that is not held itself.
    pub(super) fn top(&self) -> Option<SpanId> {
        let is_top = |id: &&SpanId| !self.parents.contains_key(*id);
        self.children.keys().find(is_top).or_else(|| self.children.keys().next()).copied()
    }
}
