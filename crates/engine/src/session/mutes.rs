//! How long a track was muted. Mutes and unmutes may be reported in any order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

// Once more are known, the older half is summed up; an older change that is reported after that is
// applied after them.
const KEPT: usize = 64;

/// A track's mutes and unmutes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Mutes {
    // In the order of their times; the older ones are summed up.
    changes: Vec<(Time, bool)>,
    sum: Sum,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Sum {
    count: u64,
    total: Duration,
    since: Option<Time>,
}

impl Sum {
    fn add(&mut self, at: Time, muted: bool) {
        match self.since {
            None if muted => {
                self.since = Some(at);
                self.count += 1;
            }
            Some(since) if !muted => {
                self.total += at.since(since);
                self.since = None;
            }
            _ => {}
        }
    }
}

impl Mutes {
    /// Records that the track was muted or unmuted.
    pub(super) fn record(&mut self, at: Time, muted: bool) {
        let place = self.changes.partition_point(|change| *change <= (at, muted));
        self.changes.insert(place, (at, muted));
        if self.changes.len() > KEPT {
            for (at, muted) in self.changes.drain(..KEPT / 2) {
                self.sum.add(at, muted);
            }
        }
    }

    /// How often it was muted until `end`, and for how long in total.
    pub(super) fn until(&self, end: Time) -> (u64, Duration) {
        let mut sum = self.sum;
        for (at, muted) in &self.changes {
            sum.add(*at, *muted);
        }
        let open = sum.since.map_or(Duration::ZERO, |since| end.since(since));
        (sum.count, sum.total + open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_reports_does_not_matter() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let changes = [(1, true), (3, false), (4, true), (5, true), (9, false), (20, true)];
        for turn in 0..changes.len() {
            let mut mutes = Mutes::default();
            for nth in 0..changes.len() {
                let (secs, muted) = changes[(nth + turn) % changes.len()];
                mutes.record(at(secs), muted);
            }
            assert_eq!(mutes.until(at(30)), (3, Duration::from_secs(2 + 5 + 10)));
        }
    }

    #[test]
    fn thousands_of_mutes_are_summed_up() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let mut mutes = Mutes::default();
        for nth in 0..10_000 {
            mutes.record(at(nth), nth % 2 == 0);
        }
        assert!(mutes.changes.len() <= KEPT);
        assert_eq!(mutes.until(at(10_000)), (5_000, Duration::from_secs(5_000)));
    }
}
