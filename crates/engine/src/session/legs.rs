//! A participant's part of a SIP call or of an agent's job. LiveKit's open-source server drops what its SIP service
//! reports of calls, and reports no jobs, so the participant's attributes, its subscriptions and its leave are all
//! that is known. The rules of calls are those of livekit/sip 1.9 (`pkg/sip/inbound.go`, `outbound.go`,
//! `participant.go`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Call;
use super::failure;
use super::jobs::Job;
use super::participant::{End, Participant};
use super::room::Room;
use super::spans::room_attributes;
use livekit_otel_model::event::{ParticipantSid, RoomSid, SipStatus, Time, TrackSid, WorkKind};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, SpanId, TraceId};

// PIN prompts take time: an INVITE may be this long before the join.
const INVITED_WITHIN: Duration = Duration::from_mins(10);
// A new track is subscribed to within this, and the tracks that are there together within this.
const TOGETHER: Duration = Duration::from_secs(1);

/// Whether a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Answered,
    Unanswered,
    Unknown,
}

impl Answer {
    /// The emitted value.
    pub(super) fn name(self) -> Name {
        match self {
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::Unknown => "unknown",
        }
    }
}

/// What a participant has a part in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Of {
    Call { call: Call, requests: Requests },
    Job(Job),
}

/// A participant's part of its call or job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) room: RoomSid,
    pub(super) sid: ParticipantSid,
    /// The participant's span.
    pub(super) place: (TraceId, SpanId),
    pub(super) of: Of,
    pub(super) start: Time,
    pub(super) newest: Time,
    pub(super) end: Option<(Time, End)>,
    /// When its end became known here.
    pub(super) ended_at: Option<Time>,
    /// Whether the participant's spans are released, so that nothing of it changes any more.
    pub(super) is_final: bool,
    pub(super) reason: Option<Arc<str>>,
    /// The room, the participant and the node.
    pub(super) whose: Vec<Attribute>,
}

/// The participant's requests to subscribe to tracks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Requests {
    pub(super) first: Option<Time>,
    /// Whether the first requests were for a track that had been there before.
    pub(super) were_possible_before: bool,
}

impl Requests {
    /// Keeps what was found before: the tracks of publishers that left are forgotten.
    pub(super) fn keep(&mut self, before: Self) {
        self.were_possible_before |= before.were_possible_before && self.first == before.first;
    }
}

impl Leg {
    /// The kind and the id of its call or job.
    pub(super) fn key(&self) -> (WorkKind, Arc<str>) {
        match &self.of {
            Of::Call { call, .. } => (WorkKind::SipCall, Arc::clone(&call.id)),
            Of::Job(job) => (WorkKind::AgentJob, Arc::clone(&job.id)),
        }
    }

    /// Keeps what an earlier state of it had found.
    pub(super) fn keep(&mut self, before: &Self) {
        if let (Of::Call { requests, .. }, Of::Call { requests: before, .. }) =
            (&mut self.of, &before.of)
        {
            requests.keep(*before);
        }
    }

    /// The rule that inferred its end.
    pub(super) fn inferred(&self) -> Option<Name> {
        match self.end {
            Some((_, End::Inferred(rule))) => Some(rule),
            _ => None,
        }
    }

    /// Whether the call was answered, as far as that is known.
    ///
    /// The SIP service subscribes to the tracks of an inbound call's room before it answers, and answers with
    /// the first of them. To those of an outbound call's room it subscribes once the callee has answered.
    pub(super) fn answer(&self) -> Answer {
        let Of::Call { call, requests } = &self.of else { return Answer::Unknown };
        let has_tag = call.has_tag && !call.is_inbound();
        if call.was_active || call.answered.is_some() || has_tag {
            Answer::Answered
        } else if call.left_waiting() {
            Answer::Unanswered
        } else if requests.first.is_some() {
            Answer::Answered
        } else {
            Answer::Unknown
        }
    }

    /// When it was answered, if that is known. A caller that had to enter a PIN was answered before its
    /// participant joined. A request for a track that is as new says only that the callee had answered by then.
    pub(super) fn answered(&self) -> Option<Time> {
        let Of::Call { call, requests } = &self.of else { return None };
        let is_by_request =
            if call.is_inbound() { call.has_waited } else { requests.were_possible_before };
        let requested = requests.first.filter(|_| is_by_request);
        let polled = || call.polled(self.start);
        call.answered.or(requested).or_else(polled).filter(|_| self.answer() == Answer::Answered)
    }

