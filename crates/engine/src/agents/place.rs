//! The traces of a job's spans: the room's, that of a turn which no longer fits into it, or the job's own.

use std::sync::Arc;

use super::derived::{Derived, Values, error};
use super::job::{Job, Mode};
use super::missing::Missing;
use super::names;
use super::windows::Windows;
use crate::ids;
use crate::session::{AgentTraces, Sessions};
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::foreign::{Body, Foreign, ForeignLog, ForeignSpan};
use livekit_otel_model::hex;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Link, SpanId, TraceId};

// The spans that end a job come last, and stay in the room's trace.
const FRAME: usize = 16;

/// What surrounds a job.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) room: &'a RoomSid,
    pub(super) job: &'a Arc<str>,
    pub(super) traces: AgentTraces,
    pub(super) max_spans: usize,
    /// How many spans other jobs have in the room's trace.
    pub(super) of_others: usize,
    pub(super) now: Time,
    pub(super) windows: &'a Windows,
    /// Whether stats windows are expected.
    pub(super) has_analytics: bool,
    pub(super) derived: &'a mut Derived,
    pub(super) sessions: &'a mut Sessions,
    pub(super) out: &'a mut Foreign,
}

impl Context<'_> {
    /// Where the values of the job's records go.
    pub(super) fn values(&mut self) -> Values<'_> {
        Values { room: self.room, job: self.job, derived: self.derived, now: self.now }
    }

    // How many more spans of jobs fit into the room's trace.
    fn left(&self, job: &Job) -> usize {
        let used = self.of_others + job.placed;
        let known = self.sessions.job_spans(self.room).map(|(_, left)| left);
        known.unwrap_or_else(|| (self.max_spans / 2).saturating_sub(used))
    }

    // From then on spans are held until their turn is known.
    fn is_nearly_full(&self, job: &Job) -> bool {
        self.left(job) <= self.max_spans / 20 + FRAME
    }

    /// A link to the room's span at that time, if the room is known.
    pub(super) fn room_link(&self, at: Time) -> Option<Link> {
        let place = self.sessions.room_place(self.room, at);
        place.map(|(trace_id, span_id)| Link { trace_id, span_id })
    }

    fn link_to(&self, participant: &ParticipantSid) -> Option<Link> {
        let place = self.sessions.place(self.room, participant);
        place.map(|(trace_id, span_id)| Link { trace_id, span_id })
    }
}

impl Job {
    /// Receives a span; returns whether it is a copy.
    pub(super) fn span(&mut self, span: &ForeignSpan, now: Time, cx: &mut Context<'_>) -> bool {
        self.hear(&span.facts, now);
        if !self.seen.insert(span.span_id, ()) {
            return true;
        }
        self.learn(span, now);
        let mode = match self.mode {
            Some(mode) => mode,
            None => self.decide(span, cx),
        };
        let trace = match mode {
            Mode::Off | Mode::Link => Some(span.trace_id),
            Mode::Join => self.trace_of(span, cx),
        };
        self.learnt.span(span, trace, &mut cx.values());
        if names::ends_job(&span.name, span.parent.is_none()) {
            let place = (trace.unwrap_or_else(|| ids::trace(cx.room)), span.span_id);
            let failed = span.failure.as_ref().and_then(|_| error(span));
            cx.sessions.job_uploaded(cx.job, place, failed);
        }
        match mode {
            Mode::Off => cx.out.spans.push(redacted(span.clone(), self.is_redacted)),
            Mode::Link => self.leave(span.clone(), span.trace_id, cx),
            Mode::Join => match trace {
                Some(trace) => self.place(span.clone(), trace, cx),
                None => self.held.push(span.parent.unwrap_or_default(), span.clone()),
            },
        }
        if mode == Mode::Link {
            self.link_back(span, cx);
        }
        false
    }

    // A provider of the agent's own sends the same spans elsewhere, under the same ids.
    fn decide(&mut self, first: &ForeignSpan, cx: &mut Context<'_>) -> Mode {
        let is_stranger = first.facts.is_plain && !cx.sessions.knows(cx.room);
        let mode = match cx.traces {
            AgentTraces::Off => Mode::Off,
            AgentTraces::Join if first.origin.is_framework && !is_stranger => Mode::Join,
            AgentTraces::Join | AgentTraces::Link => Mode::Link,
        };
        self.mode = Some(mode);
        for log in self.waiting.due(None) {
            self.leave_log(log, cx);
        }
        mode
    }

    /// Receives a log record, which waits if `may_wait` and nothing is decided.
    pub(super) fn log(
        &mut self,
        log: &ForeignLog,
        may_wait: bool,
        now: Time,
        cx: &mut Context<'_>,
    ) {
        self.hear(&log.facts, now);
        self.learnt.log(log);
        if self.mode.is_none() && cx.traces == AgentTraces::Join && may_wait {
            self.waiting.push(log.clone(), now);
        } else {
            self.release_logs(None, cx);
            self.leave_log(log.clone(), cx);
        }
    }

    /// Releases the log records that have waited long enough at `now`; without a time, all.
    pub(super) fn release_logs(&mut self, now: Option<Time>, cx: &mut Context<'_>) {
        for log in self.waiting.due(now) {
            self.leave_log(log, cx);
        }
    }

    fn leave_log(&mut self, mut log: ForeignLog, cx: &mut Context<'_>) {
        let mode = self.mode.unwrap_or(match cx.traces {
            AgentTraces::Join => Mode::Join,
            AgentTraces::Link | AgentTraces::Off => Mode::Off,
        });
        if mode == Mode::Join {
            log.context = match log.context {
                Some((_, span)) => Some((self.trace_now(span, cx), span)),
                None => cx.sessions.room_place(cx.room, log.time),
            };
        }
        redact(&mut log.body, self.is_redacted);
        cx.out.logs.push(log);
    }

