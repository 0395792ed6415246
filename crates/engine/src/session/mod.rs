//! What LiveKit tells, as finished spans and log records. Sans-IO: events and times in, outputs
//! out; the same inputs make the same outputs, ids and times included.

mod attributes;
mod callers;
mod ended;
mod fact;
mod failure;
mod gone;
pub mod ids;
mod log;
mod mutes;
mod participant;
mod presence;
mod reconcile;
mod release;
mod room;
mod saved;
mod settings;
mod spans;
mod stamp;
mod subscription;
mod totals;
mod track;
mod twins;
mod works;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ended::Ended;
pub use fact::{Census, Disagreement, Fact, Forgotten};
use gone::Gone;
use release::{END_BY_ROOM, REPLACED_SETTLES, Released, SILENT_WHEN_REPLACED};
use room::Room;
pub use settings::{Scope, Settings, hex};
use stamp::Stamp;
pub use track::Description;
use twins::{Seen, Subject, TwinOutcome, Twins};
use works::Works;

use livekit_otel_model::event::{
    self, Event, Identity, Origin, ParticipantSid, RoomName, RoomSid, StreamStat, Time,
};
use livekit_otel_model::signal::{LogRecord, Span, SpanId, TraceId};

/// What comes out of the sessions, in its order.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Finished spans; a participant's all at once.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// What the instruments learn.
    pub facts: Vec<Fact>,
}

/// What became of an event or a stats window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// It told what the other origin had told, or will speak for both.
    Merged,
    /// Its id was seen before; it changed nothing.
    Duplicate,
}

/// What a room knows of a stats window's stream.
#[derive(Debug, Clone, Default)]
pub struct StreamContext {
    /// The room's name.
    pub room_name: Option<RoomName>,
    /// The participant's identity.
    pub identity: Option<Identity>,
    /// The track's kind and source, from its publication.
    pub description: Description,
    /// Whether the participant has a trace of its own; `None` where it has no span.
    pub own_trace: Option<bool>,
}

/// All rooms.
#[derive(Debug)]
pub struct Sessions {
    settings: Settings,
    rooms: HashMap<RoomSid, Box<Room>>,
    ended: Ended,
    // The newest room of each name.
    names: HashMap<RoomName, RoomSid>,
    // Rooms that have long gone.
    gone: Gone,
    forgotten: Forgotten,
    // Twins of what happens in no room.
    roomless: Twins,
    works: Works,
    // When they want to be looked at.
    roomless_wake: Option<Time>,
    seen: Seen,
    wakes: BinaryHeap<Reverse<(Time, Option<RoomSid>)>>,
}

