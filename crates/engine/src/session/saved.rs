//! Sessions in a snapshot.

use std::cmp::Reverse;

use super::gone::Gone;
use super::room::Room;
use super::sessions::Sessions;
use super::twins::Twins;
use super::works::Works;
use crate::snapshot::{Error, Part, Writer, read, sorted};
use livekit_otel_model::event::{RoomName, RoomSid, Time};

// How many wakes, ids or names are one part.
const MANY: usize = 10_000;
// How many events are.
const FEW: usize = 1_000;

impl Sessions {
    /// How many rooms [`Sessions::save`] writes.
    pub fn rooms(&self) -> u64 {
        self.rooms.len() as u64
    }

    /// Writes the state of all sessions.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        for (_, room) in sorted(&self.rooms) {
            to.put(Part::Room, room)?;
        }
        self.ended.save(to)?;
        for names in sorted(&self.names).chunks(MANY) {
            to.put(Part::Names, &names)?;
        }
        for events in self.early.saved().chunks(FEW) {
            to.put(Part::Early, &events)?;
        }
        to.put(Part::Roomless, &self.roomless)?;
        to.put(Part::Works, &self.works)?;
        let questions = self.questions.saved();
        let first = &questions[..questions.len().min(MANY)];
        for questions in std::iter::once(first).chain(questions[first.len()..].chunks(MANY)) {
            to.put(Part::Questions, &(self.questions.rounds, questions))?;
        }
        to.put(Part::Gone, &self.gone)?;
        let mut wakes: Vec<_> = self.wakes.iter().map(|Reverse(wake)| wake).collect();
        wakes.sort_unstable();
        for wakes in wakes.chunks(MANY) {
            to.put(Part::Wakes, &wakes)?;
        }
        let (first, second) = self.seen.order().as_slices();
        for ids in first.chunks(MANY).chain(second.chunks(MANY)) {
            to.put(Part::Seen, &ids)?;
        }
        Ok(())
    }

    /// Reads a part that [`Sessions::save`] wrote; `false` if it is none of them.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn load(&mut self, part: Part, content: &[u8]) -> Result<bool, Error> {
        match part {
            Part::Room => {
                let room: Box<Room> = read(content)?;
                self.places.add(&room);
                self.rooms.insert(room.sid.clone(), room);
            }
            Part::Ended => {
                let room = self.ended.load(content)?;
                self.places.add(&room);
            }
            Part::Early => self.early.restore(read(content)?),
            Part::Names => {
                let names: Vec<(RoomName, RoomSid)> = read(content)?;
                self.names.extend(names);
            }
            Part::Works => self.works = read::<Works>(content)?,
            Part::Questions => {
                let (rounds, questions) = read(content)?;
                self.questions.rounds = rounds;
                self.questions.restore(questions);
            }
            Part::Gone => self.gone = read::<Gone>(content)?,
            Part::Roomless => self.roomless = read::<Twins>(content)?,
            Part::Wakes => {
                let wakes: Vec<(Time, Option<RoomSid>)> = read(content)?;
                let roomless = wakes.iter().filter(|(_, sid)| sid.is_none()).map(|(at, _)| *at);
                self.roomless_wake = self.roomless_wake.into_iter().chain(roomless).min();
                self.wakes.extend(wakes.into_iter().map(Reverse));
            }
            Part::Seen => self.seen.restore(read(content)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}