    // The trace of a span that may not have come yet.
    fn trace_now(&self, span: SpanId, cx: &Context<'_>) -> TraceId {
        self.own.get(span).unwrap_or_else(|| ids::trace(cx.room))
    }

    // The trace of a span that joins its room; `None` if it has to be held.
    fn trace_of(&mut self, span: &ForeignSpan, cx: &Context<'_>) -> Option<TraceId> {
        let room = ids::trace(cx.room);
        self.held.is_on |= cx.is_nearly_full(self);
        if !self.held.is_on {
            return Some(room);
        }
        // Its children left already.
        if let Some(missing) = self.missing.get(&span.span_id) {
            return Some(missing.trace);
        }
        let Some(parent) = span.parent else { return Some(room) };
        if let Some(own) = self.own.get(parent) {
            return Some(own);
        }
        if self.held.has(parent) {
            return None;
        }
        if names::is_frame(&span.name) {
            return Some(room);
        }
        let is_of_session = self.session.id() == Some(parent) || names::is_in_session(&span.name);
        if names::is_turn(&span.name) || is_of_session {
            return Some(self.weigh(span.span_id, cx));
        }
        if self.seen.contains(parent) {
            return Some(room);
        }
        self.missing.get(&parent).map(|missing| missing.trace)
    }

    // The room's trace if a turn with all that is held of it fits, or else a trace of its own.
    pub(super) fn weigh(&self, turn: SpanId, cx: &Context<'_>) -> TraceId {
        let fits = self.held.below(turn) + FRAME < cx.left(self);
        if fits { ids::trace(cx.room) } else { ids::turn_trace(cx.room, turn) }
    }

    // Releases a span and what is held below it into a trace.
    fn place(&mut self, span: ForeignSpan, trace: TraceId, cx: &mut Context<'_>) {
        let below = self.held.take_below(span.span_id);
        self.leave(span, trace, cx);
        for child in below {
            self.leave(child, trace, cx);
        }
    }

    pub(super) fn leave(&mut self, mut span: ForeignSpan, trace: TraceId, cx: &mut Context<'_>) {
        let original = span.trace_id;
        self.missing.remove(&span.span_id);
        if self.mode == Some(Mode::Join) {
            self.count(span.span_id, trace, cx);
            for link in span.links.iter_mut().filter(|link| link.to.0 == original) {
                link.to.0 = self.trace_now(link.to.1, cx);
            }
            span.trace_id = trace;
        }
        match span.parent {
            None => self.root(&mut span, original, cx),
            Some(parent) => self.child(&mut span, parent, cx),
        }
        if names::is_turn(&span.name) {
            let participant = span.facts.participant.as_ref();
            span.added_links.extend(participant.and_then(|sid| cx.link_to(sid)));
        }
        self.release(span, cx);
    }

    fn count(&mut self, id: SpanId, trace: TraceId, cx: &mut Context<'_>) {
        if trace == ids::trace(cx.room) {
            self.placed += 1;
            cx.sessions.count_job_span(cx.room);
            self.lacks_room |= !cx.sessions.knows(cx.room);
        } else {
            self.own.insert(id, trace);
        }
    }

    fn root(&self, span: &mut ForeignSpan, original: TraceId, cx: &Context<'_>) {
        let room = cx.room_link(span.start);
        if self.mode == Some(Mode::Join) {
            span.parent = Some(room.map_or_else(|| ids::room(cx.room), |room| room.span_id));
            span.added.push(Attribute::new(key::ORIGINAL_TRACE_ID, &*hex(&original)));
            span.added_links.push(Link { trace_id: original, span_id: span.span_id });
        } else {
            let agents = self.agents.iter().filter_map(|sid| cx.link_to(sid));
            span.added_links.extend(room.into_iter().chain(agents));
        }
    }

    fn child(&mut self, span: &mut ForeignSpan, parent: SpanId, cx: &Context<'_>) {
        let own = self.own.get(span.span_id);
        let mut of_parent = span.trace_id;
        // The first of a trace of its own: its parent is elsewhere.
        if own.is_some_and(|own| own == ids::turn_trace(cx.room, span.span_id)) {
            of_parent = ids::trace(cx.room);
            span.parent = None;
            span.added_links.push(Link { trace_id: of_parent, span_id: parent });
        }
        if !self.seen.contains(parent) {
            let missing = self.missing.entry(parent);
            let missing = missing.or_insert_with(|| Missing::new(span, of_parent));
            missing.add(span);
        }
    }

    // The room's and the agent's spans are released at their ends, mostly before the job's root comes, so they
    // are linked to its session.
    fn link_back(&mut self, span: &ForeignSpan, cx: &mut Context<'_>) {
        if let Some(span_id) = self.session.id()
            && !self.is_linked_back
        {
            self.is_linked_back = true;
            let to = Link { trace_id: span.trace_id, span_id };
            cx.sessions.link_back(cx.room, &self.agents, to);
        }
    }
}

/// A span without its content, if that must not leave.
pub(super) fn redacted(mut span: ForeignSpan, is_redacted: bool) -> ForeignSpan {
    redact(&mut span.body, is_redacted);
    for link in &mut span.links {
        redact(&mut link.body, is_redacted);
    }
    span
}

/// Replaces a body by what may leave of it without content.
pub(super) fn redact(body: &mut Body, is_redacted: bool) {
    if is_redacted && let Some(redacted) = body.redacted.take() {
        body.sent = redacted;
    }
}
