//! One operation: what was reported of it, and its span.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::joined::Joined;
use super::stuck::{Stuck, Times, Watch};
use crate::facts::WorkDone;
use crate::ids;
use crate::session::attributes::attribute;
use crate::session::event_time::earliest;
use crate::session::failure;
use crate::session::legs::{Answer, Leg};
use crate::session::presence::{END_BY_LIST, Presence};
use crate::session::settings::Settings;
use livekit_otel_model::event::{Event, Failure, RoomSid, Time, Work, WorkKind};
use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{
    Attribute, Link, LogRecord, Severity, Span, SpanId, SpanKind, TraceId, Value,
};

/// The rule for an operation whose beginning was not reported.
const START_BY_FIRST_REPORT: &str = "first_report";
// The error type of SIP's status 487.
const CANCELLED: &str = "sip_request_terminated";

/// How much a report counts beside the others of its operation. What has ended is final, so its first
/// end is above everything else. Of other reports the newest is above, by its own time, and of those
/// with the same time the one whose status is furthest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Rank {
    is_over: bool,
    // Unix nanoseconds, for an end counted from the latest time.
    at: u64,
    status: i32,
}

impl Rank {
    fn of(work: &Work, at: Time) -> Self {
        let at = work.updated.unwrap_or(at).nanos();
        let at = if work.is_over { u64::MAX - at } else { at };
        Self { is_over: work.is_over, at, status: work.status.unwrap_or(-1) }
    }
}

/// The place of its span.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::session) struct Place {
    pub(in crate::session) trace: TraceId,
    pub(in crate::session) span: SpanId,
    pub(in crate::session) parent: Option<SpanId>,
    // The room that it is linked to, in another trace.
    pub(in crate::session) room: Option<(TraceId, SpanId)>,
}

/// What is known of an operation. Only its place and its room depend on the order of its reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) place: Place,
    /// The first room that was reported of it.
    pub(super) room: Option<RoomSid>,
    first: Time,
    newest: Time,
    // The earliest of those reported.
    started: Option<Time>,
    result_started: Option<Time>,
    ended: Option<Time>,
    // The first event that reports its beginning, and the first that says that it is over.
    began: Option<Time>,
    over: Option<Time>,
    failure: Option<(Rank, Option<Failure>)>,
    attributes: Vec<(Rank, Attribute)>,
    /// When it is looked at next, and when its span is released if nothing is reported before.
    pub(super) due: Time,
    pub(super) release_at: Time,
    pub(super) is_released: bool,
    // Of a SIP call: when it was answered. What the participants of a call or a job say.
    answered: Option<(Rank, Option<Time>)>,
    joined: Joined,
    /// Whether lists have it, and its end if they have it no more.
    pub(super) presence: Presence,
    pub(super) gone: Option<Time>,
    // Of a job: its agent's own spans of it, and what failed in the agent's words.
    uploaded: Option<(TraceId, SpanId)>,
    error: Option<Arc<str>>,
    /// Of an egress that is not released.
    pub(super) watch: Option<Box<Watch>>,
}

impl Known {
    pub(super) fn new(kind: WorkKind, place: Place, at: Time) -> Self {
        Self {
            place,
            room: None,
            first: at,
            newest: at,
            started: None,
            result_started: None,
            ended: None,
            began: None,
            over: None,
            failure: None,
            attributes: Vec::new(),
            due: at,
            release_at: at,
            is_released: false,
            answered: None,
            joined: Joined::default(),
            presence: Presence::default(),
            gone: None,
            uploaded: None,
            error: None,
            watch: (kind == WorkKind::Egress).then(Box::default),
        }
    }

    /// Applies a report that was made at `at` of an operation in `room`.
    pub(super) fn update(&mut self, event: &Event, work: &Work, room: Option<&RoomSid>, at: Time) {
        self.first = self.first.min(at);
        self.newest = self.newest.max(at);
        self.room = self.room.take().or_else(|| room.cloned());
        earliest(&mut self.started, work.started);
        earliest(&mut self.result_started, work.result_started);
        earliest(&mut self.began, work.is_start.then_some(at));
        if work.is_over {
            earliest(&mut self.over, at);
            earliest(&mut self.ended, work.ended);
        }
        let rank = Rank::of(work, at);
        if let Some(watch) = &mut self.watch {
            watch.report(work.phase, work.updated.unwrap_or(at));
        }
        // Without a status, it is no success either.
        if work.status.is_some() || work.failure.is_some() {
            self.failure = self.failure.take().max(Some((rank, work.failure.clone())));
            self.answered = self.answered.max(Some((rank, work.answered)));
        }
        for new in subject(event, room).chain(event.details.iter().map(attribute)) {
            match self.attributes.iter_mut().find(|(_, known)| known.key == new.key) {
                Some(known) if (known.0, &known.1.value) < (rank, &new.value) => {
                    *known = (rank, new);
                }
                Some(_) => {}
                None => self.attributes.push((rank, new)),
            }
        }
    }

