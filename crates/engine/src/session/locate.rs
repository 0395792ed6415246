//! Finds the room of events that do not name it, by the SIDs of their participant and track, or by their SIP call.

use std::time::Duration;

use super::event_time::EventTime;
use super::outputs::{Outcome, Outputs};
use super::participant::is_of_publisher;
use super::places::{call, keys};
use super::sessions::Sessions;
use super::works;
use livekit_otel_model::event::{
    Event, Participant, ParticipantSid, Room, RoomSid, Time, TrackSid, WorkKind,
};

// Clocks of nodes differ by up to this.
const MAX_SKEW: Duration = Duration::from_mins(2);

impl Sessions {
    /// Applies an event that was received at `now`. With `twin_expected`, the other source is connected,
    /// so that a webhook waits for its twin. An event that names no room happens in the room of its
    /// participant or track; if neither is known yet, it waits for them. What is reported of a SIP call before its
    /// room is known waits too, so that the call becomes part of the room's trace.
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
        } else if waits(event) || self.waits_for_call(event, now) {
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

    // A call has no room before the dispatch rules have chosen one, and none ever if it is rejected before. Its
    // transfers belong to it.
    fn waits_for_call(&self, event: &Event, now: Time) -> bool {
        let Some(work) = &event.work else { return false };
        let is_unplaced = call(event).is_some_and(|id| !self.works.has_call(id));
        let is_rejected = work.kind == WorkKind::SipCall && work.is_over && event.room.is_none();
        is_unplaced && !is_rejected && self.room_of_work(event, now).is_none()
    }

    /// Applies the events that waited for a participant, track or SIP call that has become known.
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

    /// The room of an operation that is reported without the room's SID: the room of its other reports, or
    /// else the one that has the reported name and was open when the operation began.
    pub(super) fn room_of_work(&self, event: &Event, now: Time) -> Option<RoomSid> {
        let work = event.work.as_ref()?;
        if matches!(work.kind, WorkKind::ApiCall | WorkKind::WebhookDelivery) {
            return None;
        }
        if let Some(known) = self.works.room(work) {
            return Some(known.clone());
        }
        let name = event.room.as_ref()?.name.as_ref()?;
        let room = self.rooms.get(self.names.get(name)?)?;
        let began = works::start(work, EventTime::of(event, None, now).at);
        let is_before_end = room.end.is_none_or(|end| began <= room.at_end(end));
        (is_before_end && room.start() <= began + MAX_SKEW).then(|| room.sid.clone())
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
