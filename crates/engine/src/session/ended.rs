//! Rooms that have ended, kept for late events and windows: packed, as in a snapshot. A late message
//! unpacks its room, which is packed again after a while.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::places;
use super::room::Room;
use crate::snapshot::{Error, Part, Writer, read};
use livekit_otel_model::event::{RoomName, RoomSid, Time};

// Late messages mostly arrive together. A large room must not be unpacked for each of them.
pub(super) const QUIET: Duration = Duration::from_secs(10);
// The memory of a room beside its content: two SIDs, a name, and entries of maps.
const OVERHEAD: usize = 320;

#[derive(Debug)]
struct Packed {
    start: Time,
    // The memory that it takes.
    bytes: usize,
    name: Option<RoomName>,
    until: Time,
    content: Box<[u8]>,
}

/// An ended room as a part of a snapshot.
#[derive(Serialize, Deserialize)]
struct Saved {
    until: Time,
    content: Vec<u8>,
}

/// A room that is forgotten, with its content if that can be read.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) sid: RoomSid,
    pub(super) name: Option<RoomName>,
    pub(super) room: Option<Box<Room>>,
}

/// All ended rooms.
#[derive(Debug, Default)]
pub(super) struct Ended {
    rooms: HashMap<RoomSid, Packed>,
    // By the time at which each is forgotten.
    order: BTreeSet<(Time, RoomSid)>,
    bytes: usize,
}

impl Ended {
    pub(super) fn has(&self, sid: &RoomSid) -> bool {
        self.rooms.contains_key(sid)
    }

    /// When a room began.
    pub(super) fn start(&self, sid: &RoomSid) -> Option<Time> {
        self.rooms.get(sid).map(|packed| packed.start)
    }

    /// Keeps a room until that time. A room that can't be serialized is not kept.
    pub(super) fn pack(&mut self, room: &Room, until: Time) {
        if let Ok(content) = postcard::to_stdvec(room) {
            self.insert(room, until, content.into());
        }
    }

    fn insert(&mut self, room: &Room, until: Time, content: Box<[u8]>) {
        let bytes = content.len() + OVERHEAD + room.sids().count() * places::ENTRY;
        self.bytes += bytes;
        self.order.insert((until, room.sid.clone()));
        let (start, name) = (room.start(), room.name.clone());
        let packed = Packed { start, bytes, name, until, content };
        self.rooms.insert(room.sid.clone(), packed);
    }

    /// Removes the room and returns it as it was.
    pub(super) fn unpack(&mut self, sid: &RoomSid) -> Option<Box<Room>> {
        let packed = self.remove(sid)?;
        let mut room: Box<Room> = read(&packed.content).ok()?;
        room.wake_at = None;
        Some(room)
    }

    /// A copy of the room.
    pub(super) fn look(&self, sid: &RoomSid) -> Option<Box<Room>> {
        read(&self.rooms.get(sid)?.content).ok()
    }

    fn remove(&mut self, sid: &RoomSid) -> Option<Packed> {
        let packed = self.rooms.remove(sid)?;
        self.bytes -= packed.bytes;
        self.order.remove(&(packed.until, sid.clone()));
        Some(packed)
    }

    /// When the next room is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.order.first().map(|(until, _)| *until)
    }

    /// Removes a room that was kept until `now`, or the oldest if all take more than `most` bytes; also
    /// returns whether it is the latter.
    pub(super) fn forget(&mut self, now: Time, most: usize) -> Option<(Removed, bool)> {
        let (until, sid) = self.order.first()?.clone();
        let is_early = until > now;
        if is_early && self.bytes <= most {
            return None;
        }
        let packed = self.remove(&sid)?;
        let room = read(&packed.content).ok();
        Some((Removed { sid, name: packed.name, room }, is_early))
    }

    pub(super) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        for (until, sid) in &self.order {
            if let Some(packed) = self.rooms.get(sid) {
                let content = packed.content.to_vec();
                to.put(Part::Ended, &Saved { until: *until, content })?;
            }
        }
        Ok(())
    }

    /// Returns the room that was read.
    pub(super) fn load(&mut self, content: &[u8]) -> Result<Box<Room>, Error> {
        let saved: Saved = read(content)?;
        let room: Box<Room> = read(&saved.content)?;
        self.remove(&room.sid);
        self.insert(&room, saved.until, saved.content.into());
        Ok(room)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
