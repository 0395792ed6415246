//! What the lines and the lanes of turns share.

use std::time::Duration;

use maud::{Markup, html};

use super::super::outside::name;
use super::super::people::People;
use super::super::time::nanos;
use crate::ui::store::{Cause, Part, Turn};
use livekit_otel_model::event::Time;
use livekit_otel_tools::labels::duration;

/// The most turns on a page. The newest are shown.
pub(super) const MOST: usize = 200;

/// The shown turns, with their numbers.
pub(super) struct Shown<'a> {
    pub(super) turns: Vec<(usize, &'a Turn<'a>)>,
    pub(super) left_out: usize,
}

impl<'a> Shown<'a> {
    pub(super) fn of(people: &'a People<'_>) -> Self {
        let left_out = people.turns.len().saturating_sub(MOST);
        let turns = people.turns.iter().enumerate().skip(left_out);
        Self { turns: turns.map(|(place, turn)| (place + 1, turn)).collect(), left_out }
    }
}

pub(super) fn id(number: usize) -> String {
    format!("turn-{number}")
}

/// How long a turn's answer waited for each cause, the longest first.
pub(super) fn causes(parts: &[Part]) -> Vec<(Cause, Duration)> {
    let of = |cause| parts.iter().filter(|part| part.cause == cause).map(Part::length).sum();
    let mut all: Vec<(Cause, Duration)> = Cause::ALL.map(|cause| (cause, of(cause))).into();
    all.sort_by_key(|(cause, length)| (std::cmp::Reverse(*length), *cause));
    all
}

pub(super) fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::EndOfTurn => "end of turn",
        Cause::Application => "application",
        Cause::Tool => "tools",
        Cause::Model => "model",
        Cause::Speech => "speech",
        Cause::Rest => "rest",
    }
}

pub(super) fn class(cause: Cause) -> &'static str {
    match cause {
        Cause::EndOfTurn => "eot",
        Cause::Application => "application",
        Cause::Tool => "tool",
        Cause::Model => "model",
        Cause::Speech => "speech",
        Cause::Rest => "rest",
    }
}

pub(super) fn length(length: Duration) -> String {
    duration(nanos(length))
}

// Names without duplicates, as many as fit.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> Markup {
    const MOST: usize = 3;
    let mut distinct: Vec<&str> = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    html! {
        @for (nth, one) in distinct.iter().take(MOST).enumerate() {
            @if nth > 0 { ", " }
            (name(*one))
        }
        @if distinct.len() > MOST { ", …" }
    }
}

/// The person and the agent of a turn, by their SIDs.
pub(super) fn speakers<'a>(
    people: &People<'a>,
    turn: &'a Turn<'_>,
) -> (Option<&'a str>, Option<&'a str>) {
    let user = turn.user.and_then(|span| span.participant.as_ref()).map(|sid| sid.as_str());
    (user, people.room.agents.agent(turn.job))
}

pub(super) fn epoch() -> Time {
    Time::from_system(std::time::UNIX_EPOCH)
}
