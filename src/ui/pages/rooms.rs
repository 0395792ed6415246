//! The list of rooms.

use maud::{Markup, html};

use super::context::Context;
use super::layout::{self, Head, Here, failures, page, path, room_name, state};
use super::outside::name;
use super::people::worst;
use super::plot::Metric;
use super::time::{between, utc};
use crate::ui::store::{Room, State, Store};
use livekit_otel_model::semconv::span;
use livekit_otel_tools::labels::count;

pub(in crate::ui) fn rooms(store: &Store, context: &Context) -> String {
    let rooms = store.rooms();
    let (ended, open): (Vec<&Room>, Vec<&Room>) =
        rooms.into_iter().partition(|room| room.state() == State::Over);
    let main = html! {
        h1 { "Rooms" }
        @if open.is_empty() && ended.is_empty() {
            p {
                "No rooms yet. Point your LiveKit server's webhooks here, or send a recorded call with "
                code { "livekit-otel replay" } "."
            }
        }
        @if !open.is_empty() { (table("Open", "open", &open, context)) }
        @if !ended.is_empty() { (table("Ended", "ended", &ended, context)) }
        (held(store))
    };
    page("Rooms", Here::Rooms, context, &main)
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
