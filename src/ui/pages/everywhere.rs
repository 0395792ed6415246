//! What failed, over all rooms and outside of them.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::context::Context;
use super::failed::{self, Failed};
use super::filter::Filter;
use super::form::{Field, form};
use super::layout::{Here, page, path, room_name};
use super::outside::name;
use super::people::People;
use super::sort::{Cell, DOWN, Sort, Table, UP};
use super::table::{self, Column, Head, Sorted, by, fixed};
use super::time::utc;
use crate::ui::store::{Room, Store};
use livekit_otel_model::event::Time;
use livekit_otel_tools::labels::count;

#[cfg(test)]
mod tests;

// The most failures in the table, and kinds of failures above it.
const MOST: usize = 200;
const MOST_KINDS: usize = 20;

const FIELDS: [Field; 4] = [Field::Room, Field::Who, Field::What, Field::Since];

type Found<'p> = (Option<&'p Room>, Failed<'p>);

pub(in crate::ui) fn everywhere(store: &Store, context: &Context) -> String {
    let filter = &context.filter;
    let rooms = store.rooms();
    let with_failures = rooms.iter().filter(|room| is_shown(room, filter) && room.failures() > 0);
    let people: Vec<People<'_>> = with_failures.map(|room| People::of(room)).collect();
    let in_rooms =
        people.iter().flat_map(|of| failed::of_room(of).into_iter().map(|it| (Some(of.room), it)));
    let outside = filter.has_room([None]).then(|| failed::apart(store.apart()));
    let outside = outside.into_iter().flatten().map(|it| (None, it));
    let after = filter.after(context.now);
    let is_shown = |(_, failed): &Found<'_>| {
        failed.is_since(after)
            && filter.has_who(failed.names())
            && filter.has_what([Some(failed.kind), Some(failed.error)])
    };
    let mut all: Vec<Found<'_>> = in_rooms.chain(outside).filter(is_shown).collect();
    all.sort_by_key(|(_, failed)| std::cmp::Reverse(failed.at));
    let main = html! {
        h1 { "What failed" }
        (form(context, &FIELDS))
        @if all.is_empty() {
            p.good { (nothing(filter)) }
        } @else {
            (summary(&all, context))
            (listed(&mut all, context))
        }
    };
    page("What failed", Here::Failures, context, &main)
}

/// Whether a filter shows a room of this name and SID.
pub(super) fn is_shown(room: &Room, filter: &Filter) -> bool {
    filter.has_room([Some(&*room.sid), room.name.as_deref()])
}

fn nothing(filter: &Filter) -> &'static str {
    if filter.is_empty() {
        "✓ Nothing failed, as far as this process holds its rooms."
    } else {
        "✓ Nothing failed that this filter shows."
    }
}

// The failures of one kind.
struct Kind<'p> {
    times: usize,
    rooms: BTreeSet<&'p str>,
    newest: Time,
}

fn kinds<'p>(all: &'p [Found<'p>]) -> Vec<((&'p str, &'p str), Kind<'p>)> {
    let mut kinds: BTreeMap<(&str, &str), Kind<'_>> = BTreeMap::new();
    for (room, failed) in all {
        let new = || Kind { times: 0, rooms: BTreeSet::new(), newest: failed.at };
        let kind = kinds.entry((failed.kind, failed.error)).or_insert_with(new);
        kind.times += 1;
        kind.newest = kind.newest.max(failed.at);
        kind.rooms.extend(room.map(|room| &*room.sid));
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(name, kind)| (std::cmp::Reverse((kind.times, kind.newest)), *name));
    kinds
}

const KIND_HEADS: [Head; 5] = [
    Head::Text("What"),
    Head::Text("error.type"),
    Head::Number("Failures"),
    Head::Number("Rooms"),
    Head::Text("Newest"),
];

fn summary(all: &[Found<'_>], context: &Context) -> Markup {
    let only = |error: &str| context.url(&context.filter.with_what(error), context.refreshes);
    let kinds = kinds(all);
    let rooms: BTreeSet<&str> = all.iter().filter_map(|(room, _)| Some(&*(*room)?.sid)).collect();
    let rows = html! {
        @for ((kind, error), of) in kinds.iter().take(MOST_KINDS) {
            tr {
                th scope="row" { (name(*kind)) }
                td { a href=(only(error)) { code { (name(*error)) } } }
                td.n { (of.times) }
                td.n { @if of.rooms.is_empty() { "–" } @else { (of.rooms.len()) } }
                td { (utc(of.newest)) }
            }
        }
    };
    html! {
        section.kinds aria-labelledby="kinds" {
            h2 #kinds { "By kind" }
            p { b { (count(all.len(), "failure")) } " in " b { (count(rooms.len(), "room")) } "." }
            (table::table("By kind", "Failures by kind, most frequent first", &KIND_HEADS, &rows))
            @if kinds.len() > MOST_KINDS {
                p.dim { "… and " (count(kinds.len() - MOST_KINDS, "kind")) " more." }
            }
        }
    }
}

const COLUMNS: [Column; 6] = [
    by(Head::Text("When"), "when", DOWN),
    by(Head::Text("Room"), "name", UP),
    by(Head::Text("What"), "what", UP),
    by(Head::Text("Who"), "participants", UP),
    by(Head::Text("error.type"), "error", UP),
    fixed(Head::Text("Reason")),
];
const SORTED: Sorted<'_> =
    Sorted { table: Table::List, columns: &COLUMNS, usual: Sort::new("when", DOWN) };

fn listed(all: &mut [Found<'_>], context: &Context) -> Markup {
    SORTED.sort(all, context, |(room, failed), key| match key {
        "name" => {
            room.map_or(Cell::Nothing, |room| Cell::text(room.name.as_deref().unwrap_or_default()))
        }
        key => failed.cell(key),
    });
    let rows = html! { @for (room, failed) in all.iter().take(MOST) { (row(*room, failed)) } };
    html! {
        section.everywhere aria-labelledby="failures" {
            h2 #failures { "Failures" }
            (table::sorted(("Failures", "failures"), "Failures", &SORTED, context, &rows))
            @if all.len() > MOST {
                p.dim { "… and " (count(all.len() - MOST, "more failure")) ", which a filter may show." }
            }
        }
    }
}

fn row(room: Option<&Room>, failed: &Failed<'_>) -> Markup {
    let sid = room.map(|room| &*room.sid);
    let who = html! { @if let Some(who) = failed.who { (name(who)) } };
    html! {
        tr {
            td { (utc(failed.at)) }
            td {
                @if let Some(room) = room { a href=(path(&room.sid, None)) { (room_name(room)) } }
                @else { span.dim { "outside of rooms" } }
            }
            th scope="row" { (failed.linked(Some(failed.url(sid)))) }
            td {
                @match (sid, failed.sid) {
                    (Some(room), Some(who_sid)) => a href=(path(room, Some(who_sid))) { (who) },
                    _ => (who),
                }
            }
            td { code { (name(failed.error)) } }
            td { (failed.reason) }
        }
    }
}
