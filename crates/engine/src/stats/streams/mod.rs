//! Series of streams, down to `stats.level`. They open with a zero, have their points at the times of
//! the windows, and end when no more windows are expected.

mod instruments;
mod slot;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::settings::{Level, Settings};
use crate::facts::StreamContext;
use crate::snapshot::{Error, Part, Writer, read};
pub use instruments::most_series;
use instruments::{COUNTERS, GAUGES};
use livekit_otel_model::event::{ParticipantSid, RoomSid, StreamStat, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Table};
pub(super) use slot::ids_and_names;
use slot::{Key, Owner, Slot, attributes};

// How many series are flushed together, and are one part of a snapshot.
const PAGE: usize = 128;
// A snapshot with more is malformed.
const MOST_PAGES: usize = 1 << 20;

#[derive(Debug, Default)]
struct Page {
    live: usize,
    // Empty if none is live.
    slots: Vec<Option<Slot>>,
}

/// All series of streams, in the order of their places. The lowest free place is used first, so that
/// places only depend on the windows that were applied.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pages: Vec<Page>,
    free: BinaryHeap<Reverse<usize>>,
    places: HashTable<usize>,
    owners: HashMap<Owner, Vec<usize>>,
    hasher: RandomState,
    ended: usize,
    overflowed: u64,
    // The next page of a flush.
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
            let series = attributes(settings, stat, context).into();
            self.insert(Slot::new(key, series, stat.start.unwrap_or(at)))
        });
        if let Some(slot) = self.slot(place) {
            slot.window(stat, at);
        }
    }

    /// Ends the series of this owner with the next flush, as no more windows are expected.
    pub(super) fn end(&mut self, room: &RoomSid, participant: Option<&ParticipantSid>) {
        let owner = (room.clone(), participant.cloned());
        for place in self.owners.get(&owner).cloned().unwrap_or_default() {
            if let Some(slot) = self.slot(place).filter(|slot| !slot.ended) {
                slot.ended = true;
                self.ended += 1;
            }
        }
    }

    /// How many have ended and wait for a flush.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// How many windows got no series of their own since the last call.
    pub(super) fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// Begins a flush, whose pages [`Streams::flush_page`] returns.
    pub(super) fn begin_flush(&mut self) {
        self.flushing = Some(0);
        self.ended = 0;
    }

    /// The next page of a flush at `now` that has points; `None` if there are no more.
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

    /// Reads series that [`Streams::save`] wrote.
    pub(super) fn load(&mut self, content: &[u8]) -> Result<(), Error> {
        let (nth, slots): (usize, Vec<Option<Slot>>) = read(content)?;
        if nth > MOST_PAGES || slots.len() > PAGE || nth < self.pages.len() {
            return Err(Error::Version);
        }
        // Pages are in order. The places of one that is missing or was empty are free.
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
            // OpenTelemetry's attribute for everything over a cardinality limit.
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

    // The place must be free.
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
