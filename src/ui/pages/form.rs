//! The form that makes a page's filter. It needs no script: it asks for the same page with another query.

use maud::{Markup, html};

use super::context::Context;
use super::filter::{LONGEST, SINCE, STATES};

/// A field of the form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Room,
    Who,
    What,
    State,
    Since,
    Failed,
}

/// The form of a page's filter.
pub(super) fn form(context: &Context, fields: &[Field]) -> Markup {
    let filter = &context.filter;
    html! {
        form.filter method="get" action=(context.path) role="search" aria-label="Filter" {
            @for field in fields { (part(*field, context)) }
            // The order and the refreshing stay.
            @for (name, order) in filter.orders() { input type="hidden" name=(name) value=(order); }
            @if context.refreshes { input type="hidden" name="refresh" value=""; }
            button type="submit" { "Filter" }
            @if !filter.is_empty() {
                " " a href=(context.url(&filter.all(), context.refreshes)) { "Show all" }
            }
        }
    }
}

fn part(field: Field, context: &Context) -> Markup {
    let filter = &context.filter;
    match field {
        Field::Room => search("Room", "room", &filter.room, "part of its name or SID"),
        Field::Who => {
            search("Participant", "who", &filter.who, "part of an identity, SID or number")
        }
        Field::What => search("What", "what", &filter.what, "part of a kind or error.type"),
        Field::State => choice("State", "state", STATES, filter.state),
        Field::Since => {
            choice("Time", "since", SINCE.map(|(value, words, _)| (value, words)), filter.since)
        }
        Field::Failed => html! {
            div.check {
                input #failed name="failed" type="checkbox" value="yes" checked[filter.failed];
                label for="failed" { "Failed only" }
            }
        },
    }
}

fn search(label: &str, name: &str, value: &str, hint: &str) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) type="search" maxlength=(LONGEST) value=(value)
                placeholder=(hint) autocomplete="off";
        }
    }
}

fn choice<const N: usize>(
    label: &str,
    name: &str,
    all: [(&str, &str); N],
    chosen: usize,
) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (place, (value, words)) in all.into_iter().enumerate() {
                    option value=(value) selected[place == chosen] { (words) }
                }
            }
        }
    }
}