    /// Whether it is known to be of another room.
    pub(super) fn is_elsewhere(&self, room: &RoomSid) -> bool {
        self.room.as_ref().is_some_and(|known| known != room)
    }

    /// Whether a report says that it is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Adds what a participant says of its call or job.
    pub(super) fn join(&mut self, leg: Leg, now: Time) {
        self.room = self.room.take().or_else(|| Some(leg.room.clone()));
        self.joined.add(leg, now);
    }

    /// The times in which an egress was stuck, as far as is known by now.
    pub(super) fn stuck(&self, settings: &Settings) -> Vec<Stuck> {
        let Some(watch) = &self.watch else { return Vec::new() };
        let over = self.ended.or(self.over).or(self.gone);
        let times = Times { start: self.start().0, frame: self.result_started, over };
        watch.all(times, settings)
    }

    /// Sets when it is looked at next.
    pub(super) fn schedule(&mut self, settings: &Settings) {
        let all = self.stuck(settings);
        let check = self.watch.as_mut().and_then(|watch| {
            watch.recheck(&all);
            watch.next_deadline(&all)
        });
        self.due = check.map_or(self.release_at, |at| at.min(self.release_at));
    }

    /// The log records of an egress that is found to be stuck at `now`.
    pub(super) fn check(&mut self, now: Time, settings: &Settings) -> Vec<LogRecord> {
        let all = self.stuck(settings);
        let Some(watch) = &mut self.watch else { return Vec::new() };
        let found = watch.check(&all, now);
        found.into_iter().map(|stuck| self.stuck_record(stuck, now, settings)).collect()
    }

    fn stuck_record(&self, stuck: Stuck, now: Time, settings: &Settings) -> LogRecord {
        let mut attributes: Vec<_> =
            self.attributes.iter().map(|(_, attribute)| attribute.clone()).collect();
        attributes.sort_by_key(|attribute| attribute.key);
        attributes.push(Attribute::new(key::EGRESS_STUCK_REASON, stuck.reason.name()));
        let url = settings.url_of(&self.place.trace).map(Arc::<str>::from);
        attributes.extend(url.map(|url| Attribute::new(key::TRACE_URL, url)));
        LogRecord {
            event_name: event::EGRESS_STUCK.into(),
            time: stuck.since,
            observed: now,
            severity: Severity::Warn,
            context: Some((self.place.trace, self.place.span)),
            attributes,
        }
    }

    /// Adds what the agent of a job says. Of several spans the smallest id is kept, as they may come in any order.
    pub(super) fn upload(&mut self, place: (TraceId, SpanId), error: Option<Arc<str>>) {
        self.uploaded = self.uploaded.into_iter().chain([place]).min();
        self.error = self.error.take().into_iter().chain(error).min();
    }

    /// When its span is due, if nothing is reported after `now`.
    pub(super) fn due_after(&self, now: Time, settings: &Settings) -> Time {
        if self.is_over() || self.gone.is_some() {
            return now + settings.linger;
        }
        let left = self.joined.left_at();
        left.map_or(now + settings.silent_after, |at| now.max(at + settings.linger))
    }

    /// Notes that the list of `at` does not have it. Returns whether that ends it.
    pub(super) fn is_missed(&mut self, at: Time) -> bool {
        if self.presence.miss(at) {
            self.gone = Some(self.presence.newest(self.newest));
        }
        self.gone.is_some()
    }

    /// Whether a participant of it is still there.
    pub(super) fn has_open_leg(&self) -> bool {
        self.joined.has_open()
    }

    /// Forgets what only its span needs, which is released.
    pub(super) fn release(&mut self) {
        self.is_released = true;
        self.attributes = Vec::new();
        self.watch = None;
    }

