//! The failures of a room.

use maud::{Markup, html};

use super::failed::{Failed, Place, of_room};
use super::layout::{Head, path, table};
use super::outside::name;
use super::people::People;
use super::time::{between, time_of_day};

// The most failures in the table.
const MOST: usize = 100;

const HEADS: [Head; 6] = [
    Head::Text("What"),
    Head::Text("Who"),
    Head::Text("error.type"),
    Head::Text("Reason"),
    Head::Text("When"),
    Head::Number("After"),
];

/// The failures of a room, or of one participant in it. The page's waterfall has the participants `drawn`.
pub(super) fn failures(people: &People<'_>, only: Option<&str>, drawn: &[&str]) -> Markup {
    let is_shown = |failed: &Failed<'_>| only.is_none_or(|sid| failed.sid == Some(sid));
    let all: Vec<_> = of_room(people).into_iter().filter(is_shown).collect();
    let rows = html! {
        @for failed in all.iter().take(MOST) { (row(people, failed, only.is_none(), drawn)) }
    };
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Failures" }
            @if all.is_empty() {
                p.good { "✓ Nothing failed." }
            } @else {
                (table("Failures", "Failures, oldest first", &HEADS, &rows))
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
