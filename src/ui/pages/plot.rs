//! A small plot of one measure over time. Each window is a step from its first packet to its last.

use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

use super::time::Axis;
use crate::ui::store::Window;
use livekit_otel_tools::labels::seconds;

/// The measure of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    Loss,
    RoundTrip,
    Jitter,
    Score,
}

impl Metric {
    pub(super) const ALL: [Self; 4] = [Self::Loss, Self::RoundTrip, Self::Jitter, Self::Score];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::RoundTrip => "Round trip",
            Self::Jitter => "Jitter",
            Self::Score => "Score",
        }
    }

    pub(super) fn of(self, window: &Window) -> Option<f64> {
        match self {
            Self::Loss => window.loss(),
            Self::RoundTrip => window.round_trip.map(|trip| trip.as_secs_f64()),
            Self::Jitter => window.jitter.map(|jitter| jitter.as_secs_f64()),
            Self::Score => window.score(),
        }
    }

    /// A value with its unit, or a dash.
    pub(super) fn shown(self, value: Option<f64>) -> String {
        let Some(value) = value else { return "–".to_owned() };
        match self {
            Self::Loss if value > 0.0 && value < 0.001 => "<0.1 %".to_owned(),
            Self::Loss => format!("{:.1} %", value * 100.0),
            Self::RoundTrip | Self::Jitter => seconds(value).unwrap_or_else(|| "–".to_owned()),
            Self::Score => format!("{value:.1}"),
        }
    }

    /// The worst of some values.
    pub(super) fn worst(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        values.reduce(if self == Self::Score { f64::min } else { f64::max })
    }

    /// The range of an axis whose highest value is `most`.
    pub(super) fn range(self, most: f64) -> (f64, f64) {
        match self {
            Self::Score => (1.0, 5.0),
            Self::Loss => (0.0, round_up(most.max(0.01)).min(1.0)),
            Self::RoundTrip | Self::Jitter => (0.0, round_up(most.max(0.001))),
        }
    }

    // A label of the axis: a round number without decimals.
    fn tick(self, value: f64) -> String {
        match self {
            Self::Loss => format!("{} %", tidy(value * 100.0)),
            Self::Score => tidy(value),
            Self::RoundTrip | Self::Jitter if value >= 1.0 => format!("{} s", tidy(value)),
            Self::RoundTrip | Self::Jitter => format!("{} ms", tidy(value * 1000.0)),
        }
    }
}

fn tidy(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

// The next of 1, 2, 5, 10, 20, …
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(value)
}

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 88.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 254.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 64.0;
// Two windows with more than a third of the first between them have a gap.
const GAP: u32 = 3;

/// A plot.
pub(super) struct Plot<'a> {
    pub(super) metric: Metric,
    pub(super) windows: &'a [&'a Window],
    pub(super) axis: Axis,
    /// The range of the vertical axis.
    pub(super) range: (f64, f64),
    /// A unique id on the page.
    pub(super) id: String,
    /// Its participant and direction, as text for a title.
    pub(super) of: &'a str,
}

impl Plot<'_> {
    pub(super) fn draw(&self) -> Markup {
        let values = || self.windows.iter().filter_map(|window| self.metric.of(window));
        let worst = self.metric.shown(self.metric.worst(values()));
        let last = self.metric.shown(values().next_back());
        let (line, area) = self.paths();
        let (low, high) = self.range;
        html! {
            figure {
                figcaption {
                    (self.metric.name()) " "
                    span.dim { "worst " } b { (worst) } span.dim { ", last " } b { (last) }
                }
                svg.plot role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) }
                    aria-labelledby={ (self.id) "t " (self.id) "d" } {
                    title id={ (self.id) "t" } { (self.metric.name()) ", " (self.of) }
                    desc id={ (self.id) "d" } {
                        (values().count()) " windows with a value: worst " (worst) ", last " (last)
                        ". The numbers are in the table below."
                    }
                    @for (y, value) in [(TOP, high), (BOTTOM, low)] {
                        line.grid x1=(LEFT) x2=(RIGHT) y1=(y) y2=(y) {}
                        text x=(LEFT - 4.0) y=(y + 4.0) text-anchor="end" { (self.metric.tick(value)) }
                    }
                    text x=(LEFT) y=(HEIGHT - 6.0) { "0" }
                    @for (part, name) in self.axis.ticks(3) {
                        @let x = format!("{:.1}", LEFT + part * (RIGHT - LEFT));
                        line.grid x1=(x) x2=(x) y1=(TOP) y2=(BOTTOM + 4.0) {}
                        text x=(x) y=(HEIGHT - 6.0)
                            text-anchor=(if part > 0.9 { "end" } else { "middle" }) { (name) }
                    }
                    path.area d=(area) {}
                    path.line d=(line) {}
                }
            }
        }
    }

    // A line of steps, and the area below it.
    fn paths(&self) -> (String, String) {
        let (low, high) = self.range;
        let x = |at| LEFT + self.axis.part(at) * (RIGHT - LEFT);
        let (mut line, mut area) = (String::new(), String::new());
        let mut before: Option<&Window> = None;
        for window in self.windows {
            let Some(value) = self.metric.of(window) else {
                before = None;
                continue;
            };
            let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
            let y = BOTTOM - part * (BOTTOM - TOP);
            let joined = before.is_some_and(|before| !is_gap(before, window));
            let (from, to) = (x(window.start), x(window.end));
            // Writing into a String never fails.
            let _ = if joined {
                write!(line, "L{from:.1} {y:.1}H{to:.1}")
            } else {
                write!(line, "M{from:.1} {y:.1}H{to:.1}")
            };
            let _ = write!(area, "M{from:.1} {BOTTOM}V{y:.1}H{to:.1}V{BOTTOM}Z");
            before = Some(window);
        }
        (line, area)
    }
}

fn is_gap(before: &Window, after: &Window) -> bool {
    let length = before.end.since(before.start).max(Duration::from_secs(3));
    after.start.since(before.end) > length / GAP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (most, top) in [(0.0, 0.01), (0.034, 0.05), (0.05, 0.05), (0.2, 0.2), (1.0, 1.0)] {
            assert!((Metric::Loss.range(most).1 - top).abs() < 1e-9, "{most}");
        }
        assert_eq!(Metric::Score.range(4.5), (1.0, 5.0));
        assert_eq!(Metric::RoundTrip.tick(Metric::RoundTrip.range(11.845).1), "20 s");
        assert_eq!(Metric::Jitter.tick(Metric::Jitter.range(0.0013).1), "2 ms");
        assert_eq!(Metric::Loss.tick(0.005), "0.5 %");
    }
}
