//! The stats windows of participants, for the turns of agents' jobs: how good a caller's network was.
//!
//! Only windows of rooms that have a job are kept. A job's first record comes within seconds of its start, so that
//! little of its first turn is missed. Windows are kept for 2 to 4 minutes: a turn is received within seconds of its
//! end and waits for 35 s at most.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::{Counter, Direction, ParticipantSid, RoomSid, StreamStat, Time};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

// Windows move from the young to the old ones after so long, or beyond so many (56 bytes each); the old ones are then
// forgotten. 10,000 calls of two participants have 160,000 in that time.
const YOUNG: Duration = Duration::from_mins(2);
const MOST: usize = 200_000;
// The windows of one flush have nearly the same time for all tracks.
const SAME_FLUSH: Duration = Duration::from_secs(1);
// How many of a participant's are one part of a snapshot.
const MANY: usize = 128;

/// A participant's side of a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) room: RoomSid,
    pub(super) participant: ParticipantSid,
    pub(super) direction: Direction,
}

impl Side {
    fn of(stat: &StreamStat) -> Self {
        let (room, participant) = (stat.room.clone(), stat.participant.clone());
        Self { room, participant, direction: stat.direction }
    }

    fn other(&self) -> Self {
        let direction = match self.direction {
            Direction::Upstream => Direction::Downstream,
            Direction::Downstream => Direction::Upstream,
        };
        Self { direction, ..self.clone() }
    }
}

/// All of a participant's media in one direction, over a stats window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Window {
    // When it was flushed, and when it was last received here.
    at: Time,
    received: Time,
    // The first and the last packet.
    start: Time,
    end: Time,
    packets: u64,
    lost: u64,
    // The highest of its tracks, in microseconds; 0 where none was measured.
    round_trip: u32,
    jitter: u32,
}

impl Window {
    fn of(stat: &StreamStat, now: Time) -> Self {
        let at = stat.at.unwrap_or(now);
        let end = stat.end.unwrap_or(at);
        let start = stat.start.unwrap_or(end).min(end);
        Self {
            at,
            received: now,
            start,
            end,
            packets: stat.counts[Counter::Packets],
            lost: stat.counts[Counter::PacketsLost],
            round_trip: micros(stat.rtt),
            jitter: micros(stat.jitter),
        }
    }

    fn is_of_flush(&self, at: Time) -> bool {
        at.since(self.at) < SAME_FLUSH && self.at.since(at) < SAME_FLUSH
    }

    // Adds another track's.
    fn add(&mut self, other: &Self) {
        self.received = self.received.max(other.received);
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.packets = self.packets.saturating_add(other.packets);
        self.lost = self.lost.saturating_add(other.lost);
        self.round_trip = self.round_trip.max(other.round_trip);
        self.jitter = self.jitter.max(other.jitter);
    }
}

fn micros(of: Option<Duration>) -> u32 {
    u32::try_from(of.unwrap_or_default().as_micros()).unwrap_or(u32::MAX)
}

type Sides = BTreeMap<Side, Vec<Window>>;

/// The windows that were received lately.
#[derive(Debug, Default)]
pub(super) struct Windows {
    young: Sides,
    old: Sides,
    // How many are young, and since when.
    count: usize,
    since: Option<Time>,
}

impl Windows {
    /// Adds a track's window that was received at `now`.
    pub(super) fn add(&mut self, stat: &StreamStat, now: Time) {
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= YOUNG || self.count >= MOST {
            self.old = std::mem::take(&mut self.young);
            (self.count, self.since) = (0, Some(now));
        }
        let window = Window::of(stat, now);
        let windows = self.young.entry(Side::of(stat)).or_default();
        let same = windows.iter_mut().rev().take(4).find(|known| known.is_of_flush(window.at));
        match same {
            Some(known) => known.add(&window),
            None => {
                windows.push(window);
                self.count += 1;
            }
        }
    }

    fn of(&self, side: &Side) -> impl Iterator<Item = &Window> {
        let both = [&self.old, &self.young];
        both.into_iter().filter_map(|sides| sides.get(side)).flatten()
    }

