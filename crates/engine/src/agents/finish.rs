//! The end of a job: what is held leaves, and what is missing is inferred.

use super::job::{Job, Mode};
use super::missing::{self, Missing};
use super::names;
use super::place::Context;
use crate::ids;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{Facts, ForeignSpan};
use livekit_otel_model::semconv::span as name;
use livekit_otel_model::signal::{Link, SpanId};

impl Job {
    /// Releases what is held, each span where its parent will be.
    pub(super) fn release_held(&mut self, cx: &mut Context<'_>) {
        while let Some(top) = self.held.top() {
            let known = self.missing.get(&top).map(|missing| missing.trace);
            let trace = known.unwrap_or_else(|| self.weigh(top, cx));
            for span in self.held.take_below(top) {
                self.leave(span, trace, cx);
            }
        }
    }

    /// Counts it, if it has ended and nothing more of it is expected at `now`; `is_last` if nothing can come.
    pub(super) fn count_end(&mut self, now: Time, is_last: bool, cx: &mut Context<'_>) {
        if self.count_at().is_some_and(|at| at <= now || is_last) {
            self.learnt.settle(&mut cx.values());
            self.learnt.count(self.first.is_some(), &mut cx.values());
        }
    }

    /// Releases what is held and what waits, and infers what is missing by that rule.
    pub(super) fn finish(&mut self, rule: &'static str, cx: &mut Context<'_>) {
        self.release_held(cx);
        self.release_turns(None, cx);
        let missing = std::mem::take(&mut self.missing);
        let is_there = |id: &SpanId| self.seen.contains(*id) || missing.contains_key(id);
        let session = self.session.id().filter(is_there);
        for (id, missing) in missing {
            let parent = match missing.name() {
                names::SESSION => self.entrypoint.received(),
                name if names::is_in_session(name) => session,
                _ => None,
            };
            let parent = parent.filter(|parent| *parent != id);
            self.seen.insert(id, ());
            let mut span = self.infer(id, missing, parent, rule, cx);
            span.added.extend(self.network(&span, cx));
            cx.out.spans.push(span);
        }
    }

    // The missing span, below `parent` or else below the room.
    fn infer(
        &mut self,
        id: SpanId,
        missing: Missing,
        parent: Option<SpanId>,
        rule: &'static str,
        cx: &Context<'_>,
    ) -> ForeignSpan {
        let (room, trace) = (cx.room_link(missing.start()), missing.trace);
        if self.mode != Some(Mode::Join) {
            let links = room.filter(|_| parent.is_none());
            return missing.infer(id, parent, links.into_iter().collect(), rule);
        }
        let room = room.map_or_else(|| ids::room(cx.room), |room| room.span_id);
        let parent = parent.unwrap_or(room);
        let of_room = ids::trace(cx.room);
        if trace == of_room {
            return missing.infer(id, Some(parent), Vec::new(), rule);
        }
        self.own.insert(id, trace);
        missing.infer(id, None, vec![Link { trace_id: of_room, span_id: parent }], rule)
    }

    /// The span of the room, which the server never reported.
    pub(super) fn room(&self, rule: &'static str, cx: &mut Context<'_>) {
        let Some(((start, _), origin)) = &self.first else { return };
        let times = (*start, self.last.unwrap_or(*start));
        let place = (ids::trace(cx.room), ids::room(cx.room));
        let facts = Facts { room: Some(cx.room.clone()), ..Facts::default() };
        cx.out.spans.push(missing::span(place, name::ROOM, times, origin, facts, rule));
    }
}
