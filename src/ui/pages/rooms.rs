//! The list of rooms.

use maud::{Markup, html};

use super::context::Context;
use super::everywhere;
use super::failed::{numbers, of_room};
use super::filter::Filter;
use super::form::{Field, form};
use super::layout::{Here, failures, page, path, room_name, state};
use super::outside::name;
use super::people::{People, worst};
use super::plot::Metric;
use super::sort::{Cell, DOWN, Sort, Table, UP};
use super::table::{self, Column, Head, Sorted, by, fixed};
use super::time::{between, nanos, utc};
use crate::ui::store::{Bar, Room, State, Store};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::span;
use livekit_otel_tools::labels::count;

#[cfg(test)]
mod tests;

const FIELDS: [Field; 5] = [Field::Room, Field::Who, Field::State, Field::Since, Field::Failed];

pub(in crate::ui) fn rooms(store: &Store, context: &Context) -> String {
    let all = store.rooms();
    let is_empty = all.is_empty();
    let rooms = all.into_iter().filter(|room| is_shown(room, context));
    let (ended, open): (Vec<&Room>, Vec<&Room>) =
        rooms.partition(|room| room.state() == State::Over);
    let main = html! {
        h1 { "Rooms" }
        @if !is_empty { (form(context, &FIELDS)) }
        @if is_empty {
            p {
                "No rooms yet. Point your LiveKit server's webhooks here, or send a recorded call with "
                code { "livekit-otel replay" } "."
            }
        } @else if open.is_empty() && ended.is_empty() {
            p { "This process holds no room that this filter shows." }
        }
        @if !open.is_empty() { (table("Open", "open", &open, context)) }
        @if !ended.is_empty() { (table("Ended", "ended", &ended, context)) }
        (held(store))
    };
    page("Rooms", Here::Rooms, context, &main)
}

// A room that was open since the filter's time, or in which something failed since then.
fn is_shown(room: &Room, context: &Context) -> bool {
    let filter = &context.filter;
    let after = filter.after(context.now);
    let is_recent = |at: Time| after.is_none_or(|after| at >= after);
    let is_in_time = || {
        if filter.failed {
            room.failures() > 0
                && (after.is_none()
                    || of_room(&People::of(room)).iter().any(|failed| failed.is_since(after)))
        } else {
            room.state() == State::Open || is_recent(room.end(context.now))
        }
    };
    filter.has_state(room.state() == State::Over)
        && everywhere::is_shown(room, filter)
        && has_who(room, filter)
        && is_in_time()
}

fn has_who(room: &Room, filter: &Filter) -> bool {
    !filter.is_for_someone()
        || room.identities().any(|(sid, identity)| filter.has_who([Some(sid), Some(identity)]))
        || room.bars().any(|bar| {
            let names = [bar.participant()].into_iter().chain(numbers(&bar.attributes));
            filter.has_who(names)
        })
}

// The most participants that are named below a room.
const MOST_FOUND: usize = 3;

// The participants that the filter looks for.
fn found(room: &Room, context: &Context) -> Markup {
    let filter = &context.filter;
    let is_found = |it: &(&str, &str)| filter.has_who([Some(it.0), Some(it.1)]);
    let all: Vec<_> =
        room.identities().filter(|it| filter.is_for_someone() && is_found(it)).collect();
    html! {
        @for (sid, identity) in all.iter().take(MOST_FOUND) {
            br; span.dim { "with " } a href=(path(&room.sid, Some(sid))) { (name(*identity)) }
        }
        @if all.len() > MOST_FOUND { br; span.dim { "and " (all.len() - MOST_FOUND) " more" } }
    }
}

fn held(store: &Store) -> Markup {
    let limits = store.limits();
    let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    html! {
        p.dim {
            "Held: " (count(store.rooms().len(), "room")) " of at most " (limits.rooms) ", "
            (mib(store.bytes())) " of at most " (mib(limits.bytes)) "."
            @if store.left_out() > 0 {
                " " (store.left_out()) " records of other rooms are not held."
            }
        }
    }
}

const COLUMNS: [Column; 9] = [
    by(Head::Text("Room"), "name", UP),
    fixed(Head::Text("State")),
    by(Head::Text("Failures"), "failures", DOWN),
    by(Head::Number("Participants"), "participants", DOWN),
    by(Head::Number("Tracks"), "tracks", DOWN),
    by(Head::Number("Worst loss"), "loss", DOWN),
    // The lowest is the worst.
    by(Head::Number("Worst score"), "score", UP),
    by(Head::Number("Duration"), "duration", DOWN),
    by(Head::Text("Started"), "start", DOWN),
];
const SORTED: Sorted<'_> =
    Sorted { table: Table::List, columns: &COLUMNS, usual: Sort::new("start", DOWN) };

fn table(title: &str, id: &str, rooms: &[&Room], context: &Context) -> Markup {
    let mut rooms = rooms.to_vec();
    SORTED.sort(&mut rooms, context, |room, key| cell(room, key, context));
    let rows = html! { @for room in rooms { (row(room, context)) } };
    html! {
        section.rooms aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (table::sorted((title, id), "Rooms", &SORTED, context, &rows))
        }
    }
}

fn cell(room: &Room, key: &str, context: &Context) -> Cell {
    match key {
        "name" => Cell::text(room.name.as_deref().unwrap_or_default()),
        "failures" => Cell::Count(room.failures()),
        "participants" => Cell::Count(of(room, span::PARTICIPANT)),
        "tracks" => Cell::Count(of(room, span::TRACK)),
        "loss" => Cell::measure(worst_of(room)[0]),
        "score" => Cell::measure(worst_of(room)[1]),
        "duration" => Cell::Nanos(nanos(room.end(context.now).since(room.start()))),
        _ => Cell::at(room.start()),
    }
}

// How many of its bars have a name.
fn of(room: &Room, name: &str) -> usize {
    room.bars().filter(|bar| bar.name == name).count()
}

fn worst_of(room: &Room) -> [Option<f64>; 2] {
    worst(room.measured().filter_map(|sid| room.windows(sid)).flatten())
}

fn row(room: &Room, context: &Context) -> Markup {
    let is_there = |bar: &&Bar| bar.name == span::PARTICIPANT && bar.end.is_none();
    let [loss, score] = worst_of(room);
    html! {
        tr {
            th scope="row" {
                a href=(path(&room.sid, None)) { (room_name(room)) }
                " " code { (name(&*room.sid)) }
                (found(room, context))
            }
            td { (state(room.state())) }
            td { (failures(room.failures())) }
            td.n {
                @if room.state() == State::Open { (room.bars().filter(is_there).count()) " of " }
                (of(room, span::PARTICIPANT))
            }
            td.n { (of(room, span::TRACK)) }
            td.n { (Metric::Loss.shown(loss)) }
            td.n { (Metric::Score.shown(score)) }
            td.n { (between(room.start(), room.end(context.now))) }
            td { (utc(room.start())) }
        }
    }
}
