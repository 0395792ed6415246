//! A SIP participant's part of its call. LiveKit's open-source server drops what its SIP service reports of calls,
//! so the participant's attributes, its subscriptions and its leave are all that is known. The rules are those of
//! livekit/sip 1.9 (`pkg/sip/inbound.go`, `outbound.go`, `participant.go`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Call;
use super::failure;
use super::participant::{End, Participant};
use super::room::Room;
use super::spans::room_attributes;
use livekit_otel_model::event::{ParticipantSid, RoomSid, SipStatus, Time, TrackSid};
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

/// A participant's part of its call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) room: RoomSid,
    pub(super) sid: ParticipantSid,
    /// The participant's span.
    pub(super) place: (TraceId, SpanId),
    pub(super) call: Call,
    pub(super) start: Time,
    pub(super) newest: Time,
    pub(super) end: Option<(Time, End)>,
    /// When its end became known here.
    pub(super) ended_at: Option<Time>,
    /// Whether the participant's spans are released, so that nothing of it changes any more.
    pub(super) is_final: bool,
    pub(super) requests: Requests,
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
        let call = &self.call;
        let has_tag = call.has_tag && !call.is_inbound();
        if call.was_active || call.answered.is_some() || has_tag {
            Answer::Answered
        } else if call.left_waiting() {
            Answer::Unanswered
        } else if self.requests.first.is_some() {
            Answer::Answered
        } else {
            Answer::Unknown
        }
    }

    /// When it was answered, if that is known. A caller that had to enter a PIN was answered before its
    /// participant joined. A request for a track that is as new says only that the callee had answered by then.
    pub(super) fn answered(&self) -> Option<Time> {
        let call = &self.call;
        let is_by_request =
            if call.is_inbound() { call.has_waited } else { self.requests.were_possible_before };
        let requested = self.requests.first.filter(|_| is_by_request);
        call.answered.or(requested).filter(|_| self.answer() == Answer::Answered)
    }

    /// Why the call failed, if it did: the error type and a message.
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
        let is_inbound = self.call.is_inbound();
        let is_active = matches!(self.call.last, Some(SipStatus::Automation | SipStatus::Active));
        match self.answer() {
            Answer::Unanswered if is_inbound => Some(failure::CALL_NOT_ANSWERED),
            Answer::Unanswered => Some(failure::CALL_NOT_CONNECTED),
            Answer::Answered if is_active && !is_inbound => Some(failure::CALL_DROPPED),
            Answer::Answered | Answer::Unknown => None,
        }
    }

    /// The attributes of the call's span, in no order.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let call = &self.call;
        let direction = if call.is_inbound() { "SCD_INBOUND" } else { "SCD_OUTBOUND" };
        let mut attributes = self.whose.clone();
        attributes.push(Attribute::new(key::SIP_CALL_ID, Arc::clone(&call.id)));
        attributes.push(Attribute::new(key::SIP_CALL_DIRECTION, direction));
        let texts = [
            (key::SIP_TRUNK_ID, &call.trunk),
            (key::SIP_DISPATCH_RULE_ID, &call.rule),
            (key::SIP_PHONE_NUMBER, &call.number),
            (key::SIP_TRUNK_PHONE_NUMBER, &call.trunk_number),
            (key::DISCONNECT_REASON, &self.reason),
        ];
        for (key, text) in texts {
            attributes.extend(text.as_ref().map(|text| Attribute::new(key, Arc::clone(text))));
        }
        let last = call.last.map(|status| Attribute::new(key::SIP_LAST_STATUS, status.name()));
        attributes.extend(last);
        attributes
    }
}

/// The part of the participant's call that is known by now; `None` if it has no call.
pub(super) fn of(room: &Room, sid: &ParticipantSid, is_final: bool) -> Option<Leg> {
    let participant = room.participants.get(sid)?;
    let call = participant.sip.as_deref()?.clone();
    let start = participant.start();
    let invited = call.invited.filter(|at| start.since(*at) <= INVITED_WITHIN);
    let end = participant.end.map(|(at, how)| (participant.at_end(at).max(start), how));
    Some(Leg {
        room: room.sid.clone(),
        sid: sid.clone(),
        place: room.place(sid),
        start: invited.map_or(start, |at| at.min(start)),
        newest: participant.newest,
        end,
        ended_at: participant.ended_at(),
        is_final,
        requests: requests(room, participant),
        reason: participant.disconnect_reason.clone(),
        whose: whose(room, sid, participant),
        call,
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
