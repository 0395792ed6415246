//! All sessions: rooms, what happens in no room, and when each is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::early::Early;
use super::ended::{Ended, Removed};
use super::event_time::EventTime;
use super::gone::Gone;
use super::log;
use super::outputs::{Outcome, Outputs};
use super::places::{self, Places};
use super::polls;
use super::questions::{Ask, Questions};
use super::release::{END_BY_ROOM, REPLACED_SETTLES, SILENT_WHEN_REPLACED};
use super::released::Released;
use super::room::{self, Room};
use super::settings::Settings;
use super::twins::{Seen, Subject, TwinOutcome, Twins};
use super::works::Works;
use crate::facts::{Census, Forgotten, StreamContext};
use livekit_otel_model::event::{
    self, Event, EventKind, Origin, ParticipantSid, RoomName, RoomSid, StreamStat, Time,
};
use livekit_otel_model::signal::{SpanId, TraceId};

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    pub(super) settings: Settings,
    pub(super) rooms: HashMap<RoomSid, Box<Room>>,
    pub(super) ended: Ended,
    // The newest room of each name.
    pub(super) names: HashMap<RoomName, RoomSid>,
    // Rooms that were forgotten.
    pub(super) gone: Gone,
    forgotten: Forgotten,
    pub(super) places: Places,
    pub(super) early: Early,
    // Twins of events in no room.
    pub(super) roomless: Twins,
    pub(super) works: Works,
    pub(super) questions: Questions,
    // The deadline of `roomless` and `works` that is in `wakes`.
    pub(super) roomless_wake: Option<Time>,
    pub(super) seen: Seen,
    pub(super) wakes: BinaryHeap<Reverse<(Time, Option<RoomSid>)>>,
}

