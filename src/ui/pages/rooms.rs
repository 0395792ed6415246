//! The list of rooms.

use maud::{Markup, html};

use super::context::Context;
use super::everywhere;
use super::failed::{numbers, of_room};
use super::filter::Filter;
use super::form::form;
use super::layout::{self, Head, Here, failures, page, path, room_name, state};
use super::outside::name;
use super::people::{People, worst};
use super::plot::Metric;
use super::time::{between, utc};
use crate::ui::store::{Room, State, Store};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::span;
use livekit_otel_tools::labels::count;

#[cfg(test)]
mod tests;

pub(in crate::ui) fn rooms(store: &Store, context: &Context) -> String {
    let all = store.rooms();
    let is_empty = all.is_empty();
    let rooms = all.into_iter().filter(|room| is_shown(room, context));
    let (ended, open): (Vec<&Room>, Vec<&Room>) =
        rooms.partition(|room| room.state() == State::Over);
    let main = html! {
        h1 { "Rooms" }
        @if !is_empty { (form(context, true)) }
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
    everywhere::is_shown(room, filter) && has_who(room, filter) && is_in_time()
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

const HEADS: [Head; 9] = [
    Head::Text("Room"),
    Head::Text("State"),
    Head::Text("Failures"),
    Head::Number("Participants"),
    Head::Number("Tracks"),
    Head::Number("Worst loss"),
    Head::Number("Worst score"),
    Head::Number("Duration"),
    Head::Text("Started"),
];

fn table(title: &str, id: &str, rooms: &[&Room], context: &Context) -> Markup {
    let rows = html! { @for room in rooms { (row(room, context)) } };
    html! {
        section.rooms aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (layout::table(title, "Rooms, newest first", &HEADS, &rows))
        }
    }
}

fn row(room: &Room, context: &Context) -> Markup {
    let of = |name| room.bars().filter(move |bar| bar.name == name);
    let (people, tracks) = (of(span::PARTICIPANT).count(), of(span::TRACK).count());
    let now = of(span::PARTICIPANT).filter(|bar| bar.end.is_none()).count();
    let windows = room.measured().filter_map(|sid| room.windows(sid)).flatten();
    let [loss, score] = worst(windows);
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
                @if room.state() == State::Open { (now) " of " }
                (people)
            }
            td.n { (tracks) }
            td.n { (Metric::Loss.shown(loss)) }
            td.n { (Metric::Score.shown(score)) }
            td.n { (between(room.start(), room.end(context.now))) }
            td { (utc(room.start())) }
        }
    }
}
