//! A participant's quality over time, in one direction.

use std::collections::VecDeque;
use std::time::Duration;

use livekit_otel_model::event::{Counter, StreamStat, Time};

/// All of a participant's media in one direction, over a stats window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::ui) struct Window {
    /// When it was flushed.
    pub(in crate::ui) at: Time,
    /// Its first packet.
    pub(in crate::ui) start: Time,
    /// Its last packet.
    pub(in crate::ui) end: Time,
    pub(in crate::ui) packets: u64,
    pub(in crate::ui) lost: u64,
    /// The highest of its tracks.
    pub(in crate::ui) round_trip: Option<Duration>,
    /// The highest of its tracks.
    pub(in crate::ui) jitter: Option<Duration>,
    // Their sum and number.
    scores: (f64, u32),
}

impl Window {
    /// The ratio of lost packets to sent ones; `None` if none were sent.
    pub(in crate::ui) fn loss(&self) -> Option<f64> {
        let sent = self.packets.saturating_add(self.lost);
        (sent > 0).then(|| self.lost as f64 / sent as f64)
    }

    /// The mean of its tracks' scores.
    pub(in crate::ui) fn score(&self) -> Option<f64> {
        (self.scores.1 > 0).then(|| self.scores.0 / f64::from(self.scores.1))
    }

    fn of(stat: &StreamStat, at: Time) -> Self {
        let end = stat.end.unwrap_or(at);
        Self {
            at,
            start: stat.start.unwrap_or(end).min(end),
            end,
            packets: 0,
            lost: 0,
            round_trip: None,
            jitter: None,
            scores: (0.0, 0),
        }
    }

    fn add(&mut self, stat: &StreamStat) {
        self.start = stat.start.map_or(self.start, |start| start.min(self.start));
        self.end = stat.end.map_or(self.end, |end| end.max(self.end));
        self.packets = self.packets.saturating_add(stat.counts[Counter::Packets]);
        self.lost = self.lost.saturating_add(stat.counts[Counter::PacketsLost]);
        self.round_trip = self.round_trip.max(stat.rtt);
        self.jitter = self.jitter.max(stat.jitter);
        if let Some(score) = stat.score {
            self.scores = (self.scores.0 + f64::from(score), self.scores.1 + 1);
        }
    }
}

// The windows of one flush have nearly the same time for all tracks.
const SAME_FLUSH: Duration = Duration::from_secs(1);

/// The newest windows, ordered by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::ui) struct Windows {
    pub(in crate::ui) all: VecDeque<Window>,
    /// How many older windows are no longer held.
    pub(in crate::ui) forgotten: u64,
}

impl Windows {
    /// Adds a track's window that was received at `now`, and holds at most `most` windows. Returns
    /// the change of their number.
    pub(super) fn add(&mut self, stat: &StreamStat, now: Time, most: usize) -> isize {
        let at = stat.at.unwrap_or(now);
        let same =
            |window: &Window| at.since(window.at) < SAME_FLUSH && window.at.since(at) < SAME_FLUSH;
        if let Some(window) = self.all.iter_mut().rev().take(4).find(|window| same(window)) {
            window.add(stat);
            return 0;
        }
        let place = self.all.iter().rposition(|window| window.at <= at).map_or(0, |at| at + 1);
        let mut window = Window::of(stat, at);
        window.add(stat);
        self.all.insert(place, window);
        if self.all.len() <= most {
            return 1;
        }
        self.all.pop_front();
        self.forgotten += 1;
        0
    }
}
