//! Spans of egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and deliveries of
//! webhooks.

mod known;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event_time::EventTime;
use super::room::Room;
use super::settings::Settings;
use crate::ids;
use known::{Known, Place, name};
use livekit_otel_model::event::{Event, RoomSid, Time, Work, WorkKind};
use livekit_otel_model::signal::{Span, SpanId, TraceId};

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
        out: &mut Vec<Span>,
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
            out.push(known.span(work.kind, END_BY_SILENCE));
            self.known.remove(&key);
            return context;
        }
        let wait = if known.is_over() { settings.linger } else { settings.silent_after };
        known.due = now + wait;
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
            None => place(work, room, at, settings),
        }
    }

    /// The room of the operation, if that was reported before.
    pub(super) fn room(&self, work: &Work) -> Option<&RoomSid> {
        self.known.get(&(work.kind, Arc::clone(&work.id)))?.room.as_ref()
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
            out.push(known.span(key.0, END_BY_SILENCE));
            known.release();
            known.due = now + keep;
            self.due.insert((known.due, key));
        }
    }

    /// Ends what is running by `rule` and releases everything.
    pub(super) fn close(&mut self, rule: &'static str, out: &mut Vec<Span>) {
        for (_, key) in std::mem::take(&mut self.due) {
            let Some(known) = self.known.remove(&key) else { continue };
            if !known.is_released {
                out.push(known.span(key.0, rule));
            }
        }
    }

    /// When something is due next.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// When the operation began, as far as its report at `at` says.
pub(super) fn start(work: &Work, at: Time) -> Time {
    work.started.or(work.result_started).unwrap_or(at)
}

fn place(work: &Work, room: Option<&mut Room>, at: Time, settings: &Settings) -> Place {
    let apart = Place::apart(work);
    // Deliveries are as many as a room's events: they would fill a third of its trace.
    if let Some(room) = room
        && work.kind != WorkKind::WebhookDelivery
        && room.admits(at, settings)
    {
        let (trace, parent) = (ids::trace(&room.sid), Some(room.span_id()));
        return Place { trace, parent, ..apart };
    }
    apart
}