impl Sessions {
    /// Creates sessions without any room.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rooms: HashMap::new(),
            ended: Ended::default(),
            names: HashMap::new(),
            gone: Gone::default(),
            forgotten: Forgotten::default(),
            places: Places::default(),
            early: Early::default(),
            roomless: Twins::default(),
            works: Works::default(),
            questions: Questions::default(),
            roomless_wake: None,
            seen: Seen::default(),
            wakes: BinaryHeap::new(),
        }
    }

    // Applies an event that is no copy. It may have waited since it was received.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        (received, now): (Time, Time),
        twin_expected: bool,
        out: &mut Outputs,
    ) -> Outcome {
        let sid = self.room_for(event, now);
        let mut room = sid.as_ref().and_then(|sid| self.rooms.get_mut(sid)).map(|room| &mut **room);
        let time = match &mut room {
            Some(room) => room.apply(event, now, &self.settings, &mut out.facts),
            None => EventTime::of(event, None, received),
        };
        let context = match &event.work {
            Some(work) => {
                self.places.added.extend(places::call(event).map(|id| places::key(id)));
                let room = room.as_deref_mut();
                Some(self.works.apply((event, work), room, now, &self.settings, out))
            }
            None => room.as_deref().map(|room| log::context(event, room)),
        };
        let subject = Subject::of(event);
        let twin =
            record_twin(event, subject.as_ref(), room.as_deref_mut(), &mut self.roomless, now);
        if twin != TwinOutcome::Second {
            let times = (time, received);
            let record = log::record(event, room.as_deref(), context, times, &self.settings);
            let twins = room.map_or(&mut self.roomless, |room| &mut room.twins);
            match subject {
                Some(subject) if twin_expected && event.origin == Origin::Webhook => {
                    let until = now + self.settings.twin_wait;
                    twins.wait(until, subject, event.id.clone(), record);
                }
                _ => out.logs.push(record),
            }
        }
        if event.work.is_some() && sid.is_some() {
            self.settle(None, now, out);
        }
        self.settle(sid, now, out);
        if twin == TwinOutcome::First { Outcome::Applied } else { Outcome::Merged }
    }

    /// Applies one worker's flush that was received at `now`. Returns each window's outcome and what is
    /// known about its stream.
    pub fn stats(
        &mut self,
        stats: &[StreamStat],
        now: Time,
        out: &mut Outputs,
    ) -> Vec<(Outcome, StreamContext)> {
        let mut outcomes = Vec::with_capacity(stats.len());
        let mut touched: Vec<RoomSid> = Vec::new();
        for stat in stats {
            if self.seen.before(&stat.id, now, self.settings.max_ids) {
                outcomes.push((Outcome::Duplicate, StreamContext::default()));
                continue;
            }
            if self.gone.has(&stat.room, now, self.settings.keep_ended_ids) {
                outcomes.push((Outcome::Applied, StreamContext::default()));
                continue;
            }
            let first = stat.start.or(stat.at).unwrap_or(now);
            let room = room_of(&mut self.rooms, &mut self.ended, &stat.room, first, now);
            room.window(stat, now, &self.settings);
            outcomes.push((Outcome::Applied, context(room, stat)));
            if !touched.contains(&stat.room) {
                touched.push(stat.room.clone());
            }
        }
        // A participant may be complete only once all of the flush is applied.
        for sid in touched {
            self.settle(Some(sid), now, out);
        }
        self.apply_early(now, out);
        outcomes
    }

    /// The trace and the span of a known participant.
    pub fn place(&self, room: &RoomSid, sid: &ParticipantSid) -> Option<(TraceId, SpanId)> {
        let ended = if self.rooms.contains_key(room) { None } else { self.ended.look(room) };
        let room = ended.as_deref().or_else(|| self.rooms.get(room).map(|room| &**room))?;
        room.participants.contains_key(sid).then(|| room.place(sid))
    }

    /// Releases everything that is due at `now`.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        while self.wakes.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse((_, sid))) = self.wakes.pop()
        {
            self.settle(sid, now, out);
        }
        self.apply_early(now, out);
        self.forget_ended(now);
    }

    /// When [`Sessions::tick`] is due next, if nothing is applied before.
    pub fn next_deadline(&self) -> Option<Time> {
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        wake.into_iter().chain(self.ended.next_deadline()).min()
    }

    /// Ends what is open and releases everything; `rule` is the value of `lk.end.inferred`.
    pub fn close(&mut self, now: Time, rule: &'static str, out: &mut Outputs) {
        for early in self.early.due(None) {
            self.apply(&early.event, (early.received, now), early.twin_expected, out);
        }
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let mut rooms: Vec<_> = self.rooms.drain().map(|(_, room)| room).collect();
        rooms.sort_by(|a, b| a.sid.cmp(&b.sid));
        for mut room in rooms {
            out.logs.extend(room.twins.due(None));
            let mut released = Released::default();
            room.close(now, rule, &self.settings, &mut released);
            for leg in released.legs.drain(..) {
                self.works.join(leg, &mut room, now, &self.settings);
            }
            out.take(released);
        }
        out.logs.extend(self.roomless.due(None));
        self.works.close(now, rule, &self.settings, out);
        self.ended.clear();
        self.names.clear();
        self.places.clear();
        self.roomless_wake = None;
        self.wakes.clear();
    }

    /// How much was forgotten early so far.
    pub fn forgotten(&self) -> Forgotten {
        let Forgotten { ids, ended } = self.forgotten;
        Forgotten { ids: ids + self.seen.early(), ended }
    }

    /// Counts what is open now.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        #[expect(clippy::disallowed_methods, clippy::iter_over_hash_type, reason = "counts")]
        for room in self.rooms.values() {
            room.count(&mut census);
        }
        self.works.count(&mut census);
        census
    }

    // The room that the event names, which is now known; `None` if it names none, or one that was
    // forgotten and has not started again since.
    fn room_for(&mut self, event: &Event, now: Time) -> Option<RoomSid> {
        let info = event.room.as_ref();
        let sid = info.and_then(|room| room.sid.clone());
        let sid = sid.or_else(|| self.room_of_work(event, now))?;
        let first = event.reported.map_or(now, |reported| reported.at);
        let is_gone = self.gone.has(&sid, now, self.settings.keep_ended_ids);
        if is_gone && !(event.kind == EventKind::RoomCreated && self.gone.take(&sid, first)) {
            return None;
        }
        if let Some(info) = info {
            self.register(&sid, info, first, now);
        }
        if let Some(room) = self.rooms.get_mut(&sid).filter(|_| is_gone) {
            room.comes_back(first);
        }
        Some(sid)
    }

    // Creates the room if it is new, and finds the room that had its name before.
    pub(super) fn register(&mut self, sid: &RoomSid, info: &event::Room, first: Time, now: Time) {
        let room = room_of(&mut self.rooms, &mut self.ended, sid, first, now);
        let Some(name) = info.name.as_ref().filter(|name| room.name.as_ref() != Some(name)) else {
            return;
        };
        match self.names.get(name) {
            Some(known) if known == sid => {}
            None => {
                self.names.insert(name.clone(), sid.clone());
            }
            Some(known) => {
                let known = known.clone();
                let start = info.created.unwrap_or(first);
                let of_known = self.rooms.get(&known).map(|room| room.start());
                let of_known = of_known.or_else(|| self.ended.start(&known));
                let is_newer = of_known.is_none_or(|known| known <= start);
                let (older, newer) = if is_newer { (&known, sid) } else { (sid, &known) };
                if let Some(room) = self.rooms.get_mut(older)
                    && room.replaced_at.is_none()
                {
                    room.replaced_at = Some(now);
                    let at = now + REPLACED_SETTLES + SILENT_WHEN_REPLACED;
                    self.wakes.push(Reverse((at, Some(older.clone()))));
                }
                if let Some(room) = self.rooms.get_mut(newer) {
                    room.previous = Some(older.clone());
                }
                self.names.insert(name.clone(), newer.clone());
            }
        }
    }

    // Releases what is due in a room, or in none, and schedules its next deadline.
    pub(super) fn settle(&mut self, sid: Option<RoomSid>, now: Time, out: &mut Outputs) {
        let Some(sid) = sid else { return self.settle_roomless(now, out) };
        let Some(room) = self.rooms.get_mut(&sid) else { return };
        out.logs.extend(room.twins.due(Some(now)));
        let mut released = Released::default();
        room.release(now, &self.settings, &mut released);
        let is_over = room.is_over(now, &self.settings);
        if is_over {
            // Participants that joined after its end and never left.
            room.close(now, END_BY_ROOM, &self.settings, &mut released);
        }
        let end = room.end.map(|end| room.at_end(end));
        let egresses = room.egresses.take_changed(end);
        let has_works = !released.legs.is_empty() || !egresses.is_empty();
        for id in &egresses {
            self.works.observe(id, room, now, &self.settings);
        }
        for leg in released.legs.drain(..) {
            self.places.added.push(places::key(&leg.key().1));
            polls::poll_call(&mut self.questions, room, &leg, now);
            self.works.join(leg, room, now, &self.settings);
        }
        for at in released.asks.drain(..) {
            self.questions.ask(at, Ask::Dispatches(sid.clone()));
        }
        for at in released.lists.drain(..) {
            self.questions.ask(at, Ask::Participants(sid.clone()));
        }
        self.forgotten.ended += released.early;
        self.places.update(room);
        out.take(released);
        let has_ended = room.end.is_some();
        if is_over {
            self.forget(&sid, now);
        } else if let Some(until) = room.is_quiet(now, &self.settings) {
            self.ended.pack(room, until);
            if !self.ended.has(&sid) {
                self.places.remove(room);
            }
            self.rooms.remove(&sid);
            self.forget_ended(now);
        } else if let Some(next) = room.next_deadline(now, &self.settings) {
            self.wakes.push(Reverse((next, Some(sid.clone()))));
        }
        if has_ended {
            self.questions.cancel(&sid);
        }
        if has_works {
            self.settle_roomless(now, out);
        }
    }

    // Forgets a room that is over, but its id.
    fn forget(&mut self, sid: &RoomSid, now: Time) {
        if let Some(room) = self.rooms.remove(sid) {
            self.places.remove(&room);
            if let Some(name) = room.name.filter(|name| self.names.get(name) == Some(sid)) {
                self.names.remove(&name);
            }
        }
        self.forgotten.ids += self.gone.add(sid, now, self.settings.max_ids);
    }

    // Forgets ended rooms that were kept long enough, or that exceed the limit.
    fn forget_ended(&mut self, now: Time) {
        while let Some((room, is_early)) = self.ended.forget(now, self.settings.max_ended) {
            let Removed { sid, name, room } = room;
            if let Some(room) = room {
                self.places.remove(&room);
            }
            if let Some(name) = name.filter(|name| self.names.get(name) == Some(&sid)) {
                self.names.remove(&name);
            }
            self.forgotten.ids += self.gone.add(&sid, now, self.settings.max_ids);
            self.forgotten.ended += u64::from(is_early);
        }
    }

    fn settle_roomless(&mut self, now: Time, out: &mut Outputs) {
        for early in self.early.due(Some(now)) {
            self.apply(&early.event, (early.received, now), early.twin_expected, out);
        }
        out.logs.extend(self.roomless.due(Some(now)));
        self.works.release(now, &self.settings, out);
        let deadlines =
            [self.roomless.next_deadline(), self.works.next_deadline(), self.early.next_deadline()];
        let next = deadlines.into_iter().flatten().min();
        let scheduled = self.roomless_wake.filter(|at| *at > now);
        if let Some(next) = next.filter(|next| scheduled.is_none_or(|at| *next < at)) {
            self.roomless_wake = Some(next);
            self.wakes.push(Reverse((next, None)));
        }
    }
}

