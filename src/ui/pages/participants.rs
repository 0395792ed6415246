//! The participants of a room.

use maud::{Markup, html};

use super::context::Context;
use super::failed::numbers;
use super::layout::{self, path, state};
use super::outside::name;
use super::people::{People, Person, worst};
use super::plot::Metric;
use super::sort::{Cell, DOWN, Sort, Table, UP};
use super::table::{self, Column, Head, Sorted, by, fixed};
use super::time::{between, nanos, time_of_day};
use super::waterfall::kind_of;
use crate::ui::store::State;
use livekit_otel_engine::ids;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::hex;
use livekit_otel_model::semconv::key;

#[cfg(test)]
mod tests;

// The most participants in the table.
const MOST: usize = 500;

const COLUMNS: [Column; 8] = [
    by(Head::Text("Participant"), "name", UP),
    fixed(Head::Text("State")),
    by(Head::Text("Joined"), "start", UP),
    by(Head::Number("Duration"), "duration", DOWN),
    by(Head::Number("Tracks"), "tracks", DOWN),
    by(Head::Text("Failures"), "failures", DOWN),
    by(Head::Number("Worst loss"), "loss", DOWN),
    // The lowest is the worst.
    by(Head::Number("Worst score"), "score", UP),
];
const SORTED: Sorted<'_> =
    Sorted { table: Table::List, columns: &COLUMNS, usual: Sort::new("start", UP) };

/// The participants that the filter shows, in the order in which they joined.
pub(super) fn found<'p>(people: &'p People<'p>, context: &Context) -> Vec<&'p Person<'p>> {
    let filter = &context.filter;
    let has_number = |sid: &str| {
        let mut calls = people.works.iter().filter(|bar| bar.participant() == Some(sid));
        calls.any(|bar| filter.has_who(numbers(&bar.attributes)))
    };
    let is_found = |person: &&Person<'_>| {
        (!filter.failed || person.failures > 0)
            && (filter.has_who([Some(person.sid), Some(people.room.who(person.sid))])
                || has_number(person.sid))
    };
    people.all.iter().filter(is_found).collect()
}

/// The table of those participants.
pub(super) fn participants(
    people: &People<'_>,
    found: &[&Person<'_>],
    now: Time,
    context: &Context,
) -> Markup {
    let mut sorted = found.to_vec();
    SORTED.sort(&mut sorted, context, |person, key| cell(people, person, key, now));
    let rows = html! { @for person in sorted.iter().take(MOST) { (row(people, person, now)) } };
    html! {
        section aria-labelledby="participants" {
            h2 #participants { "Participants" }
            @if found.len() < people.all.len() {
                p { "The filter shows " (found.len()) " of " (people.all.len()) " participants." }
            }
            (table::sorted(("Participants", "participants"), "Participants", &SORTED, context, &rows))
            @if found.len() > MOST {
                p.dim { "… and " (found.len() - MOST) " more." }
            }
        }
    }
}

fn cell(people: &People<'_>, person: &Person<'_>, key: &str, now: Time) -> Cell {
    let worst = || worst(people.room.windows(person.sid).into_iter().flatten());
    match key {
        "name" => Cell::text(people.room.who(person.sid)),
        "tracks" => Cell::Count(person.tracks()),
        "failures" => Cell::Count(person.failures),
        "loss" => Cell::measure(worst()[0]),
        "score" => Cell::measure(worst()[1]),
        "duration" => person.own.map_or(Cell::Nothing, |own| {
            Cell::Nanos(nanos(own.end.unwrap_or(now).since(own.start)))
        }),
        _ => person.own.map_or(Cell::Nothing, |own| Cell::at(own.start)),
    }
}

fn row(people: &People<'_>, person: &Person<'_>, now: Time) -> Markup {
    let room = people.room;
    let [loss, score] = worst(room.windows(person.sid).into_iter().flatten());
    let own_trace = RoomSid::new(&room.sid).zip(ParticipantSid::new(person.sid));
    let own_trace = own_trace.map(|(room, sid)| ids::participant_trace(&room, &sid));
    let has_own = person.own.and_then(|own| own.sent).map(|(trace, _)| trace) == own_trace;
    html! {
        tr {
            th scope="row" {
                a href=(path(&room.sid, Some(person.sid))) { (people.who(person.sid)) }
                " " code { (name(person.sid)) }
                @if let Some(kind) = person.own.and_then(|own| own.text(key::PARTICIPANT_KIND))
                    && kind != "STANDARD" { " " span.dim { (name(kind_of(kind))) } }
                @if let Some(trace) = own_trace.filter(|_| has_own) {
                    " " span.dim { "with its own trace, " code { (hex(&trace)) } }
                }
            }
            @if let Some(own) = person.own {
                td {
                    @match (own.end, own.sent) {
                        (None, _) => (state(State::Open)),
                        (Some(_), None) => (state(State::Ending)),
                        (Some(_), Some(_)) => span.dim { "○ left" },
                    }
                }
                td { (time_of_day(own.start)) }
                td.n { (between(own.start, own.end.unwrap_or(now))) }
            } @else {
                td.dim { "unknown" } td {} td {}
            }
            td.n { (person.tracks()) }
            td { (layout::failures(person.failures)) }
            td.n { (Metric::Loss.shown(loss)) }
            td.n { (Metric::Score.shown(score)) }
        }
    }
}
