//! What LiveKit tells, as finished spans and log records. Sans-IO: events and times in, outputs
//! out; the same inputs make the same outputs, ids and times included.

mod attributes;
mod callers;
mod fact;
pub mod ids;
mod log;
mod participant;
mod reconcile;
mod release;
mod room;
mod saved;
mod spans;
mod stamp;
mod totals;
mod track;
mod twins;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

pub use fact::{Census, Fact};
pub use reconcile::Disagreement;
use release::{END_BY_ROOM, Released};
use room::Room;
use stamp::Stamp;
pub use track::Description;
use twins::{Seen, Subject, Telling, Twins};

use crate::event::{Event, Identity, RoomName, RoomSid, StreamStat, Teller, Time};
use crate::signal::{LogRecord, Span};

/// How long things are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a participant's spans wait for its last stats. Servers flush those
    /// every 30 s, after the participant left.
    pub linger: Duration,
    /// How long a webhook waits for its twin in the analytics, where those are connected.
    pub twin_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { linger: Duration::from_secs(35), twin_wait: Duration::from_secs(2) }
    }
}

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
    /// It told what the other teller had told, or will speak for both.
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
}

/// All rooms.
#[derive(Debug)]
pub struct Sessions {
    settings: Settings,
    rooms: HashMap<RoomSid, Room>,
    // Twins of what happens in no room.
    roomless: Twins,
    seen: Seen,
    wakes: BinaryHeap<Reverse<(Time, Option<RoomSid>)>>,
}

impl Sessions {
    /// No rooms yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rooms: HashMap::new(),
            roomless: Twins::default(),
            seen: Seen::default(),
            wakes: BinaryHeap::new(),
        }
    }

    /// Takes in an event that came at `now`. `twin_expected` says that the other teller is
    /// connected, so that a webhook waits for its twin.
    pub fn event(
        &mut self,
        event: &Event,
        now: Time,
        twin_expected: bool,
        out: &mut Outputs,
    ) -> Outcome {
        if self.seen.before(&event.id, now) {
            return Outcome::Duplicate;
        }
        let sid = event.room.as_ref().and_then(|room| room.sid.clone());
        let first = event.told.map_or(now, |told| told.at);
        let mut room = sid.as_ref().map(|sid| {
            self.rooms.entry(sid.clone()).or_insert_with(|| Room::new(sid.clone(), first))
        });
        let stamp = match &mut room {
            Some(room) => room.apply(event, now, &mut out.facts),
            None => Stamp::of(event, None, now),
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
        let telling = subject.as_ref().map_or(Telling::First, |subject| {
            twins.tell(subject, event.teller, now, |subject| {
                people.is_some_and(|(people, tracks)| room::is_open(people, tracks, subject))
            })
        });
        if telling != Telling::Silent {
            let record = log::record(event, room.as_deref(), stamp, now);
            let twins = room.map_or(&mut self.roomless, |room| &mut room.twins);
            match subject {
                Some(subject) if twin_expected && event.teller == Teller::Webhook => {
                    let until = now + self.settings.twin_wait;
                    twins.wait(until, subject, event.id.clone(), record);
                }
                _ => out.logs.push(record),
            }
        }
        self.settle(sid, now, out);
        if telling == Telling::First { Outcome::Applied } else { Outcome::Merged }
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
            if self.seen.before(&stat.id, now) {
                told.push((Outcome::Duplicate, StreamContext::default()));
                continue;
            }
            let first = stat.start.or(stat.at).unwrap_or(now);
            let room = self
                .rooms
                .entry(stat.room.clone())
                .or_insert_with(|| Room::new(stat.room.clone(), first));
            room.window(stat, now);
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

    /// Lets go of what has waited until `now`.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        while let Some(Reverse((at, _))) = self.wakes.peek() {
            if *at > now {
                return;
            }
            let Some(Reverse((_, sid))) = self.wakes.pop() else { return };
            self.settle(sid, now, out);
        }
    }

    /// When [`Sessions::tick`] has something to do next, if nothing comes before.
    pub fn next(&self) -> Option<Time> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends what is open and lets go of everything; `rule` is what `lk.end.inferred` says.
    pub fn close(&mut self, now: Time, rule: &'static str, out: &mut Outputs) {
        let mut rooms: Vec<_> = self.rooms.drain().map(|(_, room)| room).collect();
        rooms.sort_by(|a, b| a.sid.cmp(&b.sid));
        for mut room in rooms {
            out.logs.extend(room.twins.due(None));
            let mut released = Released::default();
            room.close(now, rule, &mut released);
            out.take(released);
        }
        out.logs.extend(self.roomless.due(None));
        self.wakes.clear();
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for room in self.rooms.values() {
            room.count(&mut census);
        }
        census
    }

    // Lets go of what is due in a room (or of what waits in none) and notes when to come back.
    fn settle(&mut self, sid: Option<RoomSid>, now: Time, out: &mut Outputs) {
        let next = match sid.as_ref().map(|sid| self.rooms.get_mut(sid)) {
            None => {
                out.logs.extend(self.roomless.due(Some(now)));
                self.roomless.next()
            }
            Some(None) => None,
            Some(Some(room)) => {
                out.logs.extend(room.twins.due(Some(now)));
                let mut released = Released::default();
                room.release(now, &self.settings, &mut released);
                let over = room.is_over(now);
                if over {
                    // Those who came after its end and never left.
                    room.close(now, END_BY_ROOM, &mut released);
                }
                out.take(released);
                if over { None } else { room.next(now, &self.settings) }
            }
        };
        if let Some(sid) = &sid
            && self.rooms.get(sid).is_some_and(|room| room.is_over(now))
        {
            self.rooms.remove(sid);
        }
        if let Some(next) = next {
            self.wakes.push(Reverse((next, sid)));
        }
    }
}

fn context(room: &Room, stat: &StreamStat) -> StreamContext {
    let participant = room.participants.get(&stat.participant);
    StreamContext {
        room_name: room.name.clone(),
        identity: participant.and_then(|participant| participant.identity.clone()),
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
