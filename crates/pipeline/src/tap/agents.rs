//! What the live view needs of agents' records: no bodies, and nothing of unbounded length.

use std::sync::Arc;

use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::foreign::{Facts, Foreign, ForeignLog, ForeignSpan, Measured};
use livekit_otel_model::signal::{Attribute, SpanId};

// Agents' names and error types are shorter.
const LONGEST: usize = 128;

/// Which room and job a record of an agent names.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentJob {
    /// The room.
    pub room: RoomSid,
    /// The job, if it names one.
    pub job: Option<Arc<str>>,
    /// Whether it came as plain OTLP: what it says of rooms may be wrong.
    pub is_plain: bool,
}

/// A finished span of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpan {
    /// Its room and job.
    pub of: AgentJob,
    /// Its id.
    pub span_id: SpanId,
    /// Its parent span.
    pub parent: Option<SpanId>,
    /// Its name, at most 128 bytes.
    pub name: Arc<str>,
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// The error type if its status is an error, at most 128 bytes; empty where it has none.
    pub failure: Option<Arc<str>>,
    /// The participant that it is about.
    pub participant: Option<ParticipantSid>,
    /// What it says of models, tools and turns.
    pub measured: Option<Box<Measured>>,
    /// Attributes that the engine added.
    pub added: Vec<Attribute>,
}

/// An error that an agent logged.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentError {
    /// Its room and job.
    pub of: AgentJob,
    /// When it happened.
    pub time: Time,
    /// The type of its exception, at most 128 bytes.
    pub error: Arc<str>,
}

/// The spans and errors of records that name a room.
pub(super) fn read(foreign: Foreign) -> (Vec<AgentSpan>, Vec<AgentError>) {
    let spans = foreign.spans.into_iter().filter_map(span).collect();
    (spans, foreign.logs.into_iter().filter_map(error).collect())
}

fn span(span: ForeignSpan) -> Option<AgentSpan> {
    Some(AgentSpan {
        of: of(&span.facts)?,
        span_id: span.span_id,
        parent: span.parent,
        name: cut(span.name),
        start: span.start,
        end: span.end,
        failure: span.failure.map(cut),
        participant: span.facts.participant,
        measured: span.facts.measured,
        added: span.added,
    })
}

fn error(log: ForeignLog) -> Option<AgentError> {
    let error = cut(log.failure?);
    Some(AgentError { of: of(&log.facts)?, time: log.time, error })
}

fn of(facts: &Facts) -> Option<AgentJob> {
    let room = facts.room.clone()?;
    Some(AgentJob { room, job: facts.job.clone(), is_plain: facts.is_plain })
}

fn cut(text: Arc<str>) -> Arc<str> {
    match text.get(..text.floor_char_boundary(LONGEST)) {
        Some(cut) if cut.len() < text.len() => cut.into(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::foreign::{Body, Origin};

    fn facts(room: Option<&str>) -> Facts {
        Facts { room: room.and_then(RoomSid::new), ..Facts::default() }
    }

    fn span(room: Option<&str>, name: &str) -> ForeignSpan {
        ForeignSpan {
            origin: Arc::new(Origin::default()),
            trace_id: [1; 16],
            span_id: [2; 8],
            parent: None,
            name: name.into(),
            start: Time::from_secs(1).unwrap(),
            end: Time::from_secs(2).unwrap(),
            failure: None,
            links: Vec::new(),
            facts: facts(room),
            added: Vec::new(),
            added_links: Vec::new(),
            body: Body::default(),
        }
    }

    fn log(room: Option<&str>, failure: Option<&str>) -> ForeignLog {
        ForeignLog {
            origin: Arc::new(Origin::default()),
            time: Time::from_secs(1).unwrap(),
            context: None,
            facts: facts(room),
            failure: failure.map(Arc::from),
            body: Body::default(),
        }
    }

    #[test]
    fn only_spans_and_errors_that_name_a_room_pass() {
        let spans = vec![span(Some("RM_1"), "agent_turn"), span(None, "agent_turn")];
        let logs = [(Some("RM_1"), Some("E")), (None, Some("E")), (Some("RM_1"), None)];
        let logs = logs.map(|(room, failure)| log(room, failure)).to_vec();
        let (spans, errors) = read(Foreign { spans, logs, metrics: Vec::new() });
        assert_eq!((spans.len(), errors.len(), &*errors[0].error), (1, 1, "E"));
    }

    #[test]
    fn names_are_bounded() {
        let long = "é".repeat(1000);
        let mut span = span(Some("RM_1"), &long);
        span.failure = Some(long.as_str().into());
        let logs = vec![log(Some("RM_1"), Some(&long))];
        let (spans, errors) = read(Foreign { spans: vec![span], logs, metrics: Vec::new() });
        let cut = "é".repeat(64);
        assert_eq!((&*spans[0].name, &*errors[0].error), (&*cut, &*cut));
        assert_eq!(spans[0].failure.as_deref(), Some(&*cut));
    }
}