    /// Its span, released at `now`; `rule` inferred its end, unless it is over.
    pub(super) fn span(
        &self,
        of: WorkKind,
        rule: &'static str,
        now: Time,
        settings: &Settings,
    ) -> Span {
        let (name, kind) = name(of);
        let (start, is_inferred) = self.start();
        let mut attributes = self.attributes(of);
        if of == WorkKind::Egress {
            self.describe_egress(now, settings, &mut attributes);
        }
        attributes.sort_by_key(|attribute| attribute.key);
        attributes.retain(|attribute| attribute.key != key::DURATION);
        if let Some(Failure { error_type, message }) = self.failure() {
            failure::attributes(&error_type, message, &mut attributes);
        }
        if is_inferred {
            attributes.push(Attribute::new(key::START_INFERRED, START_BY_FIRST_REPORT));
        }
        let (end, rule) = self.end(rule);
        attributes.extend(rule.map(|rule| Attribute::new(key::END_INFERRED, rule)));
        let link = |(trace_id, span_id)| Link { trace_id, span_id };
        Span {
            trace_id: self.place.trace,
            span_id: self.place.span,
            parent: self.place.parent,
            name,
            kind,
            start,
            end: end.max(start),
            attributes,
            links: self
                .place
                .room
                .into_iter()
                .chain(self.uploaded)
                .map(link)
                .chain(self.joined.links())
                .collect(),
        }
    }

    /// What describes it, in no order.
    pub(super) fn attributes(&self, of: WorkKind) -> Vec<Attribute> {
        let mut attributes: Vec<_> =
            self.attributes.iter().map(|(_, attribute)| attribute.clone()).collect();
        // What was reported wins.
        for attribute in self.joined.last().map(Leg::attributes).unwrap_or_default() {
            if attributes.iter().all(|known| known.key != attribute.key) {
                attributes.push(attribute);
            }
        }
        if of == WorkKind::SipCall {
            self.describe_answer(&mut attributes);
        }
        attributes
    }

    /// What the instruments count of it, once its span is emitted.
    pub(super) fn done(&self, of: WorkKind, span: &Span) -> WorkDone {
        let first = match of {
            WorkKind::SipCall => self.answer().1.map(|at| at.since(span.start)),
            WorkKind::Egress => self.first_frame(),
            _ => None,
        };
        WorkDone::new(of, self.room.clone(), span, first)
    }

    /// Whether it is running, as far as is known.
    pub(super) fn is_running(&self) -> bool {
        let has_ended = self.is_over() || self.gone.is_some() || self.joined.end().is_some();
        !self.is_released && !has_ended
    }

    /// The time from an egress's start to its first frame, if both are reported in this order.
    pub(super) fn first_frame(&self) -> Option<Duration> {
        let (started, frame) = (self.started?, self.result_started?);
        (started <= frame).then(|| frame.since(started))
    }

    // Its start, and whether that is inferred.
    fn start(&self) -> (Time, bool) {
        let began = self.began.into_iter().chain(self.result_started).min();
        match self.started.or(began).or(self.joined.start()) {
            Some(start) => (start, false),
            None => (self.ended.map_or(self.first, |ended| ended.min(self.first)), true),
        }
    }

    // Its end, and the rule that inferred it: `rule`, unless its participants have ended or lists have it no more.
    fn end(&self, rule: Name) -> (Time, Option<Name>) {
        if let Some(end) = self.ended.or(self.over) {
            return (end, None);
        }
        let listed = || self.gone.map(|gone| (gone, Some(END_BY_LIST)));
        self.joined.end().or_else(listed).unwrap_or_else(|| {
            let newest = self.joined.newest().map_or(self.newest, |at| at.max(self.newest));
            (newest, Some(rule))
        })
    }

    // Why it failed. The reports of a call's end win over its participant, but they call a call that was
    // not answered a success, and an error without a SIP status just a failure.
    fn failure(&self) -> Option<Failure> {
        let of_participant = self.joined.last().and_then(Leg::failure);
        if let Some((_, Some(reported))) = &self.failure {
            // The callee's answer to the CANCEL of a call that was given up.
            let is_ours = &*reported.error_type == CANCELLED && self.given_up().is_some();
            let is_vague = &*reported.error_type == failure::CALL_FAILED;
            let error_type = of_participant.filter(|_| is_vague).map(|(error_type, _)| error_type);
            let failure = Failure {
                error_type: error_type.unwrap_or_else(|| Arc::clone(&reported.error_type)),
                message: reported.message.clone(),
            };
            return (!is_ours).then_some(failure);
        }
        let Some((error_type, message)) = of_participant else {
            return self.uploaded_failure();
        };
        let is_callees = ["user_rejected", "user_unavailable"].contains(&&*error_type);
        (self.over.is_none() || is_callees)
            .then(|| Failure { error_type, message: Some(message.into()) })
    }

