//! Series of streams, down to `stats.level`: they open with a zero, have their points at the
//! windows' own times, and end when no more is waited for.

mod instruments;
mod slot;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::{Level, Settings};
use crate::session::StreamContext;
use crate::snapshot::{Error, Part, Writer, read};
pub use instruments::most_series;
use instruments::{COUNTERS, GAUGES};
use livekit_otel_model::event::{Direction, ParticipantSid, RoomSid, StreamStat, Time, TrackSid};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Table};
use slot::{Slot, attributes};

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Key {
    Streams(RoomSid, Option<ParticipantSid>, Option<TrackSid>, Direction),
    /// All that found no series of its own.
    Overflow,
}

// Whose end ends it: a participant's, or at the level of rooms a room's.
type Owner = (RoomSid, Option<ParticipantSid>);

// So many series leave together, and are one part of a snapshot.
const PAGE: usize = 128;
// In a snapshot that can be true.
const MOST_PAGES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Page {
    live: usize,
    // Empty where none is live.
    slots: Vec<Option<Slot>>,
}

/// All series of streams. Their order is that of their places, which are a function of what was
/// told: a place that is free is taken again, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pages: Vec<Page>,
    free: BinaryHeap<Reverse<usize>>,
    places: HashTable<usize>,
    owners: HashMap<Owner, Vec<usize>>,
    hasher: RandomState,
    ended: usize,
    overflowed: u64,
    // The page that a flush comes to next.
    flushing: Option<usize>,
}

impl Streams {
    pub(super) fn window(
        &mut self,
        settings: &Settings,
        stat: &StreamStat,
        context: &StreamContext,
        now: Time,
    ) {
        let at = stat.at.unwrap_or(now);
        let participant = (settings.level >= Level::Participant).then(|| stat.participant.clone());
        let track = (settings.level >= Level::Track).then(|| stat.track.clone());
        let key = Key::Streams(stat.room.clone(), participant, track, stat.direction);
        let place = self.place(&key).unwrap_or_else(|| {
            if self.places.len() >= settings.cardinality_limit {
                return self.overflow(at);
            }
            let series = attributes(settings.level, stat, context).into();
            self.insert(Slot::new(key, series, stat.start.unwrap_or(at)))
        });
        if let Some(slot) = self.slot(place) {
            slot.window(stat, at);
        }
    }

    /// No more is waited for: the series of this owner end with the next flush.
    pub(super) fn end(&mut self, room: &RoomSid, participant: Option<&ParticipantSid>) {
        let owner = (room.clone(), participant.cloned());
        for place in self.owners.get(&owner).cloned().unwrap_or_default() {
            if let Some(slot) = self.slot(place).filter(|slot| !slot.ended) {
                slot.ended = true;
                self.ended += 1;
            }
        }
    }

    /// How many have ended and wait for the flush.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// How many windows found no series of their own, since the last time that this was asked.
    pub(super) fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// Begins a flush, whose pages [`Streams::flush_page`] gives.
    pub(super) fn begin_flush(&mut self) {
        self.flushing = Some(0);
        self.ended = 0;
    }

    /// The next page of a flush at `now` that has points; `None` once there is none.
    pub(super) fn flush_page(&mut self, settings: &Settings, now: Time) -> Option<Table> {
        while let Some(nth) = self.flushing {
            let Some(page) = self.pages.get_mut(nth) else {
                self.flushing = None;
                return None;
            };
            self.flushing = Some(nth + 1);
            let mut rows = Vec::with_capacity(page.live);
            let mut over = Vec::new();
            for (within, slot) in page.slots.iter_mut().enumerate() {
                let Some(slot) = slot else { continue };
                slot.ended |= slot.is_idle(now);
                rows.extend(slot.row(settings.temporality));
                if slot.ended {
                    over.push(nth * PAGE + within);
                }
            }
            for place in over {
                self.remove(place);
            }
            if !rows.is_empty() {
                let temporality = settings.temporality;
                return Some(Table { counters: &COUNTERS, gauges: &GAUGES, temporality, rows });
            }
        }
        None
    }

