//! What became of a dispatch: a function of what the server's clock says, whenever it is received.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dispatches::{Dispatch, Job};
use super::failure;
use super::released::Released;
use super::room::Room;
use super::settings::Settings;
use super::spans::room_attributes;
use super::works::{self, Place};
use crate::facts::{Fact, WorkDone};
use livekit_otel_model::event::{Identity, ParticipantSid, Time, WorkKind};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{Attribute, Link, LogRecord, Severity, Span, SpanKind};

// Longer than any room is open.
const NEVER: Duration = Duration::from_hours(87_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Joined,
    Rejected,
    NotJoined,
    NoWorker,
    RoomEnded,
    Deleted,
    /// Nobody has joined for whom a worker could be asked.
    Waiting,
}

impl Outcome {
    fn name(self) -> Name {
        match self {
            Self::Joined => "joined",
            Self::Rejected => "rejected",
            Self::NotJoined => "not_joined",
            Self::NoWorker => "no_worker",
            Self::RoomEnded => "room_ended",
            Self::Deleted => "deleted",
            Self::Waiting => "waiting",
        }
    }

    // The error type and a message, if it is a failure.
    fn failure(self) -> Option<(Name, Name)> {
        match self {
            Self::Rejected => Some(failure::DISPATCH_REJECTED),
            Self::NotJoined => Some(failure::DISPATCH_NOT_JOINED),
            Self::NoWorker => Some(failure::DISPATCH_NO_WORKER),
            Self::Joined | Self::RoomEnded | Self::Deleted | Self::Waiting => None,
        }
    }
}

/// What became of a dispatch, as far as that is known.
#[derive(Debug)]
pub(super) struct Verdict {
    outcome: Outcome,
    end: Time,
    // Its agent that joined first, also if that was too late, and its job.
    agent: Option<(Time, ParticipantSid)>,
    job: Option<Arc<str>>,
}

impl Verdict {
    /// What is known of a dispatch with that deadline; `None` if that has not begun.
    pub(super) fn of(
        dispatch: &Dispatch,
        listed: &BTreeMap<Identity, (Time, ParticipantSid)>,
        room: &Room,
        deadline: Option<Time>,
    ) -> Self {
        let has_begun = deadline.is_some();
        let deadline = deadline.unwrap_or(dispatch.created + NEVER);
        let came = came(dispatch, listed, room);
        let room_end = room.end.map(|end| room.at_end(end)).filter(|at| *at < deadline);
        let deleted = dispatch.deleted.filter(|at| *at < deadline);
        let in_time = came.as_ref().map(|came| came.at).filter(|at| *at <= deadline);
        let is_rejected =
            !dispatch.jobs.is_empty() && dispatch.jobs.values().all(|job| job.is_rejected);
        let (outcome, end) = match (in_time, deleted, room_end) {
            (Some(at), _, _) => (Outcome::Joined, at),
            _ if is_rejected => (Outcome::Rejected, rejected(dispatch).unwrap_or(deadline)),
            (None, Some(at), end) if end.is_none_or(|end| at <= end) => (Outcome::Deleted, at),
            (None, _, Some(at)) => (Outcome::RoomEnded, at),
            _ if !has_begun => (Outcome::Waiting, dispatch.created),
            _ if dispatch.jobs.is_empty() => (Outcome::NoWorker, deadline),
            _ => (Outcome::NotJoined, deadline),
        };
        let first = || dispatch.jobs.first_key_value().map(|(id, _)| id);
        let job = came.as_ref().map(|came| came.job).or_else(first).cloned();
        let agent = came.map(|came| (came.at, came.sid.clone()));
        Self { outcome, end: end.clamp(dispatch.created, deadline), agent, job }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.outcome.failure().is_some()
    }

    /// Whether its agent is absent, as far as is known.
    pub(super) fn is_absence(&self) -> bool {
        self.outcome == Outcome::NotJoined
    }

    pub(super) fn is_rejected(&self) -> bool {
        self.outcome == Outcome::Rejected
    }

    /// Whether its agent came in time.
    pub(super) fn has_agent(&self) -> bool {
        self.outcome == Outcome::Joined
    }

    /// The log record of a failure.
    pub(super) fn record(
        &self,
        id: &Arc<str>,
        dispatch: &Dispatch,
        room: &Room,
        now: Time,
        settings: &Settings,
    ) -> Option<LogRecord> {
        let place = place(id, dispatch, room)?;
        let mut attributes = self.attributes(id, dispatch, room);
        let url = settings.url_of(&place.trace);
        attributes.extend(url.map(|url| Attribute::new(key::TRACE_URL, &*url)));
        attributes.push(Attribute::new(key::SOURCE, "api"));
        Some(LogRecord {
            event_name: event::AGENT_DISPATCH_FAILED.into(),
            time: self.end,
            observed: now,
            severity: Severity::Warn,
            context: Some((place.trace, place.span)),
            attributes,
        })
    }