    fn describe_egress(&self, now: Time, settings: &Settings, to: &mut Vec<Attribute>) {
        to.extend(
            self.first_frame()
                .map(|took| Attribute::new(key::EGRESS_FIRST_FRAME_LATENCY, took.as_secs_f64())),
        );
        let first = self.stuck(settings).into_iter().find(|stuck| stuck.since <= now);
        to.extend(first.map(|it| Attribute::new(key::EGRESS_STUCK_REASON, it.reason.name())));
    }

    // Why the agent of a job says that it failed, unless the job's end was reported.
    fn uploaded_failure(&self) -> Option<Failure> {
        let error = self.error.as_ref().filter(|_| self.over.is_none())?;
        Some(Failure { error_type: failure::JOB_FAILED.into(), message: Some(Arc::clone(error)) })
    }

    // Adds what is known of a SIP call's answer.
    fn describe_answer(&self, to: &mut Vec<Attribute>) {
        // To the SIP service, a callee was unavailable too if the call was given up (livekit/sip 1.9).
        if let Some(reason) = self.given_up() {
            let reasons = to.iter_mut().filter(|it| it.key == key::SIP_DISCONNECT_REASON);
            for it in reasons.filter(|it| it.value == Value::Text("USER_UNAVAILABLE".into())) {
                it.value = Value::Text(Arc::clone(reason));
            }
        }
        let (answer, at) = self.answer();
        to.push(Attribute::new(key::SIP_ANSWER, answer.name()));
        if let Some(at) = at {
            let latency = at.since(self.start().0).as_secs_f64();
            to.push(Attribute::new(key::SIP_ANSWER_LATENCY, latency));
        }
    }

    // Why the participant was removed from a call that was not answered, if it was.
    fn given_up(&self) -> Option<&Arc<str>> {
        let reason = self.joined.last()?.reason.as_ref();
        let is_ours = matches!(
            reason.map(|reason| &**reason),
            Some("PARTICIPANT_REMOVED" | "ROOM_DELETED" | "ROOM_CLOSED")
        );
        reason.filter(|_| is_ours && self.answer().0 == Answer::Unanswered)
    }

    // Whether a SIP call was answered, and when, if that is known.
    fn answer(&self) -> (Answer, Option<Time>) {
        match self.answered {
            Some((_, Some(at))) => (Answer::Answered, Some(at)),
            Some((Rank { is_over: true, .. }, None)) => (Answer::Unanswered, None),
            _ => (self.joined.answer(), self.joined.answered()),
        }
    }
}

// The room, participant and node of the event, if they are known.
fn subject(event: &Event, room: Option<&RoomSid>) -> impl Iterator<Item = Attribute> {
    let text = |key, text: Option<Arc<str>>| text.map(|text| (key, text));
    let name = event.room.as_ref().and_then(|room| room.name.as_ref());
    let who = event.participant.as_ref();
    [
        text(key::ROOM_ID, room.map(|sid| sid.shared())),
        text(key::ROOM_NAME, name.map(|name| name.shared())),
        text(key::PARTICIPANT_ID, who.map(|who| who.sid.shared())),
        text(
            key::PARTICIPANT_IDENTITY,
            who.and_then(|who| who.identity.as_ref()).map(|identity| identity.shared()),
        ),
        text(key::NODE_ID, event.node.as_ref().map(|node| node.shared())),
    ]
    .into_iter()
    .flatten()
    .map(|(key, text)| Attribute { key, value: Value::Text(text) })
}

/// The name and the kind of its span.
pub(super) fn name(kind: WorkKind) -> (&'static str, SpanKind) {
    match kind {
        WorkKind::Egress => (span::EGRESS, SpanKind::Internal),
        WorkKind::Ingress => (span::INGRESS, SpanKind::Internal),
        WorkKind::SipCall => (span::SIP_CALL, SpanKind::Internal),
        WorkKind::SipTransfer => (span::SIP_TRANSFER, SpanKind::Internal),
        WorkKind::AgentJob => (span::AGENT_JOB, SpanKind::Internal),
        WorkKind::AgentDispatch => (span::AGENT_DISPATCH, SpanKind::Internal),
        WorkKind::ApiCall => (span::API_CALL, SpanKind::Server),
        WorkKind::WebhookDelivery => (span::WEBHOOK_DELIVERY, SpanKind::Client),
    }
}

impl Place {
    /// The place of an operation outside of any room's trace.
    pub(super) fn apart(kind: WorkKind, id: &str) -> Self {
        let kind = name(kind).0;
        Self {
            trace: ids::work_trace(kind, id),
            span: ids::work(kind, id),
            parent: None,
            room: None,
        }
    }
}
