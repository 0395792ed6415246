//! Each participant's quality over time.

use maud::{Markup, html};

use super::outside::{Outside, name};
use super::people::{People, Person};
use super::plot::{Metric, Plot};
use super::time::{Axis, time_of_day};
use crate::ui::store::{Window, Windows};
use livekit_otel_ledger::report::grouped;

// The most windows of a participant on a room's page. Its own page has all.
const MOST_NUMBERS: usize = 20;

const DIRECTIONS: [(&str, &str); 2] =
    [("upstream", "from the participant"), ("downstream", "to the participant")];

/// The plots of the shown participants.
pub(super) fn quality(
    people: &People<'_>,
    shown: &[&Person<'_>],
    is_whole: bool,
    axis: Axis,
) -> Markup {
    let measured: Vec<_> = shown
        .iter()
        .filter_map(|person| Some((person.sid, people.room.windows(person.sid)?)))
        .collect();
    // The same axis for all, for comparison.
    let ranges = Metric::ALL.map(|metric| {
        let windows = measured.iter().flat_map(|(_, both)| both.iter()).flat_map(|of| &of.all);
        metric.range(windows.filter_map(|window| metric.of(window)).fold(0.0, f64::max))
    });
    html! {
        section aria-labelledby="quality" {
            h2 #quality { "Quality over time" }
            @if measured.is_empty() {
                p.dim {
                    "No stats have been received. They come over the analytics streams, which a stock "
                    "LiveKit server does not open."
                }
            } @else {
                p.dim {
                    "Each step is a stats window of all of a participant's media in one direction: packet "
                    "loss, highest round trip and jitter, mean score (1 to 5). A gap has no "
                    "measurement. All plots of a measure have the same scale, and the time axis of "
                    "the waterfall."
                }
            }
            @for (sid, both) in &measured {
                @let who = people.who(sid);
                section aria-label={ "Quality of " (who.isolated()) } {
                    h3 { (who) " " code { (name(*sid)) } }
                    @for ((direction, meaning), windows) in DIRECTIONS.iter().zip(both.iter()) {
                        @if !windows.all.is_empty() {
                            h4 { (direction) span.dim { ", " (meaning) } }
                            @let of = format!("{}, {direction}", who.isolated());
                            (plots(&of, &format!("{sid}-{direction}"), windows, axis, &ranges))
                            (numbers((&who, direction), windows, is_whole))
                        }
                    }
                }
            }
        }
    }
}

fn plots(of: &str, id: &str, windows: &Windows, axis: Axis, ranges: &[(f64, f64); 4]) -> Markup {
    let windows: Vec<&Window> = windows.all.iter().collect();
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    html! {
        div.plots {
            @for (metric, range) in Metric::ALL.into_iter().zip(ranges) {
                (Plot {
                    metric,
                    windows: &windows,
                    axis,
                    range: *range,
                    id: format!("q{id}{}", metric as u8),
                    of,
                }.draw())
            }
        }
    }
}

fn numbers((who, direction): (&Outside<'_>, &str), windows: &Windows, is_whole: bool) -> Markup {
    let most = if is_whole { usize::MAX } else { MOST_NUMBERS };
    let cut = windows.all.len().saturating_sub(most);
    html! {
        details {
            summary { "Numbers" span.hidden { " of " (who) ", " (direction) } }
            table.numbers {
                caption { "Windows of " (who) ", " (direction) }
                thead { tr {
                    th scope="col" { "From" }
                    th scope="col" { "To" }
                    th.n scope="col" { "Packets" }
                    th.n scope="col" { "Lost" }
                    @for metric in Metric::ALL { th.n scope="col" { (metric.name()) } }
                } }
                tbody {
                    @for window in windows.all.iter().skip(cut) {
                        tr {
                            th scope="row" { (time_of_day(window.start)) }
                            td { (time_of_day(window.end)) }
                            td.n { (grouped(window.packets)) }
                            td.n { (grouped(window.lost)) }
                            @for metric in Metric::ALL {
                                td.n { (metric.shown(metric.of(window))) }
                            }
                        }
                    }
                }
            }
            @if cut > 0 { p.dim { (cut) " earlier windows are on the participant's own page." } }
            @if windows.forgotten > 0 {
                p.dim { (windows.forgotten) " even earlier windows are no longer held." }
            }
        }
    }
}