// Records that the event's source has reported its subject; returns how it relates to the other source.
fn record_twin(
    event: &Event,
    subject: Option<&Subject>,
    room: Option<&mut Room>,
    roomless: &mut Twins,
    now: Time,
) -> TwinOutcome {
    let (twins, known) = match room {
        Some(room) => (&mut room.twins, Some((&room.participants, &room.catalog))),
        None => (roomless, None),
    };
    if let Some(delivery) = &event.delivery
        && let Some(queued) = delivery.queued
    {
        twins.queued(&delivery.event_id, queued);
    }
    subject.map_or(TwinOutcome::First, |subject| {
        twins.record(subject, event.origin, now, |subject| {
            known.is_some_and(|(participants, catalog)| {
                room::is_open(participants, catalog, subject)
            })
        })
    })
}

// The room, created or unpacked if necessary.
fn room_of<'a>(
    rooms: &'a mut HashMap<RoomSid, Box<Room>>,
    ended: &mut Ended,
    sid: &RoomSid,
    first: Time,
    now: Time,
) -> &'a mut Room {
    rooms.entry(sid.clone()).or_insert_with(|| {
        ended.unpack(sid).unwrap_or_else(|| Box::new(Room::new(sid.clone(), first, now)))
    })
}

fn context(room: &Room, stat: &StreamStat) -> StreamContext {
    let participant = room.participants.get(&stat.participant);
    StreamContext {
        room_name: room.name.clone(),
        identity: participant.and_then(|participant| participant.identity.clone()),
        own_trace: participant.map(|participant| participant.own_trace),
        description: room
            .catalog
            .get(&stat.track)
            .map(|entry| entry.description.clone())
            .unwrap_or_default(),
    }
}

impl Outputs {
    fn take(&mut self, released: Released) {
        self.spans.extend(released.spans);
        self.facts.extend(released.facts);
        self.logs.extend(released.logs);
    }
}
