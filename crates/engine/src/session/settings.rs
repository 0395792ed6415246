//! Settings of the sessions.

use std::sync::Arc;
use std::time::Duration;

use livekit_otel_model::hex;
use livekit_otel_model::signal::TraceId;

/// How long sessions wait, what they keep, and which spans share a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a participant's spans wait for its last stats. Servers flush those every
    /// 30 s, after the participant has left.
    pub linger: Duration,
    /// How long a webhook waits for its twin from the analytics, if those are connected.
    pub twin_wait: Duration,
    /// After how long without any message a room's end is inferred.
    pub silent_after: Duration,
    /// After how long an egress that has not begun to record is stuck. LiveKit's egress service gives one up
    /// after about a minute without media.
    pub egress_starting: Duration,
    /// After how long an egress that is ending is stuck: the egress service waits 30 s for the end of its
    /// pipeline (livekit/egress `pkg/pipeline/controller.go`), and then uploads its files.
    pub egress_ending: Duration,
    /// How long ended rooms and participants are kept for late messages.
    pub keep_ended: Duration,
    /// How long the ids of forgotten rooms are remembered, so that no second span is made of one.
    pub keep_ended_ids: Duration,
    /// How many bytes ended rooms may take; beyond that the oldest are forgotten early.
    pub max_ended: usize,
    /// How many ids of received messages, and of forgotten rooms, are remembered; beyond that the oldest
    /// are forgotten early.
    pub max_ids: usize,
    /// Which spans share a trace.
    pub scope: TraceScope,
    /// How many spans a trace has at most.
    pub max_spans: usize,
    /// How old a room may be for new participants to be in its trace.
    pub max_age: Duration,
    /// Whether each subscription has a span, from its answer to its end. Their number grows with the
    /// square of the participants.
    pub subscriptions: bool,
    /// Where a trace can be viewed, with `{trace_id}` for its id.
    pub trace_url: Option<Arc<str>>,
    /// What becomes of the traces of agents' jobs; `None` chooses by `scope`.
    pub agent_traces: Option<AgentTraces>,
    /// How long after its dispatch an agent may join before the dispatch counts as failed.
    pub dispatch_deadline: Duration,
    /// Whether each room expects an agent, so that an automatic dispatch without one has failed.
    pub agents_expected: bool,
}

/// Which spans share a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TraceScope {
    /// Those of a room and its participants, up to the trace's limits.
    #[default]
    Room,
    /// Those of a participant; the room has a trace of its own.
    Participant,
}

/// What becomes of the trace of an agent's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentTraces {
    /// It becomes a part of its room's trace, unless its provider is the agent's own.
    Join,
    /// It keeps its ids and is linked to its room.
    Link,
    /// It is passed on unchanged.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(35),
            twin_wait: Duration::from_secs(2),
            silent_after: Duration::from_hours(24),
            egress_starting: Duration::from_secs(90),
            egress_ending: Duration::from_mins(5),
            keep_ended: Duration::from_hours(1),
            keep_ended_ids: Duration::from_hours(48),
            max_ended: 128 << 20,
            max_ids: 3_500_000,
            scope: TraceScope::Room,
            max_spans: 5000,
            max_age: Duration::from_hours(6),
            subscriptions: false,
            trace_url: None,
            agent_traces: None,
            dispatch_deadline: Duration::from_secs(15),
            agents_expected: false,
        }
    }
}

impl Settings {
    /// What becomes of the traces of agents' jobs: they join the trace of a room, and are linked to rooms
    /// whose participants have traces of their own.
    pub fn agent_traces(&self) -> AgentTraces {
        let by_scope = match self.scope {
            TraceScope::Room => AgentTraces::Join,
            TraceScope::Participant => AgentTraces::Link,
        };
        self.agent_traces.unwrap_or(by_scope)
    }

    /// Where this trace can be viewed; `None` if that is not set.
    pub fn url_of(&self, trace: &TraceId) -> Option<String> {
        let url = self.trace_url.as_deref()?;
        Some(url.replace("{trace_id}", &hex(trace)))
    }
}
