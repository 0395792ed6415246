//! When intake began and ceased to refuse, as lines for the log: at most one that begins, and one that
//! ends, for each reason and minute.

use std::time::Duration;

use livekit_otel_ledger::health::NotReady;
use livekit_otel_model::event::Time;

// Between lines about one reason.
const QUIET: Duration = Duration::from_mins(1);

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing is accepted.
    Begins {
        /// Why.
        reason: NotReady,
        /// How often that has begun since the last such line.
        times: u64,
        /// How many requests were refused for it since then.
        refused: u64,
    },
    /// Input is accepted again, or is refused for another reason.
    Ends {
        /// Why nothing was accepted.
        reason: NotReady,
        /// For how long.
        lasted: Duration,
        /// How many requests were refused meanwhile.
        refused: u64,
    },
}

/// What the lines are made of.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    current: Option<Episode>,
    // The reasons of the past, at most one of each.
    past: Vec<Past>,
    // How many were refused when it was last looked.
    refused: u64,
}

#[derive(Debug)]
struct Episode {
    reason: NotReady,
    since: Time,
    refused_before: u64,
    is_logged: bool,
}

#[derive(Debug)]
struct Past {
    reason: NotReady,
    logged: Option<Time>,
    // Since then, without a line of their own.
    times: u64,
    refused: u64,
}

impl Episodes {
    /// Notes why nothing is accepted, and how many requests were ever refused because of such reasons.
    /// Returns the lines for the log.
    pub(super) fn note(&mut self, now: Time, reason: Option<NotReady>, refused: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(ended) = self.current.take_if(|current| reason != Some(current.reason)) {
            lines.extend(self.end(&ended, now, refused));
        }
        if let (Some(reason), None) = (reason, &self.current) {
            let refused_before = self.refused;
            self.current = Some(Episode { reason, since: now, refused_before, is_logged: false });
            self.past(reason).times += 1;
        }
        self.refused = refused;
        lines.extend(self.begin(now));
        lines
    }

    fn end(&mut self, ended: &Episode, now: Time, refused: u64) -> Option<Line> {
        let refused = refused.saturating_sub(ended.refused_before);
        // The next reason counts from here.
        self.refused = ended.refused_before + refused;
        if !ended.is_logged {
            self.past(ended.reason).refused += refused;
            return None;
        }
        let lasted = now.since(ended.since);
        Some(Line::Ends { reason: ended.reason, lasted, refused })
    }

    fn begin(&mut self, now: Time) -> Option<Line> {
        let current = self.current.as_mut().filter(|current| !current.is_logged)?;
        let reason = current.reason;
        let past = self.past.iter_mut().find(|past| past.reason == reason)?;
        if past.logged.is_some_and(|logged| now.since(logged) < QUIET) {
            return None;
        }
        current.is_logged = true;
        past.logged = Some(now);
        let (times, refused) = (std::mem::take(&mut past.times), std::mem::take(&mut past.refused));
        Some(Line::Begins { reason, times, refused })
    }

    fn past(&mut self, reason: NotReady) -> &mut Past {
        let known = self.past.iter().position(|past| past.reason == reason);
        let nth = known.unwrap_or_else(|| {
            self.past.push(Past { reason, logged: None, times: 0, refused: 0 });
            self.past.len() - 1
        });
        &mut self.past[nth]
    }
}

/// Notices when use passes 3/4 of its limit, once until it falls below 1/2.
#[derive(Debug, Default)]
pub struct HighWater {
    is_above: bool,
    is_logged: bool,
    logged: Option<Time>,
}

/// What the log says about high use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Water {
    /// It passed 3/4 of the limit.
    High,
    /// It fell below 1/2.
    Low,
}

