//! The form that makes a list's filter. It needs no script: it asks for the same page with another query.

use maud::{Markup, html};

use super::context::Context;
use super::filter::{LONGEST, SINCE};

/// The form of a list's filter; with a choice of rooms in which something failed if `has_failed`.
pub(super) fn form(context: &Context, has_failed: bool) -> Markup {
    let filter = &context.filter;
    html! {
        form.filter method="get" action=(context.path) role="search" aria-label="Filter" {
            div {
                label for="room" { "Room" }
                input #room name="room" type="search" maxlength=(LONGEST) value=(filter.room)
                    placeholder="part of its name or SID" autocomplete="off";
            }
            div {
                label for="who" { "Participant" }
                input #who name="who" type="search" maxlength=(LONGEST) value=(filter.who)
                    placeholder="part of an identity, SID or number" autocomplete="off";
            }
            div {
                label for="since" { "Time" }
                select #since name="since" {
                    @for (place, (value, words, _)) in SINCE.iter().enumerate() {
                        option value=(value) selected[place == filter.since] { (words) }
                    }
                }
            }
            @if has_failed {
                div.check {
                    input #failed name="failed" type="checkbox" value="yes" checked[filter.failed];
                    label for="failed" { "Failed only" }
                }
            }
            @if context.refreshes { input type="hidden" name="refresh" value=""; }
            button type="submit" { "Filter" }
            @if !filter.is_empty() { " " a href=(context.path) { "Show all" } }
        }
    }
}
