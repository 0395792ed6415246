//! The turns of a room: how long each answer took, and what it waited for.

mod lanes;
mod rows;
mod shown;

use std::time::Duration;

use maud::{Markup, html};

use super::people::People;
use super::time::Axis;
use crate::ui::store::{Cause, Turn};
use livekit_otel_tools::labels::count;
use shown::{MOST, Shown, causes, class, id, length, words};

pub(super) use rows::what;

/// The turns of a room; nothing if no agent took part.
pub(super) fn turns(people: &People<'_>, axis: Axis) -> Markup {
    let shown = Shown::of(people);
    html! {
        @if !shown.turns.is_empty() {
            section aria-labelledby="turns" {
                h2 #turns { "Turns" }
                (summary(&shown))
                (key())
                (rows::table(people, &shown))
                (notes(people, &shown))
                (lanes::lanes(people, &shown, axis))
            }
        } @else if people.has_silent_agent() {
            section aria-labelledby="turns" {
                h2 #turns { "Turns" }
                p.dim {
                    "An agent took part, but uploaded no turns. Agents upload them to this program if "
                    code { "LIVEKIT_OBSERVABILITY_URL" } " is its address."
                }
            }
        }
    }
}

/// The id of a turn's attributes on the page, if it is shown.
pub(super) fn id_of(people: &People<'_>, place: usize) -> Option<String> {
    (place >= people.turns.len().saturating_sub(MOST)).then(|| id(place + 1))
}

/// The median and the longest time of a room's answers.
pub(super) fn latencies(people: &People<'_>) -> Option<[Duration; 2]> {
    let mut all: Vec<_> = people.turns.iter().filter_map(Turn::latency).collect();
    all.sort_unstable();
    Some([*all.get(all.len() / 2)?, *all.last()?])
}

// The answer to "why was it slow?" in a few sentences.
fn summary(shown: &Shown<'_>) -> Markup {
    let answer = |(number, turn): &(usize, &Turn<'_>)| {
        let (cause, part) = causes(&turn.parts()).first().copied()?;
        Some((turn.latency()?, *number, cause, part))
    };
    let mut all: Vec<_> = shown.turns.iter().filter_map(answer).collect();
    all.sort_unstable();
    let causes: Vec<Cause> = all.iter().map(|(.., cause, _)| *cause).collect();
    let interrupted = shown.turns.iter().filter(|(_, turn)| turn.is_interrupted()).count();
    html! {
        p {
            @if let Some(((slowest, number, cause, part), median)) = all.last().zip(all.get(all.len() / 2)) {
                (count(all.len(), "answer"))
                @if all.len() > 1 { ", median " b { (length(median.0)) } ". The slowest, in " } @else { ". It is in " }
                a href={ "#" (id(*number)) } { "turn " (number) }
                @if all.len() > 1 { ", took " } @else { " and took " }
                b { (length(*slowest)) } ", " b { (length(*part)) } " of it for " b { (whose(*cause)) } ". "
                @if let Some((most, times)) = most_frequent(&causes) {
                    "In " (times) " of " (all.len()) ", " (whose(most)) " took longest. "
                }
            } @else {
                "No answer was heard. "
            }
            @if interrupted > 0 { (count(interrupted, "answer")) " interrupted. " }
        }
        p.dim {
            "An answer's time is from the end of the person's speech to the agent's first audio. The bars split it "
            "by what it waited for: the decision that the person has finished (end of turn), which needs the "
            "transcript, the application, the model, its tools, and the first audio of the speech model. The link "
            "in a line shows more below it."
        }
    }
}

// The cause that comes most often, if there are several answers.
fn most_frequent(all: &[Cause]) -> Option<(Cause, usize)> {
    let times = |cause| (cause, all.iter().filter(|other| **other == cause).count());
    let most = Cause::ALL.map(times).into_iter().max_by_key(|(_, times)| *times);
    most.filter(|_| all.len() > 1)
}

fn whose(cause: Cause) -> &'static str {
    match cause {
        Cause::EndOfTurn => "the end of turn",
        Cause::Application => "the application",
        Cause::Tool => "tools",
        Cause::Model => "the model",
        Cause::Speech => "speech",
        Cause::Rest => "none of the stages",
    }
}

fn key() -> Markup {
    html! {
        p.key aria-hidden="true" {
            @for cause in Cause::ALL {
                svg width="14" height="10" { rect class={ "b " (class(cause)) } width="14" height="10" {} }
                " " (words(cause)) " "
            }
            span { "✗ failed" } " " span { "✂ interrupted" }
        }
    }
}

fn notes(people: &People<'_>, shown: &Shown<'_>) -> Markup {
    let forgotten = people.room.agents.turns_forgotten;
    html! {
        @if shown.left_out > 0 { p.dim { (count(shown.left_out, "earlier turn")) " left out." } }
        @if forgotten > 0 { p.dim { (forgotten) " spans of even earlier turns are no longer held." } }
        @if people.room.measured().next().is_none() {
            p.dim {
                "The network during a turn is unknown: no stats have been received. They come over the "
                "analytics streams, which a stock LiveKit server does not open."
            }
        }
    }
}
