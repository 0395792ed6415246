//! Times and the time axis.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use livekit_otel_model::event::Time;
use livekit_otel_tools::labels::duration;

fn rfc3339(at: Time) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(at.nanos())).to_string()
}

/// A date and a time, to the second.
pub(super) fn utc(at: Time) -> Markup {
    let text = rfc3339(at);
    let shown = text.get(..19).unwrap_or_default().replace('T', " ");
    html! { time datetime=(text) { (shown) } }
}

/// A date and a time, to the millisecond.
pub(super) fn exact(at: Time) -> Markup {
    let text = rfc3339(at);
    let shown = text.get(..23).unwrap_or_default().replace('T', " ");
    html! { time datetime=(text) { (shown) } }
}

/// A time of day, to the millisecond.
pub(super) fn time_of_day(at: Time) -> Markup {
    let text = rfc3339(at);
    let shown = text.get(11..23).unwrap_or_default();
    html! { time datetime=(text) { (shown) } }
}

/// The duration from one time to another.
pub(super) fn between(from: Time, to: Time) -> String {
    duration(nanos(to.since(from)))
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The time span of a full width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) start: Time,
    pub(super) end: Time,
}

// Round steps in milliseconds.
const STEPS: [u64; 30] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    432_000_000,
    864_000_000,
];

impl Axis {
    /// The part of the width at which a time lies, from 0 to 1.
    pub(super) fn part(&self, at: Time) -> f64 {
        let whole = nanos(self.end.since(self.start)).max(1);
        (nanos(at.since(self.start)) as f64 / whole as f64).min(1.0)
    }

    /// Up to `most` ticks after the start, each with its place and its label.
    pub(super) fn ticks(&self, most: u64) -> Vec<(f64, String)> {
        let whole = nanos(self.end.since(self.start));
        let step = STEPS.iter().map(|ms| ms * 1_000_000).find(|step| whole / step <= most);
        let step = step.unwrap_or(whole.max(1));
        let ticks = (1..=most).map(|n| n.saturating_mul(step)).take_while(|at| *at <= whole);
        ticks.map(|at| (at as f64 / whole.max(1) as f64, round(at))).collect()
    }
}

// A tick has a round label: `10 s`, not `10.0 s`.
fn round(nanos: u64) -> String {
    let ms = nanos / 1_000_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        60_000..3_600_000 if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        3_600_000.. if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ => duration(nanos),
    }
}

/// A part of a width in percent, with the precision of a screen.
pub(super) fn percent(part: f64) -> String {
    format!("{}%", (part * 100_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let start = Time::from_secs(1000).unwrap();
        let names = |span: Duration| -> Vec<String> {
            let ticks = Axis { start, end: start + span }.ticks(5);
            ticks.into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(Duration::from_millis(42_539)), ["10 s", "20 s", "30 s", "40 s"]);
        assert_eq!(names(Duration::from_mins(4)), ["1 min", "2 min", "3 min", "4 min"]);
        assert_eq!(names(Duration::from_millis(3)), ["1 ms", "2 ms", "3 ms"]);
        assert_eq!(names(Duration::from_hours(30)), ["6 h", "12 h", "18 h", "24 h", "30 h"]);
        assert!(names(Duration::ZERO).is_empty());
        assert!(names(Duration::from_nanos(u64::MAX)).len() <= 5);
    }

    #[test]
    fn parts_stay_within_the_width() {
        let start = Time::from_secs(1000).unwrap();
        let axis = Axis { start, end: start + Duration::from_secs(10) };
        let at = |secs| Time::from_secs(secs).unwrap();
        let parts = [999, 1000, 1005, 1011].map(|secs| percent(axis.part(at(secs))));
        assert_eq!(parts, ["0%", "0%", "50%", "100%"]);
        assert_eq!(percent(Axis { start, end: start }.part(start)), "0%");
        assert_eq!(percent(0.333_333_3), "33.333%");
    }
}