    /// Releases its span.
    pub(super) fn release(
        &self,
        id: &Arc<str>,
        dispatch: &Dispatch,
        room: &Room,
        out: &mut Released,
    ) {
        let Some(place) = place(id, dispatch, room) else { return };
        let mut attributes = self.attributes(id, dispatch, room);
        if let (Outcome::RoomEnded, Some(rule)) = (self.outcome, room.end_inferred) {
            attributes.push(Attribute::new(key::END_INFERRED, rule));
        }
        let link = |(trace_id, span_id)| Link { trace_id, span_id };
        let agent = self.agent.as_ref().map(|(_, sid)| room.place(sid));
        let span = Span {
            trace_id: place.trace,
            span_id: place.span,
            parent: place.parent,
            name: span::AGENT_DISPATCH,
            kind: SpanKind::Internal,
            start: dispatch.created,
            end: self.end,
            attributes,
            links: place.room.into_iter().chain(agent).map(link).collect(),
        };
        let first = self.agent.as_ref().map(|(at, _)| at.since(dispatch.created));
        let done = WorkDone::new(WorkKind::AgentDispatch, Some(room.sid.clone()), &span, first);
        out.facts.push(Fact::WorkReleased(Box::new(done)));
        out.spans.push(span);
    }

    // In the order of their keys, and the failure.
    fn attributes(&self, id: &Arc<str>, dispatch: &Dispatch, room: &Room) -> Vec<Attribute> {
        let mut attributes = room_attributes(room);
        attributes.push(Attribute::new(key::DISPATCH_ID, Arc::clone(id)));
        attributes.push(Attribute::new(key::DISPATCH_OUTCOME, self.outcome.name()));
        attributes.push(Attribute::new(key::DISPATCH_AUTOMATIC, dispatch.agent_name.is_none()));
        let job: Option<&Job> = self.job.as_ref().and_then(|job| dispatch.jobs.get(job));
        for (key, text) in [
            (key::AGENT_NAME, dispatch.agent_name.as_ref()),
            (key::JOB_ID, self.job.as_ref()),
            (key::JOB_WORKER_ID, job.and_then(|job| job.worker.as_ref())),
        ] {
            attributes.extend(text.map(|text| Attribute::new(key, Arc::clone(text))));
        }
        if let Some((at, sid)) = &self.agent {
            let latency = at.since(dispatch.created).as_secs_f64();
            attributes.push(Attribute::new(key::DISPATCH_LATENCY, latency));
            attributes.push(Attribute::new(key::PARTICIPANT_ID, sid.shared()));
            let agent = room.participants.get(sid);
            let identity = agent.and_then(|agent| agent.identity.as_ref());
            let identity =
                identity.map(|it| Attribute::new(key::PARTICIPANT_IDENTITY, it.shared()));
            attributes.extend(identity);
        }
        attributes.sort_by_key(|attribute| attribute.key);
        if let Some((error_type, message)) = self.outcome.failure() {
            let error = job.and_then(|job| job.error.clone());
            let error = error.unwrap_or_else(|| message.into());
            failure::attributes(&error_type.into(), Some(error), &mut attributes);
        }
        attributes
    }
}

// The place of its span, if it has one.
fn place(id: &str, dispatch: &Dispatch, room: &Room) -> Option<Place> {
    works::place_of(WorkKind::AgentDispatch, id, room, dispatch.is_admitted?).into()
}

// An agent of a dispatch.
struct Came<'a> {
    at: Time,
    sid: &'a ParticipantSid,
    job: &'a Arc<str>,
}

// The agent that joined first.
fn came<'a>(
    dispatch: &'a Dispatch,
    listed: &'a BTreeMap<Identity, (Time, ParticipantSid)>,
    room: &'a Room,
) -> Option<Came<'a>> {
    let agents = dispatch.jobs.iter().flat_map(|(job, it)| {
        let sids = it.identity.as_ref().and_then(|identity| room.identities.get(identity));
        let known = sids.into_iter().flatten().filter_map(move |sid| {
            let at = room.participants.get(sid)?.joined_at();
            Some(Came { at, sid, job })
        });
        let listed = it.identity.as_ref().and_then(|identity| listed.get(identity));
        known.chain(listed.map(|(at, sid)| Came { at: *at, sid, job }))
    });
    agents.min_by_key(|came| (came.at, came.sid))
}

// When the last of its jobs was rejected.
fn rejected(dispatch: &Dispatch) -> Option<Time> {
    dispatch.jobs.values().filter_map(|job| job.ended).max()
}
