//! A room, and one participant in it.

use maud::{Markup, html};

use super::Look;
use super::events::events;
use super::failures::failures;
use super::layout::{self, Head, Here, page, segment};
use super::outside::{Outside, name, sentence};
use super::people::{People, Person, worst};
use super::plot::Metric;
use super::quality::quality;
use super::rooms::state;
use super::time::{Axis, between, time_of_day, utc};
use super::waterfall::{MOST_PARTICIPANTS, Waterfall};
use crate::ui::store::{Room, State};
use livekit_otel_engine::ids;
use livekit_otel_engine::session::hex;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::semconv::key;

// The most participants that are listed.
const MOST_LISTED: usize = 500;

/// The path of a room's page, or of a participant's.
pub(super) fn path(room: &str, participant: Option<&str>) -> String {
    let room = segment(room);
    match participant {
        None => format!("/ui/rooms/{room}"),
        Some(sid) => format!("/ui/rooms/{room}/participants/{}", segment(sid)),
    }
}

/// A room's page.
pub(in crate::ui) fn room(room: &Room, look: &Look) -> String {
    let people = People::of(room);
    let shown = selected(&people.all);
    let called = called(room);
    let axis = Axis { start: room.start(), end: room.end(look.now).max(room.start()) };
    let waterfall = Waterfall { people: &people, shown: shown.clone(), is_whole: false, axis };
    let main = html! {
        h1 { "Room " (called) " " (state(room.state())) }
        (facts(&people, look))
        (failures(&people, None))
        (listed(&people, axis.end))
        (waterfall.draw())
        @if shown.len() < people.all.len() {
            p.dim {
                "The waterfall and the plots are of " (shown.len()) " of " (people.all.len())
                " participants, those who failed first. Each participant has a page of its own."
            }
        }
        (quality(&people, &shown, false, axis))
        (events(&people, None))
    };
    page(&format!("Room {}", called.isolated()), Here::Room, look, &main)
}

/// A participant's page; none where nothing is held of it.
pub(in crate::ui) fn participant(room: &Room, sid: &str, look: &Look) -> Option<String> {
    let people = People::of(room);
    let person = people.all.iter().find(|person| person.sid == sid)?;
    let axis = Axis { start: room.start(), end: room.end(look.now).max(room.start()) };
    let (who, called) = (people.who(person.sid), called(room));
    let waterfall = Waterfall { people: &people, shown: vec![person], is_whole: true, axis };
    let main = html! {
        p { a href=(path(&room.sid, None)) { "Room " (called) } }
        h1 { (who) " " code { (name(sid)) } }
        (failures(&people, Some(sid)))
        (waterfall.draw())
        (quality(&people, &[person], true, axis))
        (events(&people, Some(sid)))
    };
    let title = format!("{} in {}", who.isolated(), called.isolated());
    Some(page(&title, Here::Room, look, &main))
}

/// What a room is called.
pub(super) fn called(room: &Room) -> Outside<'_> {
    name(room.name.as_deref().unwrap_or("(no name)"))
}

// Those who failed before the others, as many as one looks at; then in the order of their coming.
fn selected<'a>(all: &'a [Person<'a>]) -> Vec<&'a Person<'a>> {
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_by_key(|at| (all[*at].failures() == 0, *at));
    places.truncate(MOST_PARTICIPANTS);
    places.sort_unstable();
    places.into_iter().map(|at| &all[at]).collect()
}

fn facts(people: &People<'_>, look: &Look) -> Markup {
    let room = people.room;
    let trace = RoomSid::new(&room.sid).map(|sid| hex(&ids::trace(&sid)));
    let lasted = if room.state() == State::Open { "Open for" } else { "Lasted" };
    html! {
        dl.facts {
            div { dt { "SID" } dd { code { (name(&*room.sid)) } } }
            @if let Some(trace) = trace { (trace_of(&trace, look)) }
            div { dt { "Began" } dd { (utc(room.start())) } }
            div { dt { (lasted) } dd { (between(room.start(), room.end(look.now))) } }
            div { dt { "Participants" } dd { (people.all.len()) } }
            @if let Some(node) = room.own().and_then(|own| own.text(key::NODE_ID)) {
                div { dt { "Node" } dd { code { (name(node)) } } }
            }
            @if let Some(reason) = room.own().and_then(|own| own.text(key::ROOM_END_REASON)) {
                div { dt { "Ended" } dd { (sentence(reason.replace('_', " "))) } }
            }
        }
        @if room.own().is_none() {
            p.dim { "It began before this process, or of its beginning nothing was told." }
        }
        @if room.spans_left_out > 0 {
            p.dim { "There was no place for " (room.spans_left_out) " of its spans." }
        }
    }
}

fn trace_of(trace: &str, look: &Look) -> Markup {
    html! {
        div {
            dt { "Trace" }
            dd {
                @match &look.trace_url {
                    Some(url) => a href=(url.replace("{trace_id}", trace)) { code { (trace) } },
                    None => code { (trace) },
                }
            }
        }
    }
}

const HEADS: [Head; 8] = [
    Head::Text("Participant"),
    Head::Text("State"),
    Head::Text("Came"),
    Head::Number("For"),
    Head::Number("Tracks"),
    Head::Text("Failures"),
    Head::Number("Worst loss"),
    Head::Number("Worst score"),
];

fn listed(people: &People<'_>, now: Time) -> Markup {
    let rows = html! {
        @for person in people.all.iter().take(MOST_LISTED) { (row(people, person, now)) }
    };
    html! {
        section aria-labelledby="participants" {
            h2 #participants { "Participants" }
            (layout::table("Participants", "Participants in the order of their coming", &HEADS, &rows))
            @if people.all.len() > MOST_LISTED {
                p.dim { "… and " (people.all.len() - MOST_LISTED) " more." }
            }
        }
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
                @if let Some(trace) = own_trace.filter(|_| has_own) {
                    " " span.dim { "with a trace of its own, " code { (hex(&trace)) } }
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
                td.dim { "not told" } td {} td {}
            }
            td.n { (person.tracks()) }
            td { (layout::failures(person.failures())) }
            td.n { (Metric::Loss.shown(loss)) }
            td.n { (Metric::Score.shown(score)) }
        }
    }
}
