//! Spans of egresses, ingresses, SIP calls and transfers, agents' jobs, API calls and deliveries of
//! webhooks.

mod joined;
mod known;
mod listed;
mod stuck;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event_time::EventTime;
use super::legs::Leg;
use super::outputs::Outputs;
use super::room::Room;
use super::settings::Settings;
use crate::facts::{Census, Fact, Labels};
use crate::ids;
pub(super) use known::Place;
use known::{Known, name};
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
    // When lists of them were last wanted.
    wanted: BTreeMap<WorkKind, Time>,
}

impl Works {
    /// Applies an event of an operation; returns the span that it belongs to.
    pub(super) fn apply(
        &mut self,
        (event, work): (&Event, &Work),
        mut room: Option<&mut Room>,
        now: Time,
        settings: &Settings,
        out: &mut Outputs,
    ) -> (TraceId, SpanId) {
        let key = (work.kind, Arc::clone(&work.id));
        // Raised to what is known of the room by now, it would depend on the order of messages.
        let at = EventTime::of(event, None, now).at;
        let known = self.update((event, work), at, room.as_deref_mut(), settings);
        let context = (known.place.trace, known.place.span);
        if known.is_released {
            return context;
        }
        // A call is reported once, when it is over: its span is released at once.
        let is_call = matches!(work.kind, WorkKind::ApiCall | WorkKind::WebhookDelivery);
        if is_call {
            out.spans.push(known.span(work.kind, END_BY_SILENCE, now, settings));
            self.forget(&key);
            return context;
        }
        known.presence.report(now);
        // Lists had it no more, and still it goes on.
        if !work.is_over {
            known.gone = None;
        }
        known.release_at = known.due_after(now, settings);
        if let Some(watch) = &mut known.watch {
            watch.hear(now);
        }
        self.join_room(work, room, now, settings);
        self.schedule(&key, settings);
        context
    }

    // The operation, created if necessary, with what was reported of it at `at`, unless it was released.
    fn update(
        &mut self,
        (event, work): (&Event, &Work),
        at: Time,
        room: Option<&mut Room>,
        settings: &Settings,
    ) -> &mut Known {
        let key = (work.kind, Arc::clone(&work.id));
        let sid = room.as_ref().map(|room| room.sid.clone());
        let of_room = room.as_ref().map(|room| (ids::trace(&room.sid), room.span_id()));
        let place = self.known.get(&key).map(|known| known.place);
        let place = place.unwrap_or_else(|| self.place(work, room, start(work, at), settings));
        let known = self.known.entry(key).or_insert_with(|| Known::new(work.kind, place, at));
        // An incoming SIP call has no room yet.
        if known.place.parent.is_none() {
            known.place.room = known.place.room.or(of_room);
        }
        if !known.is_released {
            known.update(event, work, sid.as_ref(), at);
        }
        known
    }

    // An egress and its room hear of each other.
    fn join_room(&mut self, work: &Work, room: Option<&mut Room>, now: Time, settings: &Settings) {
        if let Some(room) = room.filter(|_| work.kind == WorkKind::Egress) {
            room.egresses.add(&work.id);
            self.observe(&work.id, room, now, settings);
        }
    }

    /// Applies what the room of an egress says of it: its participants, and the room's end. What another room says
    /// is of a participant that only has the name of the egress.
    pub(super) fn observe(&mut self, id: &Arc<str>, room: &Room, now: Time, settings: &Settings) {
        let key = (WorkKind::Egress, Arc::clone(id));
        let Some(known) = self.known.get_mut(&key) else { return };
        if known.is_elsewhere(&room.sid) {
            return;
        }
        let Some(watch) = &mut known.watch else { return };
        watch.observe(id, room, now);
        self.schedule(&key, settings);
    }

    fn schedule(&mut self, key: &Key, settings: &Settings) {
        let Some(known) = self.known.get_mut(key) else { return };
        let before = known.due;
        known.schedule(settings);
        self.due.remove(&(before, key.clone()));
        self.due.insert((known.due, key.clone()));
    }

