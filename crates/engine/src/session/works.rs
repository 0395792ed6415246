//! Spans of egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and deliveries of
//! webhooks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attributes::attribute;
use super::event_time::EventTime;
use super::room::Room;
use super::settings::Settings;
use crate::ids;
use livekit_otel_model::event::{Event, Failure, Time, Work, WorkKind};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, Link, Span, SpanId, SpanKind, TraceId, Value};

/// The rule for what was not reported for a long time.
pub(super) const END_BY_SILENCE: &str = "silence";

type Key = (WorkKind, Arc<str>);

/// All operations that are running or ended a short while ago.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Works {
    #[serde(serialize_with = "crate::snapshot::in_order")]
    known: HashMap<Key, Known>,
    // The deadline of each.
    due: BTreeSet<(Time, Key)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    place: Place,
    first: Time,
    newest: Time,
    started: Option<Time>,
    ended: Option<Time>,
    failure: Option<Failure>,
    of: Option<Arc<str>>,
    // Each with its reported time: the newest counts.
    attributes: Vec<(Time, Attribute)>,
    due: Time,
    is_over: bool,
    is_released: bool,
}

/// The place of its span.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    room: Option<(TraceId, SpanId)>,
}

impl Place {
    fn of(work: &Work, room: Option<&mut Room>, at: Time, settings: &Settings) -> Self {
        let kind = name(work.kind).0;
        let span = ids::work(kind, &work.id);
        // Deliveries are as many as a room's events: they would fill a third of its trace.
        if let Some(room) = room
            && work.kind != WorkKind::WebhookDelivery
            && room.admits(at, settings)
        {
            let (trace, parent) = (ids::trace(&room.sid), Some(ids::room(&room.sid)));
            return Self { trace, span, parent, room: None };
        }
        Self { trace: ids::work_trace(kind, &work.id), span, parent: None, room: None }
    }
}

impl Works {
    /// Applies an event of an operation; returns the span that it belongs to.
    pub(super) fn apply(
        &mut self,
        (event, work): (&Event, &Work),
        room: Option<&mut Room>,
        (time, now): (EventTime, Time),
        settings: &Settings,
        out: &mut Vec<Span>,
    ) -> (TraceId, SpanId) {
        let key = (work.kind, Arc::clone(&work.id));
        let first = work.started.unwrap_or(time.at);
        let of_room = room.as_ref().map(|room| (ids::trace(&room.sid), ids::room(&room.sid)));
        let place = self.known.get(&key).map(|known| known.place);
        let place = place.unwrap_or_else(|| self.place(work, room, first, settings));
        let known = self.known.entry(key.clone()).or_insert_with(|| Known::new(place, first));
        // An incoming SIP call has no room yet.
        if known.place.parent.is_none() {
            known.place.room = known.place.room.or(of_room);
        }
        let context = (known.place.trace, known.place.span);
        if known.is_released {
            return context;
        }
        known.update(event, work, time.at);
        self.due.remove(&(known.due, key.clone()));
        // A call is reported once, when it is over: its span is released at once.
        let is_call = matches!(work.kind, WorkKind::ApiCall | WorkKind::WebhookDelivery);
        if is_call {
            out.push(known.span(work.kind, None));
            self.known.remove(&key);
            return context;
        }
        known.due = if known.is_over { now + settings.linger } else { now + settings.silent_after };
        self.due.insert((known.due, key));
        context
    }

    // A transfer is a child of its call; all else is a child of its room, if it has one.
    fn place(&self, work: &Work, room: Option<&mut Room>, at: Time, settings: &Settings) -> Place {
        let call = work.of.as_ref().map(|call| (WorkKind::SipCall, Arc::clone(call)));
        match call.as_ref().and_then(|call| self.known.get(call)) {
            Some(call) => {
                let span = ids::work(name(work.kind).0, &work.id);
                let Place { trace, room, .. } = call.place;
                Place { trace, span, parent: Some(call.place.span), room }
            }
            None => Place::of(work, room, at, settings),
        }
    }

