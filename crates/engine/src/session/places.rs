//! The rooms of participants and tracks, for events that name no room.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::room::Room;
use crate::ids;
use livekit_otel_model::event::{Event, RoomSid, WorkKind};

/// The memory of one entry, in bytes.
pub(super) const ENTRY: usize = 36;

/// The first 64 bits of the hash of a participant's or a track's SID, or of a SIP call's id.
pub(super) type Key = u64;

/// The rooms of all participants and tracks that are known: a function of the known rooms, so that it
/// is no part of a snapshot, and bounded as they are.
#[derive(Debug, Default)]
pub(super) struct Places {
    // A forwarded track is in several rooms.
    rooms: BTreeSet<(Key, Arc<str>)>,
    /// What was added since this was last taken.
    pub(super) added: Vec<Key>,
}

impl Places {
    /// Applies what a room has learnt and forgotten since the last time.
    pub(super) fn update(&mut self, room: &mut Room) {
        for (sid, is_known) in room.changes.drain(..) {
            let key = key(&sid);
            if is_known {
                self.rooms.insert((key, room.sid.shared()));
                self.added.push(key);
            } else {
                self.rooms.remove(&(key, room.sid.shared()));
            }
        }
    }

    /// Adds the participants and tracks of a room that a snapshot contains.
    pub(super) fn add(&mut self, room: &Room) {
        self.rooms.extend(room.sids().map(|sid| (key(&sid), room.sid.shared())));
    }

    /// Removes those of a room that is forgotten.
    pub(super) fn remove(&mut self, room: &Room) {
        for sid in room.sids() {
            self.rooms.remove(&(key(&sid), room.sid.shared()));
        }
    }

    /// The rooms of a participant or track.
    pub(super) fn of(&self, key: Key) -> impl Iterator<Item = RoomSid> {
        let from = (key, Arc::from(""));
        let rooms = self.rooms.range(from..).take_while(move |(known, _)| *known == key);
        rooms.filter_map(|(_, room)| RoomSid::from_shared(room))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The keys of an event's participant, track, publisher and SIP call: the order in which they are looked up.
pub(super) fn keys(event: &Event) -> impl Iterator<Item = Key> {
    let participant = event.participant.as_ref().map(|who| key(who.sid.as_str()));
    let track = event.track.as_ref().map(|track| key(track.sid.as_str()));
    let publisher = event.publisher.as_ref().map(|sid| key(sid.as_str()));
    let call = call(event).map(|id| key(id));
    [participant, track, publisher, call].into_iter().flatten()
}

/// The SIP call that the event reports, or a transfer of it.
pub(super) fn call(event: &Event) -> Option<&Arc<str>> {
    let work = event.work.as_ref()?;
    match work.kind {
        WorkKind::SipCall => Some(&work.id),
        WorkKind::SipTransfer => work.of.as_ref(),
        _ => None,
    }
}

/// The key of a SID, or of a SIP call's id.
pub(super) fn key(sid: &str) -> Key {
    Key::from_be_bytes(ids::entity(sid))
}
