//! The ticks of a time axis: their labels above a table's bars, and their lines behind each bar.

use maud::{Markup, html};

use super::time::{Axis, percent};

/// The labels of at most `most` ticks, and 0.
pub(super) fn labels(axis: Axis, most: u64) -> Markup {
    html! {
        svg.axis aria-hidden="true" focusable="false" {
            text x="0" y="11" { "0" }
            @for (part, name) in axis.ticks(most) {
                text x=(percent(part)) y="11"
                    text-anchor=(if part > 0.94 { "end" } else { "middle" }) { (name) }
            }
        }
    }
}

/// The lines of at most `most` ticks.
pub(super) fn lines(axis: Axis, most: u64) -> Markup {
    html! {
        @for (part, _) in axis.ticks(most) {
            @let at = percent(part);
            line.grid x1=(at) x2=(at) y1="0" y2="16" {}
        }
    }
}
