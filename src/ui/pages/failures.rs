//! The failures of a room.

use maud::{Markup, html};

use super::context::Context;
use super::failed::{Failed, Place, of_room};
use super::layout::path;
use super::outside::name;
use super::people::People;
use super::sort::{DOWN, Sort, Table, UP};
use super::table::{self, Column, Head, Sorted, by, fixed};
use super::time::{between, time_of_day};

// The most failures in the table.
const MOST: usize = 100;

const COLUMNS: [Column; 6] = [
    by(Head::Text("What"), "what", UP),
    by(Head::Text("Who"), "participants", UP),
    by(Head::Text("error.type"), "error", UP),
    fixed(Head::Text("Reason")),
    by(Head::Text("When"), "when", DOWN),
    fixed(Head::Number("After")),
];
const SORTED: Sorted<'_> =
    Sorted { table: Table::Failures, columns: &COLUMNS, usual: Sort::new("when", UP) };

/// The failures of a room, or of one participant in it. The page's waterfall has the participants `drawn`.
pub(super) fn failures(
    people: &People<'_>,
    only: Option<&str>,
    drawn: &[&str],
    context: &Context,
) -> Markup {
    let filter = &context.filter;
    let is_shown = |failed: &Failed<'_>| match only {
        Some(sid) => failed.sid == Some(sid),
        None => filter.has_who(failed.names()),
    };
    let mut all: Vec<_> = of_room(people).into_iter().filter(is_shown).collect();
    SORTED.sort(&mut all, context, Failed::cell);
    let rows = html! {
        @for failed in all.iter().take(MOST) { (row(people, failed, only.is_none(), drawn)) }
    };
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Failures" }
            @if all.is_empty() {
                p.good {
                    @if only.is_none() && filter.is_for_someone() { "✓ Nothing failed that this filter shows." }
                    @else { "✓ Nothing failed." }
                }
            } @else {
                (table::sorted(("Failures", "failures"), "Failures", &SORTED, context, &rows))
            }
            @if all.len() > MOST { p.dim { "… and " (all.len() - MOST) " more." } }
            @if people.room.agents.failed_forgotten > 0 {
                p.dim { "Older failures of agents are no longer held." }
            }
        }
    }
}

fn row(people: &People<'_>, failed: &Failed<'_>, is_whole: bool, drawn: &[&str]) -> Markup {
    let to = match &failed.place {
        Place::Participant(id) if failed.sid.is_some_and(|sid| drawn.contains(&sid)) => {
            Some(format!("#{id}"))
        }
        Place::Participant(id) => Some(format!("{}#{id}", path(&people.room.sid, failed.sid))),
        Place::Work(id) => Some(format!("#{id}")),
        Place::Room(id) if is_whole => Some(format!("#{id}")),
        Place::Room(_) | Place::Nowhere => None,
    };
    html! {
        tr {
            th scope="row" { (failed.linked(to)) }
            td { @if let Some(who) = failed.who { (name(who)) } }
            td { code { (name(failed.error)) } }
            td { (failed.reason) }
            td { (time_of_day(failed.at)) }
            td.n { (between(people.room.start(), failed.at)) }
        }
    }
}
