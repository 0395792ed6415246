//! Finds the room of events that do not name it, by the SIDs of their participant and track.

use super::outputs::{Outcome, Outputs};
use super::participant::is_of_publisher;
use super::places::keys;
use super::sessions::Sessions;
use livekit_otel_model::event::{
    Event, Participant, ParticipantSid, Room, RoomSid, Time, TrackSid,
};

impl Sessions {
    /// Applies an event that was received at `now`. With `twin_expected`, the other source is connected,
    /// so that a webhook waits for its twin. An event that names no room happens in the room of its
    /// participant or track; if neither is known yet, it waits for them.
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
        let outcome = if is_complete(event) {
            self.apply(event, (now, now), twin_expected, out)
        } else if let Some(event) = self.complete(event) {
            self.apply(&event, (now, now), twin_expected, out)
        } else if waits(event) {
            if let Some(oldest) = self.early.wait(event.clone(), now, twin_expected) {
                let times = (oldest.received, now);
                self.apply(&oldest.event, times, oldest.twin_expected, out);
            }
            self.settle(None, now, out);
            Outcome::Applied
        } else {
            self.apply(event, (now, now), twin_expected, out)
        };
        self.apply_early(now, out);
        outcome
    }

    /// Applies the events that waited for a participant or track that has become known.
    pub(super) fn apply_early(&mut self, now: Time, out: &mut Outputs) {
        while !self.places.added.is_empty() {
            let added = std::mem::take(&mut self.places.added);
            for early in self.early.of(&added) {
                let event = self.complete(&early.event).unwrap_or(early.event);
                self.apply(&event, (early.received, now), early.twin_expected, out);
            }
        }
    }

    // The event with its room, and with the publisher of its track; `None` if its room is not known.
    fn complete(&self, event: &Event) -> Option<Event> {
        let named = event.room.as_ref().and_then(|room| room.sid.clone());
        let sid = named.or_else(|| self.find(event))?;
        let mut event = event.clone();
        if lacks_publisher(&event)
            && let Some(track) = &event.track
        {
            event.participant = self.publisher(&sid, &track.sid).map(Participant::new);
        }
        let unnamed = Room { sid: None, name: None, created: None };
        event.room.get_or_insert(unnamed).sid = Some(sid);
        Some(event)
    }

    // Of several rooms an open one, or else the newest.
    fn find(&self, event: &Event) -> Option<RoomSid> {
        let rank = |sid: &RoomSid| match self.rooms.get(sid) {
            Some(room) => (room.end.is_none(), Some(room.start())),
            None => (false, self.ended.start(sid)),
        };
        keys(event).find_map(|key| self.places.of(key).max_by_key(|sid| (rank(sid), sid.clone())))
    }

    fn publisher(&self, room: &RoomSid, track: &TrackSid) -> Option<ParticipantSid> {
        let ended = if self.rooms.contains_key(room) { None } else { self.ended.look(room) };
        let room = ended.as_deref().or_else(|| self.rooms.get(room).map(|room| &**room))?;
        room.catalog.get(track)?.publisher.clone()
    }
}

fn is_complete(event: &Event) -> bool {
    event.room.as_ref().is_some_and(|room| room.sid.is_some()) && !lacks_publisher(event)
}

fn lacks_publisher(event: &Event) -> bool {
    event.participant.is_none() && event.track.is_some() && is_of_publisher(&event.kind)
}

// Operations beside rooms need no room for their spans.
fn waits(event: &Event) -> bool {
    event.work.is_none() && keys(event).next().is_some()
}
