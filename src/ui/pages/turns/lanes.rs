//! The turns on the time axis of the call: a lane for each stage.

use maud::{Markup, html};

use super::super::outside::name;
use super::super::people::People;
use super::super::scale;
use super::super::time::{Axis, percent};
use super::shown::{Shown, length, names};
use crate::ui::store::{Cause, Stage, Turn};
use livekit_otel_model::event::Time;
use livekit_otel_pipeline::AgentSpan;

const TICKS: u64 = 5;

/// A table with the columns of the waterfall.
pub(super) fn lanes(people: &People<'_>, shown: &Shown<'_>, axis: Axis) -> Markup {
    let mut jobs: Vec<Option<&str>> = shown.turns.iter().map(|(_, turn)| turn.job).collect();
    jobs.sort_unstable();
    jobs.dedup();
    html! {
        h3 { "On the time axis of the waterfall" }
        table.waterfall.lanes {
            caption.hidden {
                "The stages of all turns, with how often and how long at most, on the time axis of the waterfall"
            }
            thead { tr {
                th scope="col" { "Stage" }
                th.n scope="col" { "Times" }
                th.n scope="col" { "Longest" }
                th.time scope="col" {
                    span.hidden { "Timeline" }
                    (scale::labels(axis, TICKS))
                }
            } }
            @for job in &jobs { (of_job(people, shown, *job, axis, jobs.len() > 1)) }
        }
    }
}

struct Piece {
    start: Time,
    end: Time,
    is_failed: bool,
    is_interrupted: bool,
}

fn piece(span: &AgentSpan) -> Piece {
    let measured = span.measured.as_deref();
    let is_failed = span.failure.is_some() || measured.is_some_and(|it| it.error.is_some());
    Piece { start: span.start, end: span.end, is_failed, is_interrupted: false }
}

fn of_job(
    people: &People<'_>,
    shown: &Shown<'_>,
    job: Option<&str>,
    axis: Axis,
    is_named: bool,
) -> Markup {
    let turns: Vec<&Turn<'_>> =
        shown.turns.iter().map(|(_, turn)| *turn).filter(|turn| turn.job == job).collect();
    let of = |stage| -> Vec<Piece> {
        turns.iter().flat_map(move |turn| turn.of(stage)).map(piece).collect()
    };
    let users = turns.iter().filter_map(|turn| turn.user?.participant.as_ref());
    let users: Vec<&str> = users.map(|sid| people.room.who(sid.as_str())).collect();
    let agent = people.room.agents.agent(job).map(|sid| people.room.who(sid));
    let models = |stage| {
        let spans = turns.iter().flat_map(move |turn| turn.of(stage));
        let models = spans.filter_map(|span| span.measured.as_ref()?.model.as_deref());
        html! { " " span.dim { (names(models)) } }
    };
    html! {
        tbody {
            @if is_named {
                tr { th.l1 scope="rowgroup" colspan="4" {
                    "Agent "
                    @match agent.or(job) { Some(agent) => (name(agent)), None => "without a job" }
                } }
            }
            (lane(&html! {
                @if users.is_empty() { "person" } @else { (names(users.into_iter())) }
                " speaks"
            }, "user", &of(Stage::UserSpeaks), axis))
            (lane(&html! { "end of turn" }, "eot", &decisions(&turns), axis))
            (lane(&html! { "model" (models(Stage::Model)) }, "model", &of(Stage::Model), axis))
            (lane(&html! { "tools" }, "tool", &of(Stage::Tool), axis))
            (lane(&html! { "speech" (models(Stage::Speech)) }, "speech", &of(Stage::Speech), axis))
            (lane(&html! {
                @match agent { Some(agent) => (name(agent)), None => "agent" }
                " speaks"
            }, "agent", &audio(&turns), axis))
        }
    }
}

// npm has no span of the decision.
fn decisions(turns: &[&Turn<'_>]) -> Vec<Piece> {
    let parts = turns.iter().flat_map(|turn| turn.parts());
    let parts = parts.filter(|part| part.cause == Cause::EndOfTurn);
    parts
        .map(|part| Piece {
            start: part.start,
            end: part.end,
            is_failed: false,
            is_interrupted: false,
        })
        .collect()
}

fn audio(turns: &[&Turn<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for turn in turns {
        let mut of_turn: Vec<Piece> = turn.of(Stage::AgentSpeaks).map(piece).collect();
        if let Some(last) = of_turn.last_mut() {
            last.is_interrupted = turn.is_interrupted();
        }
        pieces.extend(of_turn);
    }
    pieces
}

fn lane(label: &Markup, class: &str, pieces: &[Piece], axis: Axis) -> Markup {
    let longest = pieces.iter().map(|piece| piece.end.since(piece.start)).max();
    html! {
        @if !pieces.is_empty() {
            tr {
                th.l2 scope="row" { (label) }
                td.n { (pieces.len()) }
                td.n { @if let Some(longest) = longest { (length(longest)) } }
                td.time { (bar(class, pieces, axis)) }
            }
        }
    }
}

fn bar(class: &str, pieces: &[Piece], axis: Axis) -> Markup {
    html! {
        svg.bar aria-hidden="true" focusable="false" {
            (scale::lines(axis, TICKS))
            @for piece in pieces {
                @let (from, to) = (axis.part(piece.start), axis.part(piece.end));
                rect class={ "b " (class) } x=(percent(from)) width=(percent(to - from)) y="3" height="10" {}
                line class={ "s " (class) } x1=(percent(from)) x2=(percent(from)) y1="3" y2="13" {}
                @if piece.is_failed || piece.is_interrupted {
                    svg x=(percent(to)) width="1" height="16" overflow="visible" {
                        @if piece.is_failed {
                            path.cross d="M-4 4 L4 12 M4 4 L-4 12" {}
                        } @else {
                            path.cut d="M0 0 V16" {}
                        }
                    }
                }
            }
        }
    }
}