    /// When the first window was received that reaches to this time.
    pub(super) fn reached(&self, side: &Side, end: Time) -> Option<Time> {
        self.of(side).filter(|window| window.end >= end).map(|window| window.received).min()
    }

    /// What was measured between these times: `lk.network.*`.
    pub(super) fn network(&self, side: &Side, (start, end): (Time, Time)) -> Vec<Attribute> {
        let overlaps = |window: &&Window| window.start <= end && window.end >= start;
        let (mut packets, mut lost, mut round_trip, mut jitter) = (0u64, 0u64, 0, 0);
        for window in self.of(side).filter(overlaps) {
            packets = packets.saturating_add(window.packets);
            lost = lost.saturating_add(window.lost);
            jitter = jitter.max(window.jitter);
            round_trip = round_trip.max(window.round_trip);
        }
        for window in self.of(&side.other()).filter(overlaps) {
            round_trip = round_trip.max(window.round_trip);
        }
        let sent = packets.saturating_add(lost);
        let loss = (sent > 0).then(|| lost as f64 / sent as f64);
        let seconds = |micros: u32| (micros > 0).then(|| f64::from(micros) / 1e6);
        let measured = [
            (key::NETWORK_LOSS, loss),
            (key::NETWORK_ROUND_TRIP, seconds(round_trip)),
            (key::NETWORK_JITTER, seconds(jitter)),
        ];
        let measured = measured.into_iter();
        measured.filter_map(|(key, value)| Some(Attribute::new(key, value?))).collect()
    }

    /// Those for a snapshot: parts, and whether they are young.
    pub(super) fn parts(&self) -> impl Iterator<Item = (bool, Vec<(&Side, &Vec<Window>)>)> {
        let both = [(false, &self.old), (true, &self.young)];
        both.into_iter().flat_map(|(is_young, sides)| {
            let all: Vec<_> = sides.iter().collect();
            let parts: Vec<_> = all.chunks(MANY).map(|part| (is_young, part.to_vec())).collect();
            parts
        })
    }

    /// Since when there are young ones, for a snapshot.
    pub(super) fn since(&self) -> Option<Time> {
        self.since
    }

    /// Adds a part of a snapshot.
    pub(super) fn restore(&mut self, is_young: bool, part: Vec<(Side, Vec<Window>)>) {
        if is_young {
            self.count += part.iter().map(|(_, windows)| windows.len()).sum::<usize>();
            self.young.extend(part);
        } else {
            self.old.extend(part);
        }
    }

    /// Sets since when a snapshot's are young.
    pub(super) fn restore_since(&mut self, since: Option<Time>) {
        self.since = since;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{UP, at, room, sid, window};
    use super::*;

    fn starts(windows: &Windows) -> Vec<Time> {
        let side = Side { room: room(), participant: sid("PA_ada"), direction: UP };
        windows.of(&side).map(|window| window.start).collect()
    }

    #[test]
    fn windows_are_kept_for_2_to_4_minutes() {
        let mut windows = Windows::default();
        for secs in (0..3600).step_by(30) {
            windows.add(&window("PA_ada", UP, (secs, secs + 29), 0, (0, 0)), at(secs + 30));
            let kept = starts(&windows);
            assert!(kept.len() <= 8, "{}", kept.len());
            assert_eq!(kept[0], kept[0].min(at(0.max(secs - 120))), "{secs}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_most() {
        let mut windows = Windows::default();
        let one = window("PA_ada", UP, (0, 10), 0, (0, 0));
        let most = i64::try_from(MOST).unwrap();
        for nth in 0..=2 * most {
            windows.add(&StreamStat { at: Some(at(2 * nth)), ..one.clone() }, at(1));
        }
        assert_eq!(starts(&windows).len(), MOST + 1);
        // The tracks of a flush are one.
        for _ in 0..10 {
            windows.add(&StreamStat { at: Some(at(4 * most)), ..one.clone() }, at(1));
        }
        assert_eq!(starts(&windows).len(), MOST + 1);
    }
}
