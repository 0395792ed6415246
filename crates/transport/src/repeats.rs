//! What repeats is logged seldom: an outage when it begins and at intervals, other causes once a minute with their
//! count. Time is an argument.

use std::time::{Duration, Instant, SystemTime};

const MINUTE: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_mins(5);

// Attempts succeeded for so long that they will.
const SETTLED: Duration = Duration::from_secs(5);

/// From the first failed attempt until attempts have succeeded for 5 s. One that ends before, as where each second
/// request is refused, goes on with the next failure: the log has one beginning a minute at most.
#[derive(Debug, Default)]
pub struct Outage {
    current: Option<Failing>,
    // The last line about a failure, and its cause.
    logged: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Failing {
    since: SystemTime,
    // How long and how often attempts failed, until the last success.
    lasted: Duration,
    times: u64,
    // Whether a line said so.
    is_logged: bool,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    FailsSince(Instant),
    SucceedsSince(Instant),
}

/// What the log says of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The outage begins, has another cause than the last line said, or comes and goes for 5 minutes.
    Failed,
    /// Since this time no attempt succeeded; nothing was logged for 5 minutes.
    Still(SystemTime),
}

/// The outage is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When it began.
    pub since: SystemTime,
    /// How long attempts failed, all times together.
    pub lasted: Duration,
    /// How many times they began to fail.
    pub times: u64,
}

impl Outage {
    /// An attempt failed. Returns what to log: the beginning and another cause once a minute, and otherwise a line
    /// every 5 minutes.
    pub fn failed(&mut self, cause: &str, now: (Instant, SystemTime)) -> Option<Line> {
        let (now, since) = now;
        let begins = Failing {
            since,
            lasted: Duration::ZERO,
            times: 1,
            is_logged: false,
            state: State::FailsSince(now),
        };
        let failing = self.current.get_or_insert(begins);
        if matches!(failing.state, State::SucceedsSince(_)) {
            failing.state = State::FailsSince(now);
            failing.times += 1;
        }
        if let Some((logged, last)) = &self.logged {
            let is_said = failing.is_logged && last == cause;
            if now - *logged < if is_said { AGAIN } else { MINUTE } {
                return None;
            }
        }
        let is_still = failing.is_logged && failing.times == 1;
        let quiet = self.logged.as_ref().map_or(Duration::ZERO, |(logged, _)| now - *logged);
        failing.is_logged = true;
        self.logged = Some((now, cause.to_owned()));
        let still = Line::Still(failing.since);
        Some(if is_still && quiet >= AGAIN { still } else { Line::Failed })
    }

    /// An attempt succeeded. Returns whether the one before failed.
    pub fn succeeded(&mut self, now: Instant) -> bool {
        let Some(failing) = &mut self.current else { return false };
        let State::FailsSince(since) = failing.state else { return false };
        failing.lasted += now - since;
        failing.state = State::SucceedsSince(now);
        if !failing.is_logged {
            // Its end would be a line about nothing.
            self.current = None;
        }
        true
    }

    /// Ends it without a line.
    pub fn forget(&mut self) {
        self.current = None;
    }

    /// When [`Outage::over`] has something to log, unless an attempt fails before.
    pub fn due(&self) -> Option<Instant> {
        match self.current.as_ref()?.state {
            State::SucceedsSince(since) => Some(since + SETTLED),
            State::FailsSince(_) => None,
        }
    }

    /// The outage that is over, for one line: once attempts have succeeded for 5 s, or with `at_once` since the last
    /// one.
    pub fn over(&mut self, now: Instant, at_once: bool) -> Option<Ended> {
        self.due().filter(|due| at_once || now >= *due)?;
        let Failing { since, lasted, times, .. } = self.current.take()?;
        Some(Ended { since, lasted, times })
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
        assert_eq!((outage.due(), outage.over(start + SECOND * 600, true)), (None, None));
        let end = start + SECOND * 601;
        assert!(outage.succeeded(end));
        assert!(!outage.succeeded(end + SECOND));
        assert_eq!(outage.due(), Some(end + SETTLED));
        assert_eq!(outage.over(end + SECOND * 4, false), None);
        let ended = Ended { since: time, lasted: SECOND * 601, times: 1 };
        assert_eq!(outage.over(end + SETTLED, false), Some(ended));
        assert_eq!(outage.over(end + SETTLED, true), None);
    }

    // The lines of attempts at these seconds, of which those with a cause fail: `!` for a failure, `~` for one that
    // lasts, the number of times for an end.
    fn lines(attempts: impl Iterator<Item = (u32, Option<&'static str>)>) -> Vec<(u32, String)> {
        let (start, time) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let (mut outage, mut lines) = (Outage::default(), Vec::new());
        for (second, cause) in attempts {
            let now = start + SECOND * second;
            lines.extend(outage.over(now, false).map(|over| (second, over.times.to_string())));
            let line = match cause {
                Some(cause) => outage.failed(cause, (now, time)),
                None => {
                    outage.succeeded(now);
                    None
                }
            };
            let shown = |line| if line == Line::Failed { "!" } else { "~" };
            lines.extend(line.map(|line| (second, shown(line).to_owned())));
        }
        lines
    }

    #[test]
    fn a_collector_that_refuses_each_second_request_is_a_line_in_five_minutes() {
        let flaps = (0..=600).map(|second| (second, (second % 2 == 0).then_some("no")));
        let rest = (601..700).map(|second| (second, None));
        let expected = [(0, "!"), (300, "!"), (600, "!"), (606, "301")];
        let expected = expected.map(|(second, line)| (second, line.to_owned()));
        assert_eq!(lines(flaps.chain(rest)), expected);
    }

    #[test]
    fn no_minute_has_two_beginnings() {
        // 2 s of each 10 s fail, so that each outage ends.
        let attempts = (0..=130).map(|second| (second, (second % 10 < 2).then_some("no")));
        let begins: Vec<_> = lines(attempts).into_iter().filter(|(_, line)| line == "!").collect();
        assert_eq!(begins.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [0, 60, 120]);
    }

    #[test]
    fn an_outage_that_begins_soon_after_another_is_logged_a_minute_later() {
        let attempts = (0..1).chain(20..90).map(|second| (second, Some("no")));
        let attempts = attempts.chain([(1, None), (10, None), (95, None), (101, None)]);
        let mut attempts: Vec<_> = attempts.collect();
        attempts.sort_unstable_by_key(|(second, _)| *second);
        let expected = [(0, "!"), (10, "1"), (60, "!"), (101, "1")];
        let expected = expected.map(|(second, line)| (second, line.to_owned()));
        assert_eq!(lines(attempts.into_iter()), expected);
    }

    #[test]
    fn an_outage_that_is_not_logged_has_no_end_either() {
        let attempts =
            [(0, Some("no")), (1, None), (7, None), (8, Some("no")), (9, None), (20, None)];
        let expected = [(0, "!"), (7, "1")];
        let expected = expected.map(|(second, line)| (second, line.to_owned()));
        assert_eq!(lines(attempts.into_iter()), expected);
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