impl HighWater {
    /// Notes how much of `limit` is used, in the same unit. At most once a minute it is noticed to be high.
    pub fn note(&mut self, now: Time, used: u64, limit: u64) -> Option<Water> {
        if used > limit / 4 * 3 {
            self.is_above = true;
        } else if used < limit / 2 {
            self.is_above = false;
            return std::mem::take(&mut self.is_logged).then_some(Water::Low);
        }
        let is_due = self.logged.is_none_or(|logged| now.since(logged) >= QUIET);
        if !self.is_above || self.is_logged || !is_due {
            return None;
        }
        (self.is_logged, self.logged) = (true, Some(now));
        Some(Water::High)
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

    fn begins(reason: NotReady, times: u64, refused: u64) -> Line {
        Line::Begins { reason, times, refused }
    }

    fn ends(reason: NotReady, seconds: u64, refused: u64) -> Line {
        Line::Ends { reason, lasted: Duration::from_secs(seconds), refused }
    }

    #[test]
    fn an_episode_has_a_line_that_begins_and_one_that_ends_it() {
        let mut episodes = Episodes::default();
        assert_eq!(episodes.note(at(0), None, 5), []);
        assert_eq!(episodes.note(at(1), Some(FULL), 6), [begins(FULL, 1, 0)]);
        assert_eq!(episodes.note(at(2), Some(FULL), 9), []);
        assert_eq!(episodes.note(at(4), None, 12), [ends(FULL, 3, 7)]);
        assert_eq!(episodes.note(at(5), None, 12), []);
    }

    #[test]
    fn another_reason_ends_one_episode_and_begins_the_next() {
        let mut episodes = Episodes::default();
        episodes.note(at(0), Some(FULL), 0);
        let lines = episodes.note(at(2), Some(MEMORY), 3);
        assert_eq!(lines, [ends(FULL, 2, 3), begins(MEMORY, 1, 0)]);
        assert_eq!(episodes.note(at(9), None, 4), [ends(MEMORY, 7, 1)]);
    }

    #[test]
    fn episodes_within_a_minute_share_a_line() {
        let mut episodes = Episodes::default();
        episodes.note(at(0), Some(FULL), 1);
        assert_eq!(episodes.note(at(1), None, 1), [ends(FULL, 1, 1)]);
        for second in (2..60).step_by(2) {
            assert_eq!(episodes.note(at(second), Some(FULL), 1), []);
            assert_eq!(episodes.note(at(second + 1), None, 1), []);
        }
        assert_eq!(episodes.note(at(59), Some(FULL), 4), []);
        // It goes on past the minute.
        assert_eq!(episodes.note(at(60), Some(FULL), 5), [begins(FULL, 30, 0)]);
        assert_eq!(episodes.note(at(61), None, 5), [ends(FULL, 2, 4)]);
    }

    #[test]
    fn high_use_is_said_once_until_it_is_below_a_half() {
        let mut water = HighWater::default();
        let mut said = |second, used| water.note(at(second), used, 100);
        assert_eq!((said(0, 75), said(1, 76)), (None, Some(Water::High)));
        assert_eq!((said(2, 60), said(3, 99)), (None, None));
        assert_eq!((said(4, 49), said(5, 10)), (Some(Water::Low), None));
        // Again, but not within a minute, nor if it was a moment.
        assert_eq!((said(6, 90), said(7, 10), said(8, 10)), (None, None, None));
        assert_eq!((said(9, 90), said(60, 60), said(61, 60)), (None, None, Some(Water::High)));
    }

    proptest! {
        #[test]
        fn no_history_floods_the_log_or_forgets_a_refusal(
            steps in proptest::collection::vec((0_i64..20, 0_usize..3, 0_u64..3), 1..200),
        ) {
            let mut episodes = Episodes::default();
            let (mut now, mut refused, mut accounted) = (0, 0, 0);
            let mut began: Vec<(NotReady, i64)> = Vec::new();
            let mut open = None;
            let steps = steps.into_iter().map(|(wait, state, more)| (wait, [None, Some(FULL), Some(MEMORY)][state], more));
            // A long pause at the end, an episode of each reason, and a last one without.
            let tail = [(60, Some(FULL), 0), (60, Some(MEMORY), 0), (1, None, 0)];
            for (wait, reason, more) in steps.chain(tail) {
                now += wait;
                refused += if reason.is_some() { more } else { 0 };
                for line in episodes.note(at(now), reason, refused) {
                    match line {
                        Line::Begins { reason, refused, .. } => {
                            let last = began.iter().rev().find(|(of, _)| *of == reason);
                            prop_assert!(last.is_none_or(|(_, last)| now - last >= 60));
                            prop_assert_eq!(open.replace(reason), None);
                            began.push((reason, now));
                            accounted += refused;
                        }
                        Line::Ends { reason, refused, .. } => {
                            prop_assert_eq!(open.take(), Some(reason));
                            accounted += refused;
                        }
                    }
                }
            }
            prop_assert_eq!(accounted, refused);
        }
    }
}
