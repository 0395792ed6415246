//! What to ask LiveKit's API, and when. Each question stays until it is answered. An answer is an input like
//! any other, so the open questions depend on inputs alone. Sending a question changes only when it is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{Identity, RoomSid, Time};

// Of every room the participants are listed once in so many rounds.
const ROUNDS: u64 = 10;
// Two requests for the same answer are one if they are as close as this.
const TOGETHER: Duration = Duration::from_secs(1);
// How many requests for one answer are kept, the newest, if the API never answers.
const MOST_REQUESTS: usize = 32;
// A question that is never answered waits for at most so many lists of rooms.
const LONGEST_REST: u32 = 32;

/// Something to ask, by what identifies it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Ask {
    /// All active egresses.
    Egresses,
    /// All ingresses.
    Ingresses,
    /// The dispatches of a room.
    Dispatches(RoomSid),
    /// One participant of a room.
    Participant(RoomSid, Identity),
    /// The participants of a room.
    Participants(RoomSid),
}

impl Ask {
    fn room(&self) -> Option<&RoomSid> {
        match self {
            Self::Egresses | Self::Ingresses => None,
            Self::Dispatches(room) | Self::Participant(room, _) | Self::Participants(room) => {
                Some(room)
            }
        }
    }

    // Those about a room are beside each other.
    fn key(&self) -> Key {
        (self.room().cloned(), self.clone())
    }

    // All rooms in turn are asked for their participants, so these wait for the others. What the API did not
    // answer comes last, as the next answer may take it seconds again.
    fn rank(&self, wanted: &Wanted) -> usize {
        match self {
            _ if wanted.asked > 0 => 2,
            Self::Participants(_) => 1,
            _ => 0,
        }
    }
}

type Key = (Option<RoomSid>, Ask);

/// The questions that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    // Whether there is an API. Without one, nothing is asked.
    pub(super) is_enabled: bool,
    /// How many lists of rooms the API has answered.
    pub(super) rounds: u64,
    wanted: BTreeMap<Key, Wanted>,
    // When each is asked next, by its rank: one of a later queue only if none of those before is due.
    queues: [BTreeSet<(Time, Ask)>; 3],
}

#[derive(Debug, Default)]
struct Wanted {
    // No answer may be older than these; in their order, at least one and at most `MOST_REQUESTS`.
    since: Vec<Time>,
    // When it is asked, or asked again.
    next: Option<Time>,
    // How often in a row it was asked without an answer, and for how many lists of rooms it waits since. No output
    // depends on these: they are not saved.
    asked: u32,
    rest: u32,
}

impl Questions {
    /// Requests an answer that is not older than `at`, unless one is requested for up to a second later. For a question
    /// that concerns no room, the last request replaces the earlier ones.
    pub(super) fn ask(&mut self, at: Time, ask: Ask) {
        if !self.is_enabled {
            return;
        }
        let key = (ask.room().cloned(), ask);
        let wanted = self.wanted.entry(key.clone()).or_default();
        if wanted.since.iter().any(|since| (at..=at + TOGETHER).contains(since)) {
            return;
        }
        if key.0.is_none() {
            // A server without egresses or ingresses never answers.
            wanted.since.clear();
        }
        let nth = wanted.since.partition_point(|since| *since < at);
        wanted.since.insert(nth, at);
        if wanted.since.len() > MOST_REQUESTS {
            // An answer that is new enough for the others is for this.
            wanted.since.remove(0);
        }
        let next = wanted.next.into_iter().fold(at, Time::min);
        self.reschedule(&key.1, Some(next));
    }

    /// Asks at `at`, unless this is asked anyway.
    pub(super) fn ask_once(&mut self, at: Time, ask: Ask) {
        if !self.wanted.contains_key(&ask.key()) {
            self.ask(at, ask);
        }
    }

    /// Removes what nobody needs to know any more.
    pub(super) fn remove(&mut self, ask: &Ask) {
        self.reschedule(ask, None);
        self.wanted.remove(&ask.key());
    }

    /// Removes what is answered by an answer that was asked for at `at`.
    pub(super) fn answered(&mut self, ask: &Ask, at: Time) {
        let Some(wanted) = self.wanted.get_mut(&ask.key()) else { return };
        wanted.since.retain(|since| *since > at);
        let next = wanted.since.first().copied();
        self.reschedule(ask, None);
        if next.is_none() {
            self.wanted.remove(&ask.key());
        } else if let Some(wanted) = self.wanted.get_mut(&ask.key()) {
            wanted.asked = 0;
            self.reschedule(ask, next);
        }
    }

    /// A list of rooms at `at` has that room. Only then is anything asked again that the API did not answer,
    /// and after twice as many lists each time: of a room that is gone, an answer takes the server seconds.
    pub(super) fn listed(&mut self, room: &RoomSid, at: Time) {
        for ask in self.of_room(room) {
            let Some(wanted) = self.wanted.get_mut(&ask.key()) else { continue };
            if wanted.next.is_none() {
                wanted.rest = wanted.rest.saturating_sub(1);
                if wanted.rest == 0 {
                    self.reschedule(&ask, Some(at));
                }
            }
        }
    }

    /// Whether the room's participants are to be compared in this round, whatever their number is.
    pub(super) fn is_turn_of(&self, room: &RoomSid) -> bool {
        let nth: u64 = room.as_str().bytes().map(u64::from).sum();
        (self.rounds + nth).is_multiple_of(ROUNDS)
    }

    /// Removes what is asked of a room.
    pub(super) fn cancel(&mut self, room: &RoomSid) {
        for ask in self.of_room(room) {
            self.remove(&ask);
        }
    }

    fn of_room(&self, room: &RoomSid) -> Vec<Ask> {
        let first = (Some(room.clone()), Ask::Egresses);
        let of_room = self.wanted.range(first..).map(|(key, _)| key);
        of_room
            .take_while(|(of, _)| of.as_ref() == Some(room))
            .map(|(_, ask)| ask.clone())
            .collect()
    }

    fn reschedule(&mut self, ask: &Ask, next: Option<Time>) {
        let Some(wanted) = self.wanted.get_mut(&ask.key()) else { return };
        let Some(queue) = self.queues.get_mut(ask.rank(wanted)) else { return };
        if let Some(before) = std::mem::replace(&mut wanted.next, next) {
            queue.remove(&(before, ask.clone()));
        }
        queue.extend(next.map(|next| (next, ask.clone())));
    }

    /// The next that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<Ask> {
        let due = |queue: &BTreeSet<(Time, Ask)>| {
            queue.first().filter(|(at, _)| *at <= now).map(|(_, ask)| ask.clone())
        };
        let ask = self.queues.iter().find_map(due)?;
        self.reschedule(&ask, None);
        let wanted = self.wanted.get_mut(&ask.key())?;
        wanted.rest = 1 << wanted.asked.min(LONGEST_REST.ilog2());
        wanted.asked = wanted.asked.saturating_add(1);
        let later = wanted.since.iter().copied().find(|since| *since > now);
        self.reschedule(&ask, later);
        Some(ask)
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.queues.iter().filter_map(|queue| queue.first()).map(|(at, _)| *at).min()
    }

    /// What is saved: the questions, and since when their answers are wanted.
    pub(super) fn saved(&self) -> Vec<(&Ask, &[Time])> {
        self.wanted.iter().map(|((_, ask), wanted)| (ask, wanted.since.as_slice())).collect()
    }

    /// Adds what was saved.
    pub(super) fn restore(&mut self, saved: Vec<(Ask, Vec<Time>)>) {
        for (ask, since) in saved {
            for at in since {
                self.ask(at, ask.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
