//! The page of a room, and that of a participant.

use maud::{Markup, html};

use super::context::Context;
use super::events::events;
use super::failures::failures;
use super::form::{Field, form};
use super::layout::{Here, page, path, room_name, state};
use super::outside::{name, sentence};
use super::participants;
use super::people::{People, Person};
use super::quality::quality;
use super::time::{Axis, between, nanos, utc};
use super::turns::{latencies, turns};
use super::waterfall::{MOST_PARTICIPANTS, Waterfall, id};
use super::works::outcome;
use crate::ui::store::{Bar, Room, State};
use livekit_otel_engine::ids;
use livekit_otel_model::event::RoomSid;
use livekit_otel_model::hex;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_tools::labels::{self, duration};

const FIELDS: [Field; 2] = [Field::Who, Field::Failed];

/// A room's page.
pub(in crate::ui) fn room(room: &Room, context: &Context) -> String {
    let people = People::of(room);
    let found = participants::found(&people, context);
    let shown = selected(&people, &found);
    let drawn: Vec<&str> = shown.iter().map(|person| person.sid).collect();
    let room_name = room_name(room);
    let axis = Axis { start: room.start(), end: room.end(context.now).max(room.start()) };
    let waterfall = Waterfall { people: &people, shown: shown.clone(), is_whole: false, axis };
    let main = html! {
        h1 { "Room " (room_name) " " (state(room.state())) }
        (facts(&people, context))
        (form(context, &FIELDS))
        (failures(&people, None, &drawn, context))
        (participants::participants(&people, &found, axis.end, context))
        (waterfall.draw())
        @if shown.len() < found.len() {
            p.dim {
                "The waterfall and the plots show " (shown.len()) " of " (found.len())
                " participants, those with failures or turns first. Each participant has its own page."
            }
        }
        (turns(&people, axis))
        (quality(&people, &speakers_first(&people, &shown), false, axis))
        (events(&people, None))
    };
    page(&format!("Room {}", room_name.isolated()), Here::Room, context, &main)
}

/// A participant's page; `None` if nothing is held about it.
pub(in crate::ui) fn participant(room: &Room, sid: &str, context: &Context) -> Option<String> {
    let people = People::of(room);
    let person = people.all.iter().find(|person| person.sid == sid)?;
    let axis = Axis { start: room.start(), end: room.end(context.now).max(room.start()) };
    let (who, room_name) = (people.who(person.sid), room_name(room));
    let waterfall = Waterfall { people: &people, shown: vec![person], is_whole: true, axis };
    let main = html! {
        p { a href=(path(&room.sid, None)) { "Room " (room_name) } }
        h1 { (who) " " code { (name(sid)) } }
        (failures(&people, Some(sid), &[sid], context))
        (waterfall.draw())
        (quality(&people, &[person], true, axis))
        (events(&people, Some(sid)))
    };
    let title = format!("{} in {}", who.isolated(), room_name.isolated());
    Some(page(&title, Here::Room, context, &main))
}

// Participants with failures or turns first, up to the limit; then in the order in which they joined.
fn selected<'a>(people: &People<'_>, all: &[&'a Person<'a>]) -> Vec<&'a Person<'a>> {
    let mut places: Vec<usize> = (0..all.len()).collect();
    let matters = |at: usize| all[at].failures > 0 || people.speakers.contains(all[at].sid);
    places.sort_by_key(|at| (!matters(*at), *at));
    places.truncate(MOST_PARTICIPANTS);
    places.sort_unstable();
    places.into_iter().map(|at| all[at]).collect()
}

// Below the turns is the quality of those who speak in them.
fn speakers_first<'a>(people: &People<'_>, shown: &[&'a Person<'a>]) -> Vec<&'a Person<'a>> {
    let mut shown = shown.to_vec();
    shown.sort_by_key(|person| !people.speakers.contains(person.sid));
    shown
}

fn facts(people: &People<'_>, context: &Context) -> Markup {
    let room = people.room;
    let trace = RoomSid::new(&room.sid).map(|sid| hex(&ids::trace(&sid)));
    let lasted = if room.state() == State::Open { "Open for" } else { "Lasted" };
    html! {
        dl.facts {
            div { dt { "SID" } dd { code { (name(&*room.sid)) } } }
            @if let Some(trace) = trace { (trace_of(&trace, context)) }
            div { dt { "Started" } dd { (utc(room.start())) } }
            div { dt { (lasted) } dd { (between(room.start(), room.end(context.now))) } }
            div { dt { "Participants" } dd { (people.all.len()) } }
            @let agents = agents(people);
            @if !agents.is_empty() {
                div {
                    dt { "Agents" }
                    dd { @for (nth, agent) in agents.iter().enumerate() { @if nth > 0 { "; " } (agent) } }
                }
            }
            @if let Some([median, longest]) = latencies(people) {
                div {
                    dt { "Answers" }
                    dd {
                        a href="#turns" { "median " (duration(nanos(median))) }
                        ", slowest " (duration(nanos(longest)))
                    }
                }
            }
            @if let Some(node) = room.own().and_then(|own| own.text(key::NODE_ID)) {
                div { dt { "Node" } dd { code { (name(node)) } } }
            }
            @if let Some(reason) = room.own().and_then(|own| own.text(key::ROOM_END_REASON)) {
                div { dt { "Ended" } dd { (sentence(labels::spoken(reason))) } }
            }
        }
        @if room.own().is_none() {
            p.dim { "The start of this room was not reported to this process." }
        }
        @if room.spans_left_out > 0 {
            p.dim { (room.spans_left_out) " of its spans are not held." }
        }
    }
}

// The most agents that are named.
const MOST_AGENTS: usize = 5;

// Whether agents came: what became of the dispatches, and the agents that came without a known one.
fn agents(people: &People<'_>) -> Vec<Markup> {
    let room = people.room;
    let dispatches = people.works.iter().filter(|bar| bar.name == span::AGENT_DISPATCH);
    let dispatched: Vec<Markup> = dispatches
        .map(|bar| {
            let outcome = outcome(bar).unwrap_or("not known whether an agent came".to_owned());
            html! { a href={ "#" (id(bar)) } { (people.label(bar)) } ": " (sentence(outcome)) }
        })
        .collect();
    let is_agent = |bar: &&Bar| bar.text(key::PARTICIPANT_KIND) == Some("AGENT");
    let came: Vec<&Bar> =
        people.all.iter().filter_map(|person| person.own).filter(is_agent).collect();
    let all: Vec<Markup> = match (dispatched.is_empty(), came.is_empty()) {
        (false, _) => dispatched,
        (true, true) if room.own().is_some() => vec![html! { "none joined" }],
        (true, _) => came
            .iter()
            .map(|bar| {
                let after = between(room.start(), bar.start);
                html! { (people.label(bar)) " joined after " (after) }
            })
            .collect(),
    };
    let more = all.len().saturating_sub(MOST_AGENTS);
    let more = (more > 0).then(|| html! { (more) " more" });
    all.into_iter().take(MOST_AGENTS).chain(more).collect()
}

fn trace_of(trace: &str, context: &Context) -> Markup {
    html! {
        div {
            dt { "Trace" }
            dd {
                @match &context.trace_url {
                    Some(url) => a href=(url.replace("{trace_id}", trace)) { code { (trace) } },
                    None => code { (trace) },
                }
            }
        }
    }
}
