//! What the API says of a participant's call, whose changes nothing else reports.

use std::sync::Arc;
use std::time::Duration;

use super::calls::Call;
use super::legs::Leg;
use super::questions::{Ask, Questions};
use super::room::Room;
use livekit_otel_model::event::Time;
use livekit_otel_model::event::rooms::ListedParticipant;

// From one question about a call that is not answered yet to the next.
const POLL: Duration = Duration::from_secs(1);

impl Room {
    /// Adds what the API said at `at` of the call of an open participant.
    pub(super) fn poll(&mut self, listed: &ListedParticipant, at: Time) {
        let participant = self.participants.get_mut(&listed.sid).filter(|who| who.end.is_none());
        let (Some(participant), Some(call)) = (participant, &listed.sip) else { return };
        let known = || Box::new(Call::new(Arc::clone(&call.id)));
        let known = participant.sip.get_or_insert_with(known);
        if known.id == call.id {
            known.poll(call, at);
            self.joining.push(listed.sid.clone());
        }
    }
}

/// While a call waits for its answer, its participant is asked for again and again.
pub(super) fn poll_call(questions: &mut Questions, room: &Room, leg: &Leg, now: Time) {
    let participant = room.participants.get(&leg.sid);
    let Some(identity) = participant.and_then(|who| who.identity.clone()) else { return };
    let ask = Ask::Participant(room.sid.clone(), identity);
    if leg.is_waiting() {
        questions.ask_once(now + POLL, ask);
    } else {
        questions.remove(&ask);
    }
}
