//! When intake began and ceased to refuse, as lines for the log: one that begins, and one that ends, for each
//! reason and minute at most. The last line is never out of date: what comes and goes within a minute goes on.

use std::time::Duration;

use livekit_otel_ledger::health::NotReady;
use livekit_otel_model::event::Time;

// From a line that begins to the one that ends, at least.
const QUIET: Duration = Duration::from_mins(1);
// Input was accepted for so long that it will be.
const SETTLED: Duration = Duration::from_secs(5);

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing is accepted.
    Begins(NotReady),
    /// Input is accepted again, or is refused for another reason.
    Ends {
        /// Why nothing was accepted.
        reason: NotReady,
        /// For how long, all times together.
        lasted: Duration,
        /// How many times.
        times: u64,
        /// How many requests were refused as busy meanwhile, for this reason or another.
        busy: u64,
    },
}

/// What the lines are made of.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    // At most one of each reason.
    open: Vec<Episode>,
    current: Option<NotReady>,
    // When this was last noted, and how many were refused then.
    last: Option<(Time, u64)>,
}

#[derive(Debug)]
struct Episode {
    reason: NotReady,
    began: Time,
    // When it was last the reason.
    seen: Time,
    lasted: Duration,
    times: u64,
    busy: u64,
}

impl Episode {
    fn is_over(&self, now: Time, current: Option<NotReady>) -> bool {
        current != Some(self.reason)
            && now.since(self.began) >= QUIET
            && now.since(self.seen) >= SETTLED
    }
}

impl Episodes {
    /// Notes why nothing is accepted, and how many requests were ever refused as busy.
    /// Returns the lines for the log.
    pub(super) fn note(&mut self, now: Time, reason: Option<NotReady>, refused: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        let before = std::mem::replace(&mut self.current, reason);
        if let Some(reason) = reason
            && !self.open.iter().any(|open| open.reason == reason)
        {
            let (lasted, times) = (Duration::ZERO, 0);
            self.open.push(Episode { reason, began: now, seen: now, lasted, times, busy: 0 });
            lines.push(Line::Begins(reason));
        }
        let (then, refused_then) = self.last.replace((now, refused)).unwrap_or((now, refused));
        let count = refused.saturating_sub(refused_then);
        for open in &mut self.open {
            if before == Some(open.reason) {
                // Until now.
                open.lasted += now.since(then);
                open.seen = now;
            } else if reason == Some(open.reason) {
                open.times += 1;
                open.seen = now;
            }
            if before.or(reason) == Some(open.reason) {
                open.busy += count;
            }
        }
        lines.extend(self.open.extract_if(.., |open| open.is_over(now, reason)).map(|open| {
            let Episode { reason, lasted, times, busy, .. } = open;
            Line::Ends { reason, lasted, times, busy }
        }));
        lines
    }
}

/// Notices when use stays above 3/4 of its limit, once until it is below 1/2, a minute later at the earliest.
#[derive(Debug, Default)]
pub struct HighWater {
    // How long it must stay there.
    patience: Duration,
    // Since when it is above 3/4.
    above: Option<Time>,
    // When it was noticed to be high, until it is noticed to be low.
    high: Option<Time>,
}

/// What the log says about high use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Water {
    /// It stayed above 3/4 of the limit.
    High,
    /// It fell below 1/2.
    Low,
}