impl Sessions {
    /// No rooms yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rooms: HashMap::new(),
            ended: Ended::default(),
            names: HashMap::new(),
            gone: Gone::default(),
            forgotten: Forgotten::default(),
            roomless: Twins::default(),
            works: Works::default(),
            roomless_wake: None,
            seen: Seen::default(),
            wakes: BinaryHeap::new(),
        }
    }

    /// Takes in an event that came at `now`. `twin_expected` says that the other origin is
    /// connected, so that a webhook waits for its twin.
    pub fn event(
        &mut self,
        event: &Event,
        now: Time,
        twin_expected: bool,
        out: &mut Outputs,
    ) -> Outcome {
        if self.seen.before(&event.id, now, self.settings.max_ids) {
            return Outcome::Duplicate;
        }
        let sid = event.room.as_ref().and_then(|room| room.sid.clone());
        let keep = self.settings.keep_ended_ids;
        let sid = sid.filter(|sid| !self.gone.has(sid, now, keep));
        let first = event.told.map_or(now, |told| told.at);
        if let (Some(sid), Some(room)) = (&sid, &event.room) {
            self.meet(sid, room, first, now);
        }
        let mut room = sid.as_ref().and_then(|sid| self.rooms.get_mut(sid)).map(|room| &mut **room);
        let stamp = match &mut room {
            Some(room) => room.apply(event, now, &self.settings, &mut out.facts),
            None => Stamp::of(event, None, now),
        };
        let context = match &event.work {
            Some(work) => {
                let told = (event, &**work);
                let room = room.as_deref_mut();
                Some(self.works.tell(told, room, (stamp, now), &self.settings, &mut out.spans))
            }
            None => room.as_deref().map(|room| log::context(event, room)),
        };
        let (twins, people) = match &mut room {
            Some(room) => (&mut room.twins, Some((&room.participants, &room.catalog))),
            None => (&mut self.roomless, None),
        };
        if let Some(delivery) = &event.delivery
            && let Some(queued) = delivery.queued
        {
            twins.queued(&delivery.event_id, queued);
        }
        let subject = Subject::of(event);
        let telling = subject.as_ref().map_or(TwinOutcome::First, |subject| {
            twins.tell(subject, event.origin, now, |subject| {
                people.is_some_and(|(people, tracks)| room::is_open(people, tracks, subject))
            })
        });
        if telling != TwinOutcome::Silent {
            let record = log::record(event, room.as_deref(), context, (stamp, now), &self.settings);
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
        if telling == TwinOutcome::First { Outcome::Applied } else { Outcome::Merged }
    }

    /// Takes in one worker's flush that came at `now`; gives of each window what became of it and
    /// what is known of its stream.
    pub fn stats(
        &mut self,
        stats: &[StreamStat],
        now: Time,
        out: &mut Outputs,
    ) -> Vec<(Outcome, StreamContext)> {
        let mut told = Vec::with_capacity(stats.len());
        let mut touched: Vec<RoomSid> = Vec::new();
        for stat in stats {
            if self.seen.before(&stat.id, now, self.settings.max_ids) {
                told.push((Outcome::Duplicate, StreamContext::default()));
                continue;
            }
            if self.gone.has(&stat.room, now, self.settings.keep_ended_ids) {
                told.push((Outcome::Applied, StreamContext::default()));
                continue;
            }
            let first = stat.start.or(stat.at).unwrap_or(now);
            let room = room_of(&mut self.rooms, &mut self.ended, &stat.room, first, now);
            room.window(stat, now, &self.settings);
            told.push((Outcome::Applied, context(room, stat)));
            if !touched.contains(&stat.room) {
                touched.push(stat.room.clone());
            }
        }
        // Only when all of a flush is in is a participant complete.
        for sid in touched {
            self.settle(Some(sid), now, out);
        }
        told
    }

    /// The trace and the span of a participant that is known.
    pub fn place(&self, room: &RoomSid, sid: &ParticipantSid) -> Option<(TraceId, SpanId)> {
        let ended = if self.rooms.contains_key(room) { None } else { self.ended.look(room) };
        let room = ended.as_deref().or_else(|| self.rooms.get(room).map(|room| &**room))?;
        room.participants.contains_key(sid).then(|| room.place(sid))
    }

    /// Lets go of what has waited until `now`.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        while self.wakes.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse((_, sid))) = self.wakes.pop()
        {
            self.settle(sid, now, out);
        }
        self.forget_ended(now);
    }

    /// When [`Sessions::tick`] has something to do next, if nothing comes before.
    pub fn next_deadline(&self) -> Option<Time> {
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        wake.into_iter().chain(self.ended.next()).min()
    }

    /// Ends what is open and lets go of everything; `rule` is what `lk.end.inferred` says.
    pub fn close(&mut self, now: Time, rule: &'static str, out: &mut Outputs) {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        let mut rooms: Vec<_> = self.rooms.drain().map(|(_, room)| room).collect();
        rooms.sort_by(|a, b| a.sid.cmp(&b.sid));
        for mut room in rooms {
            out.logs.extend(room.twins.due(None));
            let mut released = Released::default();
            room.close(now, rule, &mut released);
            out.take(released);
        }
        out.logs.extend(self.roomless.due(None));
        self.works.close(rule, &mut out.spans);
        self.ended.clear();
        self.names.clear();
        self.roomless_wake = None;
        self.wakes.clear();
    }

    /// What was forgotten before its time, so far.
    pub fn forgotten(&self) -> Forgotten {
        let Forgotten { ids, ended } = self.forgotten;
        Forgotten { ids: ids + self.seen.early(), ended }
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        #[expect(clippy::disallowed_methods, clippy::iter_over_hash_type, reason = "counts")]
        for room in self.rooms.values() {
            room.count(&mut census);
        }
        census
    }

    // Makes a room that is told of for the first time, and finds the one of its name before it.
    fn meet(&mut self, sid: &RoomSid, info: &event::Room, first: Time, now: Time) {
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

    // Lets go of what is due in a room (or of what is in none) and notes when to come back.
    fn settle(&mut self, sid: Option<RoomSid>, now: Time, out: &mut Outputs) {
        let Some(sid) = sid else { return self.settle_roomless(now, out) };
        let Some(room) = self.rooms.get_mut(&sid) else { return };
        out.logs.extend(room.twins.due(Some(now)));
        let mut released = Released::default();
        room.release(now, &self.settings, &mut released);
        self.forgotten.ended += released.early;
        if !room.is_over(now, &self.settings) {
            out.take(released);
            if let Some(until) = room.is_quiet(now, &self.settings) {
                self.ended.pack(room, until);
                self.rooms.remove(&sid);
                self.forget_ended(now);
            } else if let Some(next) = room.next(now, &self.settings) {
                self.wakes.push(Reverse((next, Some(sid))));
            }
            return;
        }
        // Those who came after its end and never left.
        room.close(now, END_BY_ROOM, &mut released);
        out.take(released);
        if let Some(room) = self.rooms.remove(&sid)
            && let Some(name) = &room.name
            && self.names.get(name) == Some(&sid)
        {
            self.names.remove(name);
        }
        self.forgotten.ids += self.gone.add(&sid, now, self.settings.max_ids);
    }

    // Lets go of ended rooms that have been kept for long, or that there is no place for.
    fn forget_ended(&mut self, now: Time) {
        while let Some((sid, name, is_early)) = self.ended.forget(now, self.settings.max_ended) {
            if let Some(name) = name.filter(|name| self.names.get(name) == Some(&sid)) {
                self.names.remove(&name);
            }
            self.forgotten.ids += self.gone.add(&sid, now, self.settings.max_ids);
            self.forgotten.ended += u64::from(is_early);
        }
    }

    fn settle_roomless(&mut self, now: Time, out: &mut Outputs) {
        out.logs.extend(self.roomless.due(Some(now)));
        self.works.release(now, self.settings.keep_ended, &mut out.spans);
        let next = [self.roomless.next(), self.works.next()].into_iter().flatten().min();
        let asked = self.roomless_wake.filter(|at| *at > now);
        if let Some(next) = next.filter(|next| asked.is_none_or(|asked| *next < asked)) {
            self.roomless_wake = Some(next);
            self.wakes.push(Reverse((next, None)));
        }
    }
}

// The room, which may be new, or have ended.
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
    }
}