    /// Releases the spans that are due at `now`. They are remembered for `keep`, so that a late event
    /// makes no second span.
    pub(super) fn release(&mut self, now: Time, keep: Duration, out: &mut Vec<Span>) {
        while let Some((at, key)) = self.due.first().cloned()
            && at <= now
        {
            self.due.pop_first();
            let Some(known) = self.known.get_mut(&key) else { continue };
            if known.is_released {
                self.known.remove(&key);
                continue;
            }
            out.push(known.span(key.0, (!known.is_over).then_some(END_BY_SILENCE)));
            known.is_released = true;
            known.attributes = Vec::new();
            known.due = now + keep;
            self.due.insert((known.due, key));
        }
    }

    /// Ends what is running by `rule` and releases everything.
    pub(super) fn close(&mut self, rule: &'static str, out: &mut Vec<Span>) {
        for (_, key) in std::mem::take(&mut self.due) {
            let Some(known) = self.known.remove(&key) else { continue };
            if !known.is_released {
                out.push(known.span(key.0, (!known.is_over).then_some(rule)));
            }
        }
    }

    /// When something is due next.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Known {
    fn new(place: Place, first: Time) -> Self {
        Self {
            place,
            first,
            newest: first,
            started: None,
            ended: None,
            failure: None,
            of: None,
            attributes: Vec::new(),
            due: first,
            is_over: false,
            is_released: false,
        }
    }

    fn update(&mut self, event: &Event, work: &Work, at: Time) {
        self.first = self.first.min(at);
        self.newest = self.newest.max(at);
        self.started = work.started.or(self.started);
        self.is_over |= work.is_over;
        if work.is_over {
            self.ended = work.ended.or(self.ended);
        }
        self.failure = work.failure.clone().or_else(|| self.failure.take());
        self.of = work.of.clone().or_else(|| self.of.take());
        for new in subject(event).chain(event.details.iter().map(attribute)) {
            match self.attributes.iter_mut().find(|(_, known)| known.key == new.key) {
                Some(known) if known.0 <= at => *known = (at, new),
                Some(_) => {}
                None => self.attributes.push((at, new)),
            }
        }
    }

    fn span(&self, kind: WorkKind, rule: Option<&'static str>) -> Span {
        let (name, kind) = name(kind);
        let start = self.started.unwrap_or(self.first);
        let mut attributes: Vec<_> =
            self.attributes.iter().map(|(_, attribute)| attribute.clone()).collect();
        attributes.sort_by_key(|attribute| attribute.key);
        attributes.retain(|attribute| attribute.key != key::DURATION);
        if let Some(Failure { error_type, message }) = &self.failure {
            attributes.push(Attribute::new(key::ERROR_TYPE, Arc::clone(error_type)));
            attributes.extend(message.clone().map(|message| Attribute::new(key::ERROR, message)));
        }
        if let Some(rule) = rule {
            attributes.push(Attribute::new(key::END_INFERRED, rule));
        }
        Span {
            trace_id: self.place.trace,
            span_id: self.place.span,
            parent: self.place.parent,
            name,
            kind,
            start,
            end: self.ended.unwrap_or(self.newest).max(start),
            attributes,
            links: self
                .place
                .room
                .into_iter()
                .map(|(trace_id, span_id)| Link { trace_id, span_id })
                .collect(),
            failure: self.failure.as_ref().map(|failure| Arc::clone(&failure.error_type)),
        }
    }
}

// The room, participant and node of the event, if it names them.
fn subject(event: &Event) -> impl Iterator<Item = Attribute> {
    let text = |key, text: Option<Arc<str>>| text.map(|text| (key, text));
    let room = event.room.as_ref();
    let who = event.participant.as_ref();
    [
        text(key::ROOM_ID, room.and_then(|room| room.sid.as_ref()).map(|sid| sid.shared())),
        text(key::ROOM_NAME, room.and_then(|room| room.name.as_ref()).map(|name| name.shared())),
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

fn name(kind: WorkKind) -> (&'static str, SpanKind) {
    match kind {
        WorkKind::Egress => (span::EGRESS, SpanKind::Internal),
        WorkKind::Ingress => (span::INGRESS, SpanKind::Internal),
        WorkKind::SipCall => (span::SIP_CALL, SpanKind::Internal),
        WorkKind::SipTransfer => (span::SIP_TRANSFER, SpanKind::Internal),
        WorkKind::AgentJob => (span::AGENT_JOB, SpanKind::Internal),
        WorkKind::ApiCall => (span::API_CALL, SpanKind::Server),
        WorkKind::WebhookDelivery => (span::WEBHOOK_DELIVERY, SpanKind::Client),
    }
}
