//! What the API is asked next, and what becomes of its answers.

use super::outputs::Outputs;
use super::questions::Ask;
use super::sessions::Sessions;
use livekit_otel_model::event::answer::{Answer, Answered, Question};
use livekit_otel_model::event::rooms::ListedParticipant;
use livekit_otel_model::event::{RoomName, RoomSid, Time, WorkKind};

impl Sessions {
    /// Allows questions: there is an API that answers them.
    pub fn enable_questions(&mut self) {
        self.questions.is_enabled = true;
    }

    /// The next question that is due at `now`. Without an answer it is due again only once a list of
    /// rooms has its room. Nothing is asked of a room that is known to have ended.
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
        self.questions.next()
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

    // Whether no newer room of its name is known.
    fn has_its_name(&self, sid: &RoomSid) -> bool {
        let name = self.rooms.get(sid).and_then(|room| room.name.as_ref());
        name.is_some_and(|name| self.names.get(name) == Some(sid))
    }

    /// Applies an answer of the API that was received at `now`.
    pub fn answer(&mut self, answer: &Answer, now: Time, out: &mut Outputs) {
        // A clock that is ahead of ours must not change what is younger.
        let at = answer.at.min(now);
        match &answer.content {
            Answered::Participants { room, participants } => {
                self.questions.answered(&Ask::Participants(room.clone()), at);
                if self.has_its_name(room)
                    && let Some(known) = self.rooms.get_mut(room)
                {
                    known.dispatches.see(participants, at);
                    self.settle(Some(room.clone()), now, out);
                }
                if self.asked_name(room).is_some() {
                    self.compare_participants(room, participants, (at, now), out);
                }
            }
            Answered::Participant { room, identity, participant } => {
                self.questions.answered(&Ask::Participant(room.clone(), identity.clone()), at);
                if let (Some(listed), Some(_)) = (participant, self.asked_name(room)) {
                    self.poll_participant(room, listed, (at, now), out);
                }
            }
            Answered::Dispatches { room: sid, dispatches } => {
                self.questions.answered(&Ask::Dispatches(sid.clone()), at);
                let is_current = self.has_its_name(sid);
                let room = self.rooms.get_mut(sid).filter(|room| room.closed_at.is_none());
                if let Some(room) = room {
                    room.list_dispatches(dispatches, at, is_current);
                    self.settle(Some(sid.clone()), now, out);
                }
            }
            Answered::Egresses(list) => {
                self.questions.answered(&Ask::Egresses, at);
                self.compare_works(WorkKind::Egress, list, (at, now), out);
            }
            Answered::Ingresses(list) => {
                self.questions.answered(&Ask::Ingresses, at);
                self.compare_works(WorkKind::Ingress, list, (at, now), out);
            }
        }
        self.apply_early(now, out);
    }

    // What the API says of one participant's call. One that is unknown here is not opened: it has no list's proof
    // that it should have been reported.
    fn poll_participant(
        &mut self,
        sid: &RoomSid,
        listed: &ListedParticipant,
        (at, now): (Time, Time),
        out: &mut Outputs,
    ) {
        if let Some(room) = self.rooms.get_mut(sid) {
            room.poll(listed, at);
            self.settle(Some(sid.clone()), now, out);
        }
    }
}

#[cfg(test)]
mod tests;
