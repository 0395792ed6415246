//! How long a track was muted, told in any order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use livekit_otel_model::event::Time;

// What is told later than so many others is not looked at again.
const KEPT: usize = 64;

/// A track's mutes and unmutes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Mutes {
    // In their order; the older ones are summed up.
    told: Vec<(Time, bool)>,
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
    /// The track was muted or unmuted at that time.
    pub(super) fn tell(&mut self, at: Time, muted: bool) {
        let place = self.told.partition_point(|told| *told <= (at, muted));
        self.told.insert(place, (at, muted));
        if self.told.len() > KEPT {
            for (at, muted) in self.told.drain(..KEPT / 2) {
                self.sum.add(at, muted);
            }
        }
    }

    /// How often it was muted until `end`, and how long in all.
    pub(super) fn until(&self, end: Time) -> (u64, Duration) {
        let mut sum = self.sum;
        for (at, muted) in &self.told {
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
    fn the_order_of_telling_does_not_matter() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let told = [(1, true), (3, false), (4, true), (5, true), (9, false), (20, true)];
        for turn in 0..told.len() {
            let mut mutes = Mutes::default();
            for nth in 0..told.len() {
                let (secs, muted) = told[(nth + turn) % told.len()];
                mutes.tell(at(secs), muted);
            }
            assert_eq!(mutes.until(at(30)), (3, Duration::from_secs(2 + 5 + 10)));
        }
    }

    #[test]
    fn thousands_of_mutes_are_summed_up() {
        let at = |secs: i64| Time::from_secs(1_795_406_960 + secs).unwrap();
        let mut mutes = Mutes::default();
        for nth in 0..10_000 {
            mutes.tell(at(nth), nth % 2 == 0);
        }
        assert!(mutes.told.len() <= KEPT);
        assert_eq!(mutes.until(at(10_000)), (5_000, Duration::from_secs(5_000)));
    }
}
