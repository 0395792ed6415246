//! What to ask LiveKit's API, and when. Each question stays until its answer: an answer is an input like
//! any other, so that the questions are a function of the inputs. That one was asked changes nothing
//! here but when it is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outputs::Outputs;
use super::sessions::Sessions;
use livekit_otel_model::event::answer::{Answer, Answered, Question};
use livekit_otel_model::event::{Identity, RoomName, RoomSid, Time};

// What was asked and not answered, such as by an API that fails, is asked again after this.
const AGAIN: Duration = Duration::from_secs(30);
// Wishes for the same answer are one if they are as close as this.
const TOGETHER: Duration = Duration::from_secs(1);

/// Something to ask, by what identifies it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The participants of a room.
    Participants(RoomSid),
    /// One participant of a room.
    Participant(RoomSid, Identity),
    /// The dispatches of a room.
    Dispatches(RoomSid),
    /// All active egresses.
    Egresses,
    /// All ingresses.
    Ingresses,
}

/// The questions that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    // Whether there is an API. Without one, nothing is asked.
    is_enabled: bool,
    wanted: BTreeMap<Ask, Wanted>,
    // Their `next`.
    next: BTreeSet<(Time, Ask)>,
}

#[derive(Debug)]
struct Wanted {
    // No answer may be older than these; in their order, and at least one.
    since: Vec<Time>,
    // When it is asked, or asked again.
    next: Time,
}

impl Questions {
    /// Wants an answer that is not older than `at`. One that is wanted within a second after that will do.
    pub(super) fn ask(&mut self, at: Time, ask: Ask) {
        if !self.is_enabled {
            return;
        }
        let new = || Wanted { since: Vec::new(), next: at };
        let wanted = self.wanted.entry(ask.clone()).or_insert_with(new);
        if wanted.since.iter().any(|since| (at..=at + TOGETHER).contains(since)) {
            return;
        }
        let nth = wanted.since.partition_point(|since| *since < at);
        wanted.since.insert(nth, at);
        let next = wanted.next.min(at);
        self.reschedule(ask, next);
    }

    /// Removes what is answered by an answer that was asked for at `at`.
    pub(super) fn answered(&mut self, ask: &Ask, at: Time) {
        let Some(wanted) = self.wanted.get_mut(ask) else { return };
        wanted.since.retain(|since| *since > at);
        match wanted.since.first() {
            Some(&next) => self.reschedule(ask.clone(), next),
            None => self.cancel(ask),
        }
    }

    /// Removes what nobody needs to know any more.
    pub(super) fn cancel(&mut self, ask: &Ask) {
        if let Some(wanted) = self.wanted.remove(ask) {
            self.next.remove(&(wanted.next, ask.clone()));
        }
    }

    fn reschedule(&mut self, ask: Ask, next: Time) {
        let Some(wanted) = self.wanted.get_mut(&ask) else { return };
        let before = std::mem::replace(&mut wanted.next, next);
        self.next.remove(&(before, ask.clone()));
        self.next.insert((next, ask));
    }

    // The next that is due. If it is not answered, it is due again later.
    fn pop(&mut self, now: Time) -> Option<Ask> {
        let (_, ask) = self.next.first().filter(|(at, _)| *at <= now)?.clone();
        let since = self.wanted.get(&ask).map(|wanted| wanted.since.as_slice()).unwrap_or_default();
        let later = since.iter().copied().find(|since| *since > now);
        self.reschedule(ask.clone(), later.into_iter().fold(now + AGAIN, Time::min));
        Some(ask)
    }

    /// What is saved: the questions, and since when their answers are wanted.
    pub(super) fn saved(&self) -> Vec<(&Ask, &[Time])> {
        self.wanted.iter().map(|(ask, wanted)| (ask, wanted.since.as_slice())).collect()
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

impl Sessions {
    /// Allows questions: there is an API that answers them.
    pub fn enable_questions(&mut self) {
        self.questions.is_enabled = true;
    }

    /// The next question that is due at `now`. It is due again after 30 s, unless its answer is applied
    /// before. Nothing is asked of a room that is known to have ended.
    pub fn question(&mut self, now: Time) -> Option<Question> {
        while let Some(ask) = self.questions.pop(now) {
            if let Some(question) = self.question_of(&ask) {
                return Some(question);
            }
        }
        None
    }

    /// When the next question is due.
    pub fn next_question(&self) -> Option<Time> {
        self.questions.next.first().map(|(at, _)| *at)
    }

    // `None` for a room that has ended or was replaced by a newer one of its name, which the API would
    // answer for, and for a participant that has left.
    fn question_of(&self, ask: &Ask) -> Option<Question> {
        match ask {
            Ask::Participants(room) => {
                let name = self.asked_name(room)?;
                Some(Question::Participants { room: room.clone(), name })
            }
            Ask::Participant(room, identity) => {
                let name = self.asked_name(room)?;
                let known = self.rooms.get(room)?;
                let sessions = known.identities.get(identity)?;
                let is_open =
                    |sid| known.participants.get(sid).is_some_and(|who| who.end.is_none());
                sessions.iter().any(is_open).then(|| Question::Participant {
                    room: room.clone(),
                    name,
                    identity: identity.clone(),
                })
            }
            Ask::Dispatches(room) => {
                let name = self.asked_name(room)?;
                Some(Question::Dispatches { room: room.clone(), name })
            }
            Ask::Egresses => Some(Question::Egresses),
            Ask::Ingresses => Some(Question::Ingresses),
        }
    }

    /// The name of an open room, if the API means this room by it.
    fn asked_name(&self, sid: &RoomSid) -> Option<RoomName> {
        let room = self.rooms.get(sid).filter(|room| room.end.is_none())?;
        room.name.clone().filter(|name| self.names.get(name) == Some(sid))
    }

    /// Applies an answer of the API that was received at `now`.
    pub fn answer(&mut self, answer: &Answer, now: Time, out: &mut Outputs) {
        // A clock that is ahead of ours must not change what is younger.
        let at = answer.at.min(now);
        match &answer.content {
            Answered::Participants { room, participants } => {
                self.questions.answered(&Ask::Participants(room.clone()), at);
                if self.asked_name(room).is_some() {
                    self.compare_participants(room, participants, (at, now), out);
                }
            }
            Answered::Participant { room, identity, participant: _ } => {
                self.questions.answered(&Ask::Participant(room.clone(), identity.clone()), at);
            }
            Answered::Dispatches { room, dispatches: _ } => {
                self.questions.answered(&Ask::Dispatches(room.clone()), at);
            }
            Answered::Egresses(_) => self.questions.answered(&Ask::Egresses, at),
            Answered::Ingresses(_) => self.questions.answered(&Ask::Ingresses, at),
        }
    }

    /// Removes the questions about a room that has ended.
    pub(super) fn cancel_questions(&mut self, sid: &RoomSid) {
        self.questions.cancel(&Ask::Participants(sid.clone()));
        self.questions.cancel(&Ask::Dispatches(sid.clone()));
    }
}
