//! What repeats is logged seldom: an outage when it begins and at intervals, other causes once a minute with their
//! count. Time is an argument.

use std::time::{Duration, Instant, SystemTime};

const MINUTE: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_mins(5);

/// From the first failed attempt to the first that succeeds.
#[derive(Debug, Default)]
pub struct Outage(Option<Failing>);

#[derive(Debug)]
struct Failing {
    since: SystemTime,
    began: Instant,
    logged: Instant,
    // The cause of the last line.
    cause: String,
}

/// What the log says of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The outage begins, or has another cause than the last line said.
    Failed,
    /// Since this time; nothing was logged for 5 minutes.
    Still(SystemTime),
}

/// The outage is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When it began.
    pub since: SystemTime,
    /// How long it was.
    pub lasted: Duration,
}

impl Outage {
    /// An attempt failed. Returns what to log: the beginning, another cause once a minute, and otherwise a line
    /// every 5 minutes.
    pub fn failed(&mut self, cause: &str, now: (Instant, SystemTime)) -> Option<Line> {
        let (now, time) = now;
        let Some(failing) = &mut self.0 else {
            let cause = cause.to_owned();
            self.0 = Some(Failing { since: time, began: now, logged: now, cause });
            return Some(Line::Failed);
        };
        let quiet = now - failing.logged;
        let line = match failing.cause == cause {
            _ if quiet >= AGAIN => Line::Still(failing.since),
            false if quiet >= MINUTE => Line::Failed,
            _ => return None,
        };
        failing.logged = now;
        cause.clone_into(&mut failing.cause);
        Some(line)
    }

    /// Whether an attempt failed, and none has succeeded since.
    pub fn is_failing(&self) -> bool {
        self.0.is_some()
    }

    /// An attempt succeeded. Returns the outage that it ends.
    pub fn ended(&mut self, now: Instant) -> Option<Ended> {
        let failing = self.0.take()?;
        Some(Ended { since: failing.since, lasted: now - failing.began })
    }
}

/// Counts what happens between two lines about it, of which there is one a minute at most.
#[derive(Debug, Default)]
pub struct Minutely {
    logged: Option<Instant>,
    count: u64,
}

impl Minutely {
    /// It happened. Returns how often since the last line, where another is due.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now - logged < MINUTE) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_logged_at_its_beginning_and_every_five_minutes() {
        let (start, time) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut outage = Outage::default();
        let logged: Vec<_> = (0..=600)
            .filter_map(|second| {
                let now = start + SECOND * second;
                let line = outage.failed("no", (now, time + SECOND * second))?;
                Some((second, line))
            })
            .collect();
        let still = Line::Still(time);
        assert_eq!(logged, [(0, Line::Failed), (300, still), (600, still)]);
        assert!(outage.is_failing());
        let ended = Ended { since: time, lasted: SECOND * 601 };
        assert_eq!(outage.ended(start + SECOND * 601), Some(ended));
        assert_eq!(outage.ended(start), None);
        assert!(!outage.is_failing());
    }

    #[test]
    fn another_cause_is_logged_after_a_minute() {
        let (start, time) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut outage = Outage::default();
        let mut failed =
            |second, cause| outage.failed(cause, (start + SECOND * second, time)).is_some();
        assert!(failed(0, "a") && !failed(59, "b") && failed(60, "b"));
        assert!(!failed(119, "a") && !failed(359, "b") && failed(360, "b"));
    }

    #[test]
    fn what_happens_within_a_minute_is_counted_in_the_next_line() {
        let start = Instant::now();
        let mut minutely = Minutely::default();
        let mut due = |second| minutely.due(start + SECOND * second);
        assert_eq!(
            (due(0), due(1), due(59), due(60), due(120)),
            (Some(1), None, None, Some(3), Some(1))
        );
    }
}