    /// Whether only the API can say that its call was answered, and when.
    pub(super) fn is_waiting(&self) -> bool {
        let Of::Call { call, .. } = &self.of else { return false };
        self.end.is_none() && call.has_waited && !call.was_active && self.answered().is_none()
    }

    /// Why the call or the job failed, if it did: the error type and a message.
    pub(super) fn failure(&self) -> Option<(Arc<str>, &'static str)> {
        let (_, how) = self.end?;
        let reason = self.reason.as_deref();
        let (error_type, message) = match (how, reason) {
            (End::Inferred(_), _) => return None,
            (End::Aborted, _) => failure::ABORTED,
            (End::Left, Some("CLIENT_INITIATED")) => self.dropped()?,
            (End::Left, Some("USER_REJECTED")) => failure::CALL_REJECTED,
            (End::Left, Some("USER_UNAVAILABLE")) => failure::CALL_UNAVAILABLE,
            (End::Left, _) => return failure::of_participant(false, reason),
        };
        Some((error_type.into(), message))
    }

    // What the SIP service's own leave means. It writes `hangup` first where the call was hung up; the status
    // stays where it failed.
    fn dropped(&self) -> Option<(Name, Name)> {
        let Of::Call { call, .. } = &self.of else { return None };
        let is_inbound = call.is_inbound();
        let is_active = matches!(call.last, Some(SipStatus::Automation | SipStatus::Active));
        match self.answer() {
            Answer::Unanswered if is_inbound => Some(failure::CALL_NOT_ANSWERED),
            Answer::Unanswered => Some(failure::CALL_NOT_CONNECTED),
            Answer::Answered if is_active && !is_inbound => Some(failure::CALL_DROPPED),
            Answer::Answered | Answer::Unknown => None,
        }
    }

    /// The attributes of the span of its call or job, in no order.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = self.whose.clone();
        let reason = self.reason.as_ref();
        let reason =
            reason.map(|reason| Attribute::new(key::DISCONNECT_REASON, Arc::clone(reason)));
        attributes.extend(reason);
        match &self.of {
            Of::Call { call, .. } => call.attributes(&mut attributes),
            Of::Job(job) => job.attributes(&mut attributes),
        }
        attributes
    }
}

/// The part of the participant's call or job that is known by now; `None` if it has neither.
pub(super) fn of(room: &Room, sid: &ParticipantSid, is_final: bool) -> Option<Leg> {
    let participant = room.participants.get(sid)?;
    let start = participant.start();
    let (of, invited) = match participant.sip.as_deref() {
        Some(call) => {
            let requests = requests(room, participant);
            let invited = call.invited.filter(|at| start.since(*at) <= INVITED_WITHIN);
            (Of::Call { call: call.clone(), requests }, invited)
        }
        None => (Of::Job(Job::of(room, participant)?), None),
    };
    let end = participant.end.map(|(at, how)| (participant.at_end(at).max(start), how));
    Some(Leg {
        room: room.sid.clone(),
        sid: sid.clone(),
        place: room.place(sid),
        start: invited.map_or(start, |at| at.min(start)),
        newest: participant.newest,
        end,
        ended_at: participant.ended_at(),
        is_final: is_final || participant.released,
        reason: participant.disconnect_reason.clone(),
        whose: whose(room, sid, participant),
        of,
    })
}

fn requests(room: &Room, participant: &Participant) -> Requests {
    let requests = || {
        let subscriptions = participant.subscriptions.iter();
        subscriptions.filter_map(|(sid, of)| Some((of.first_request()?, sid)))
    };
    let Some(first) = requests().map(|(at, _)| at).min() else { return Requests::default() };
    let was_there = |(at, sid): (Time, &TrackSid)| {
        let published = room.catalog.get(sid).and_then(|entry| entry.published);
        at.since(first) <= TOGETHER && published.is_some_and(|from| at.since(from) >= TOGETHER)
    };
    Requests { first: Some(first), were_possible_before: requests().any(was_there) }
}

fn whose(room: &Room, sid: &ParticipantSid, participant: &Participant) -> Vec<Attribute> {
    let mut attributes = room_attributes(room);
    attributes.push(Attribute::new(key::PARTICIPANT_ID, sid.shared()));
    let identity = participant.identity.as_ref().map(|identity| identity.shared());
    let node = participant.node.as_ref().map(|(_, node)| node.shared());
    for (key, text) in [(key::PARTICIPANT_IDENTITY, identity), (key::NODE_ID, node)] {
        attributes.extend(text.map(|text: Arc<str>| Attribute::new(key, text)));
    }
    attributes
}
