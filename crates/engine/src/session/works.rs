//! Spans of egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and deliveries of
//! webhooks.

mod joined;
mod known;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event_time::EventTime;
use super::legs::Leg;
use super::outputs::Outputs;
use super::room::Room;
use super::settings::Settings;
use crate::facts::{Census, Fact, Labels};
use crate::ids;
use known::{Known, Place, name};
use livekit_otel_model::event::{Event, RoomSid, Time, Work, WorkKind};
use livekit_otel_model::signal::{SpanId, TraceId};

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

impl Works {
    /// Applies an event of an operation; returns the span that it belongs to.
    pub(super) fn apply(
        &mut self,
        (event, work): (&Event, &Work),
        room: Option<&mut Room>,
        now: Time,
        settings: &Settings,
        out: &mut Outputs,
    ) -> (TraceId, SpanId) {
        let key = (work.kind, Arc::clone(&work.id));
        // Raised to what is known of the room by now, it would depend on the order of messages.
        let at = EventTime::of(event, None, now).at;
        let sid = room.as_ref().map(|room| room.sid.clone());
        let of_room = room.as_ref().map(|room| (ids::trace(&room.sid), room.span_id()));
        let place = self.known.get(&key).map(|known| known.place);
        let place = place.unwrap_or_else(|| self.place(work, room, start(work, at), settings));
        let known = self.known.entry(key.clone()).or_insert_with(|| Known::new(place, at));
        // An incoming SIP call has no room yet.
        if known.place.parent.is_none() {
            known.place.room = known.place.room.or(of_room);
        }
        let context = (known.place.trace, known.place.span);
        if known.is_released {
            return context;
        }
        known.update(event, work, sid.as_ref(), at);
        self.due.remove(&(known.due, key.clone()));
        // A call is reported once, when it is over: its span is released at once.
        let is_call = matches!(work.kind, WorkKind::ApiCall | WorkKind::WebhookDelivery);
        if is_call {
            out.spans.push(known.span(work.kind, END_BY_SILENCE));
            self.known.remove(&key);
            return context;
        }
        known.due = known.due_after(now, settings);
        self.due.insert((known.due, key));
        context
    }

    /// Applies what a participant says of its SIP call, which happened in `room`.
    pub(super) fn join(&mut self, leg: Leg, room: &mut Room, now: Time, settings: &Settings) {
        let key = (WorkKind::SipCall, Arc::clone(&leg.call.id));
        if !self.known.contains_key(&key) {
            let place = place(key.0, &key.1, Some(&mut *room), leg.start, settings);
            self.known.insert(key.clone(), Known::new(place, leg.start));
        }
        let Some(known) = self.known.get_mut(&key) else { return };
        if known.place.parent.is_none() {
            let of_room = (ids::trace(&room.sid), room.span_id());
            known.place.room = known.place.room.or(Some(of_room));
        }
        known.join(leg, now);
        if known.is_released || known.is_over() {
            return;
        }
        self.due.remove(&(known.due, key.clone()));
        known.due = known.due_after(now, settings);
        self.due.insert((known.due, key));
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
            None => place(work.kind, &work.id, room, at, settings),
        }
    }

    /// The room of the operation, if that was reported before.
    pub(super) fn room(&self, work: &Work) -> Option<&RoomSid> {
        self.known.get(&(work.kind, Arc::clone(&work.id)))?.room.as_ref()
    }

    /// Releases the spans that are due at `now`. They are remembered for `settings.keep_ended`, and while a
    /// participant is in its call, so that a late event makes no second span.
    pub(super) fn release(&mut self, now: Time, settings: &Settings, out: &mut Outputs) {
        while let Some((at, key)) = self.due.first().cloned()
            && at <= now
        {
            self.due.pop_first();
            let Some(known) = self.known.get_mut(&key) else { continue };
            let is_open = known.has_open_leg();
            if known.is_released && !is_open {
                self.known.remove(&key);
                continue;
            }
            let is_silent = known.is_over() || !is_open;
            if !known.is_released && is_silent {
                emit(key.0, known, END_BY_SILENCE, out);
                known.release();
            }
            known.due = now + if is_silent { settings.keep_ended } else { settings.silent_after };
            self.due.insert((known.due, key));
        }
    }

    /// Ends what is running by `rule` and releases everything.
    pub(super) fn close(&mut self, rule: &'static str, out: &mut Outputs) {
        for (_, key) in std::mem::take(&mut self.due) {
            let Some(known) = self.known.remove(&key) else { continue };
            if !known.is_released {
                emit(key.0, &known, rule, out);
            }
        }
    }

    /// Counts what is running.
    pub(super) fn count(&self, census: &mut Census) {
        #[expect(clippy::iter_over_hash_type, reason = "counts")]
        for ((kind, _), known) in self.known.iter().filter(|(_, known)| known.is_running()) {
            let labels = Labels::of(*kind, &known.attributes(*kind));
            *census.works.entry((*kind, labels)).or_default() += 1;
        }
    }

    /// When something is due next.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

// Emits its span, and what the instruments count of it.
fn emit(kind: WorkKind, known: &Known, rule: &'static str, out: &mut Outputs) {
    let span = known.span(kind, rule);
    out.facts.push(Fact::WorkReleased(Box::new(known.done(kind, &span))));
    out.spans.push(span);
}

/// When the operation began, as far as its report at `at` says.
pub(super) fn start(work: &Work, at: Time) -> Time {
    work.started.or(work.result_started).unwrap_or(at)
}

fn place(
    kind: WorkKind,
    id: &str,
    room: Option<&mut Room>,
    at: Time,
    settings: &Settings,
) -> Place {
    let apart = Place::apart(kind, id);
    // Deliveries are as many as a room's events: they would fill a third of its trace.
    if let Some(room) = room
        && kind != WorkKind::WebhookDelivery
        && room.admits(at, settings)
    {
        let (trace, parent) = (ids::trace(&room.sid), Some(room.span_id()));
        return Place { trace, parent, ..apart };
    }
    apart
}