impl HighWater {
    /// Notices only use that was high at each look for this long. By default the first look is enough.
    #[must_use]
    pub fn after(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Notes how much of `limit` is used, in the same unit.
    pub fn note(&mut self, now: Time, used: u64, limit: u64) -> Option<Water> {
        self.above = (used > limit / 4 * 3).then(|| self.above.unwrap_or(now));
        match (self.high, self.above) {
            (None, Some(above)) if now.since(above) >= self.patience => {
                self.high = Some(now);
                Some(Water::High)
            }
            (Some(high), _) if used < limit / 2 && now.since(high) >= QUIET => {
                self.high = None;
                Some(Water::Low)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: NotReady = NotReady::JournalFull;
    const MEMORY: NotReady = NotReady::MemoryLimit;

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_795_406_960 + seconds).unwrap()
    }

    fn begins(reason: NotReady) -> Line {
        Line::Begins(reason)
    }

    fn ends(reason: NotReady, seconds: u64, times: u64, busy: u64) -> Line {
        Line::Ends { reason, lasted: Duration::from_secs(seconds), times, busy }
    }

    #[test]
    fn a_state_has_a_line_that_begins_and_one_that_ends_it() {
        let mut episodes = Episodes::default();
        assert_eq!(episodes.note(at(0), None, 5), []);
        assert_eq!(episodes.note(at(1), Some(FULL), 6), [begins(FULL)]);
        assert_eq!(episodes.note(at(40), Some(FULL), 9), []);
        assert_eq!(episodes.note(at(71), None, 12), []);
        assert_eq!(episodes.note(at(75), None, 12), []);
        assert_eq!(episodes.note(at(76), None, 12), [ends(FULL, 70, 1, 7)]);
        assert_eq!(episodes.note(at(90), Some(FULL), 12), [begins(FULL)]);
    }

    #[test]
    fn another_reason_is_another_state() {
        let mut episodes = Episodes::default();
        episodes.note(at(0), Some(FULL), 0);
        assert_eq!(episodes.note(at(60), Some(MEMORY), 3), [begins(MEMORY)]);
        assert_eq!(episodes.note(at(65), Some(MEMORY), 4), [ends(FULL, 60, 1, 3)]);
        assert_eq!(episodes.note(at(130), None, 5), []);
        assert_eq!(episodes.note(at(135), None, 5), [ends(MEMORY, 70, 1, 2)]);
    }

    #[test]
    fn what_comes_and_goes_within_a_minute_is_one_state() {
        let mut episodes = Episodes::default();
        assert_eq!(episodes.note(at(0), Some(FULL), 1), [begins(FULL)]);
        assert_eq!(episodes.note(at(1), None, 2), []);
        for second in (10..60).step_by(10) {
            assert_eq!(episodes.note(at(second), Some(FULL), 2), []);
            assert_eq!(episodes.note(at(second + 1), None, 2), []);
        }
        assert_eq!(episodes.note(at(59), Some(FULL), 4), []);
        assert_eq!(episodes.note(at(61), None, 5), []);
        assert_eq!(episodes.note(at(66), None, 5), [ends(FULL, 8, 7, 4)]);
    }

    #[test]
    fn high_use_is_said_once_until_it_is_below_a_half() {
        let mut water = HighWater::default();
        let mut said = |second, used| water.note(at(second), used, 100);
        assert_eq!((said(0, 75), said(1, 76)), (None, Some(Water::High)));
        assert_eq!((said(2, 60), said(3, 99), said(4, 10), said(5, 99)), (None, None, None, None));
        assert_eq!((said(61, 50), said(62, 49), said(63, 10)), (None, Some(Water::Low), None));
        assert_eq!(said(64, 90), Some(Water::High));
    }

    #[test]
    fn high_use_that_a_snapshot_ends_is_not_said() {
        let mut water = HighWater::after(Duration::from_secs(10));
        let mut said = |second, used| water.note(at(second), used, 100);
        assert_eq!((said(0, 76), said(9, 99), said(10, 75)), (None, None, None));
        assert_eq!((said(11, 80), said(20, 90), said(21, 76)), (None, None, Some(Water::High)));
        assert_eq!((said(22, 10), said(81, 49)), (None, Some(Water::Low)));
        assert_eq!((said(82, 80), said(92, 80)), (None, Some(Water::High)));
    }

    proptest! {
        #[test]
        fn no_history_floods_the_log_or_ends_it_with_a_line_that_is_wrong(
            steps in proptest::collection::vec((0_i64..20, 0_usize..3, 0_u64..3), 1..200),
        ) {
            let mut episodes = Episodes::default();
            let (mut now, mut refused, mut accounted) = (0, 0, 0);
            let mut began: Vec<(NotReady, i64)> = Vec::new();
            let mut open: Vec<NotReady> = Vec::new();
            let reasons = [None, Some(FULL), Some(MEMORY)];
            let steps = steps.into_iter().map(|(wait, reason, more)| (wait, reasons[reason], more));
            // Long enough for all lines that end.
            for (wait, reason, more) in steps.chain([(1, None, 0), (60, None, 0)]) {
                now += wait;
                refused += if reason.is_some() { more } else { 0 };
                for line in episodes.note(at(now), reason, refused) {
                    match line {
                        Line::Begins(reason) => {
                            let last = began.iter().rev().find(|(of, _)| *of == reason);
                            prop_assert!(last.is_none_or(|(_, last)| now - last >= 60));
                            prop_assert!(!open.contains(&reason));
                            began.push((reason, now));
                            open.push(reason);
                        }
                        Line::Ends { reason, busy, .. } => {
                            prop_assert!(open.contains(&reason));
                            open.retain(|of| *of != reason);
                            accounted += busy;
                        }
                    }
                }
                prop_assert!(reason.is_none_or(|reason| open.contains(&reason)));
            }
            prop_assert!(open.is_empty());
            // The first refusals may be older than the first state.
            prop_assert!(accounted <= refused && refused - accounted <= 2);
        }
    }
}