    fn forget(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.due.remove(&(known.due, key.clone()));
        }
    }

    /// Applies what a participant says of its SIP call or job, which happened in `room`. A job is of one room: an
    /// agent in another one only has its name. A caller may be moved to another room.
    pub(super) fn join(&mut self, leg: Leg, room: &mut Room, now: Time, settings: &Settings) {
        let key = leg.key();
        if !self.known.contains_key(&key) {
            // Its span may have been emitted and forgotten.
            if leg.is_final && leg.ended_at.is_some_and(|at| at + settings.keep_ended <= now) {
                return;
            }
            let place = place(key.0, &key.1, Some(&mut *room), leg.start, settings);
            self.known.insert(key.clone(), Known::new(key.0, place, leg.start));
        }
        let Some(known) = self.known.get_mut(&key) else { return };
        if key.0 == WorkKind::AgentJob && known.is_elsewhere(&room.sid) {
            return;
        }
        if known.place.parent.is_none() {
            let of_room = (ids::trace(&room.sid), room.span_id());
            known.place.room = known.place.room.or(Some(of_room));
        }
        known.join(leg, now);
        if known.is_released || known.is_over() {
            return;
        }
        known.release_at = known.due_after(now, settings);
        self.schedule(&key, settings);
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

    /// Adds to a job what its agent says: its own span, and what failed.
    pub(super) fn upload(
        &mut self,
        job: &Arc<str>,
        place: (TraceId, SpanId),
        error: Option<Arc<str>>,
    ) {
        if let Some(known) = self.known.get_mut(&(WorkKind::AgentJob, Arc::clone(job))) {
            known.upload(place, error);
        }
    }

    /// Whether the SIP call is known.
    pub(super) fn has_call(&self, id: &Arc<str>) -> bool {
        self.known.contains_key(&(WorkKind::SipCall, Arc::clone(id)))
    }

    /// The room of the operation, if that was reported before. A transfer's is that of its call.
    pub(super) fn room(&self, work: &Work) -> Option<&RoomSid> {
        let room = |key: &Key| self.known.get(key)?.room.as_ref();
        let call = work.of.as_ref().map(|call| (WorkKind::SipCall, Arc::clone(call)));
        room(&(work.kind, Arc::clone(&work.id))).or_else(|| call.as_ref().and_then(room))
    }

    /// Releases the spans that are due at `now`, and logs which egresses are stuck. Released operations are
    /// remembered for `settings.keep_ended`, and while a participant of it is there, so that a late event makes no
    /// second span.
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
            out.logs.extend(known.check(now, settings));
            if known.release_at <= now {
                let is_silent = known.is_over() || !is_open;
                if !known.is_released && is_silent {
                    emit(key.0, known, (END_BY_SILENCE, now, settings), out);
                    known.release();
                }
                let wait = if is_silent { settings.keep_ended } else { settings.silent_after };
                known.release_at = now + wait;
            }
            self.schedule(&key, settings);
        }
    }

    /// Ends what is running by `rule` and releases everything.
    pub(super) fn close(
        &mut self,
        now: Time,
        rule: &'static str,
        settings: &Settings,
        out: &mut Outputs,
    ) {
        for (_, key) in std::mem::take(&mut self.due) {
            let Some(known) = self.known.remove(&key) else { continue };
            if !known.is_released {
                emit(key.0, &known, (rule, now, settings), out);
            }
        }
    }

    /// Counts what is running, and the egresses that are stuck.
    pub(super) fn count(&self, census: &mut Census) {
        #[expect(clippy::disallowed_methods, reason = "counts")]
        for ((kind, _), known) in self.known.iter().filter(|(_, known)| known.is_running()) {
            let labels = Labels::of(*kind, &known.attributes(*kind));
            *census.works.entry((*kind, labels)).or_default() += 1;
            if let Some(reason) = known.watch.as_ref().and_then(|watch| watch.current) {
                *census.stuck_egresses.entry(reason.name()).or_default() += 1;
            }
        }
    }

    /// When something is due next.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

// Emits its span, and what the instruments count of it.
fn emit(
    kind: WorkKind,
    known: &Known,
    (rule, now, settings): (&'static str, Time, &Settings),
    out: &mut Outputs,
) {
    let span = known.span(kind, rule, now, settings);
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
    // Deliveries are as many as a room's events: they would fill a third of its trace.
    if let Some(room) = room
        && kind != WorkKind::WebhookDelivery
        && room.admits(at, settings)
    {
        return place_of(kind, id, room, true);
    }
    Place::apart(kind, id)
}

/// The place of the span of an operation in `room`: below the room's span if its trace has admitted it, or else linked
/// to it.
pub(super) fn place_of(kind: WorkKind, id: &str, room: &Room, is_admitted: bool) -> Place {
    let apart = Place::apart(kind, id);
    let (trace, span) = (ids::trace(&room.sid), room.span_id());
    if is_admitted {
        Place { trace, parent: Some(span), ..apart }
    } else {
        Place { room: Some((trace, span)), ..apart }
    }
}