    /// Writes all series.
    pub(super) fn save(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        for (nth, page) in self.pages.iter().enumerate().filter(|(_, page)| page.live > 0) {
            to.put(Part::Series, &(nth, &page.slots))?;
        }
        Ok(())
    }

    /// Takes in series that were written.
    pub(super) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let (nth, slots): (usize, Vec<Option<Slot>>) = read(content)?;
        if nth > MOST_PAGES || slots.len() > PAGE || nth < self.pages.len() {
            return Err(Error::Version);
        }
        // Pages come in their order; one that is lost, or was empty, leaves its places free.
        let first = self.pages.len() * PAGE;
        self.free.extend((first..nth * PAGE).map(Reverse));
        self.pages.resize_with(nth + 1, Page::default);
        let mut slots = slots.into_iter();
        for place in nth * PAGE..(nth + 1) * PAGE {
            match slots.next().flatten() {
                Some(slot) => {
                    self.ended += usize::from(slot.ended);
                    self.put(place, slot);
                }
                None => self.free.push(Reverse(place)),
            }
        }
        Ok(())
    }

    fn place(&self, key: &Key) -> Option<usize> {
        let is_it = |place: &usize| self.at(*place).is_some_and(|slot| slot.key == *key);
        self.places.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn overflow(&mut self, at: Time) -> usize {
        self.overflowed += 1;
        self.place(&Key::Overflow).unwrap_or_else(|| {
            // The specification's name for what is over a cardinality limit.
            let series = vec![Attribute::new(key::METRIC_OVERFLOW, true)].into();
            self.insert(Slot::new(Key::Overflow, series, at))
        })
    }

    fn insert(&mut self, slot: Slot) -> usize {
        let place = self.free.pop().map(|Reverse(place)| place).unwrap_or_else(|| {
            let first = self.pages.len() * PAGE;
            self.pages.push(Page::default());
            self.free.extend((first + 1..first + PAGE).map(Reverse));
            first
        });
        self.put(place, slot);
        place
    }

    // Where nothing is.
    fn put(&mut self, place: usize, slot: Slot) {
        if let Some(owner) = slot.key.owner() {
            self.owners.entry(owner).or_default().push(place);
        }
        let hash = self.hasher.hash_one(&slot.key);
        let page = &mut self.pages[place / PAGE];
        if page.slots.is_empty() {
            page.slots.resize_with(PAGE, || None);
        }
        page.slots[place % PAGE] = Some(slot);
        page.live += 1;
        let Self { pages, places, hasher, .. } = self;
        places.insert_unique(hash, place, |place| {
            let slot = pages[place / PAGE].slots[place % PAGE].as_ref();
            slot.map_or(0, |slot| hasher.hash_one(&slot.key))
        });
    }

    fn remove(&mut self, place: usize) {
        let page = &mut self.pages[place / PAGE];
        let Some(slot) = page.slots.get_mut(place % PAGE).and_then(Option::take) else { return };
        page.live -= 1;
        if page.live == 0 {
            page.slots = Vec::new();
        }
        self.free.push(Reverse(place));
        let hash = self.hasher.hash_one(&slot.key);
        if let Ok(entry) = self.places.find_entry(hash, |of| *of == place) {
            entry.remove();
        }
        let Some(owner) = slot.key.owner() else { return };
        if let Some(places) = self.owners.get_mut(&owner) {
            places.retain(|of| *of != place);
            if places.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }

    fn at(&self, place: usize) -> Option<&Slot> {
        self.pages.get(place / PAGE)?.slots.get(place % PAGE)?.as_ref()
    }

    fn slot(&mut self, place: usize) -> Option<&mut Slot> {
        self.pages.get_mut(place / PAGE)?.slots.get_mut(place % PAGE)?.as_mut()
    }
}

impl Key {
    fn owner(&self) -> Option<Owner> {
        match self {
            Self::Streams(room, participant, ..) => Some((room.clone(), participant.clone())),
            Self::Overflow => None,
        }
    }
}
