//! A line for each turn.

use std::time::Duration;

use maud::{Markup, html};

use super::super::outside::{name, sentence};
use super::super::people::People;
use super::super::plot::Metric;
use super::super::scale;
use super::super::time::{Axis, exact, percent, time_of_day};
use super::shown::{Shown, causes, class, epoch, id, length, names, speakers, words};
use crate::ui::store::{Failure, Part, Stage, Turn, What};
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::{Measure, Measured};
use livekit_otel_model::hex;
use livekit_otel_model::semconv::key;
use livekit_otel_pipeline::AgentSpan;
use livekit_otel_tools::labels::{AttributeLookup, seconds};

const TICKS: u64 = 3;
// Shorter parts are only in the bar.
const LEAST: Duration = Duration::from_millis(10);

const NETWORK: [(&str, Metric); 3] = [
    (key::NETWORK_LOSS, Metric::Loss),
    (key::NETWORK_ROUND_TRIP, Metric::RoundTrip),
    (key::NETWORK_JITTER, Metric::Jitter),
];

/// The table of the shown turns.
pub(super) fn table(people: &People<'_>, shown: &Shown<'_>) -> Markup {
    let total = |turn: &Turn<'_>| turn.parts().iter().map(Part::length).sum::<Duration>();
    let longest = shown.turns.iter().map(|(_, turn)| total(turn)).max().unwrap_or_default();
    let axis = Axis { start: epoch(), end: epoch() + longest };
    let has_network = people.room.measured().next().is_some();
    html! {
        div.scroll.turns tabindex="0" role="region" aria-label="Turns, a table" {
            table {
                caption.hidden {
                    "Turns, oldest first: how long the answer took, what it waited for, and the person's network"
                }
                thead { tr {
                    th scope="col" { "Turn" }
                    th.n scope="col" { "Answer after" }
                    th scope="col" { "Waited for" }
                    th.time scope="col" {
                        span.hidden { "Parts" }
                        (head(axis))
                    }
                    th scope="col" { "Agent spoke" }
                    @if has_network {
                        @for (_, metric) in NETWORK { th.n scope="col" { (metric.name()) } }
                    }
                } }
                tbody {
                    @for (number, turn) in &shown.turns {
                        (row(people, *number, turn, axis, has_network))
                    }
                }
            }
        }
    }
}

fn head(axis: Axis) -> Markup {
    html! {
        svg.axis aria-hidden="true" focusable="false" {
            text x="0" y="11" { "0" }
            @for (part, name) in axis.ticks(TICKS) {
                text x=(percent(part)) y="11"
                    text-anchor=(if part > 0.9 { "end" } else { "middle" }) { (name) }
            }
        }
    }
}

fn row(
    people: &People<'_>,
    number: usize,
    turn: &Turn<'_>,
    axis: Axis,
    has_network: bool,
) -> Markup {
    let parts = turn.parts();
    let columns = if has_network { "8" } else { "5" };
    html! {
        tr {
            th scope="row" {
                a href={ "#" (id(number)) } { "Turn " (number) } " " (time_of_day(turn.start()))
                (whose(people, turn))
            }
            td.n {
                @match turn.latency() {
                    Some(latency) => b { (length(latency)) },
                    None => "–",
                }
            }
            td { (why(people, turn, &parts)) }
            td.time { (bar(&parts, axis, turn.spoke().is_none())) }
            td { (spoken(turn)) }
            @if has_network {
                @for (key, metric) in NETWORK {
                    td.n { (metric.shown(network(turn.own(), key, metric))) }
                }
            }
        }
        tr.more id=(id(number)) { td colspan=(columns) { (details(people, turn)) } }
    }
}

// Who speaks with whom, where there is a choice.
fn whose(people: &People<'_>, turn: &Turn<'_>) -> Markup {
    let (user, agent) = speakers(people, turn);
    let is_alone = people.speakers.len() <= 2;
    html! {
        @if !is_alone {
            br;
            span.dim {
                @if let Some(sid) = user { (people.who(sid)) " → " }
                @match (agent, turn.job) {
                    (Some(sid), _) => (people.who(sid)),
                    (None, Some(job)) => (name(job)),
                    (None, None) => "an agent",
                }
            }
        }
    }
}

fn why(people: &People<'_>, turn: &Turn<'_>, parts: &[Part]) -> Markup {
    let all = causes(parts);
    let named = all.iter().filter(|(_, length)| *length >= LEAST);
    html! {
        @if let Some(failure) = failure(people, turn) {
            strong.bad { "✗ " (what(&failure.what)) " failed" }
            br;
        }
        @if turn.user.is_none() { "Said unprompted. " }
        @if turn.answers.is_empty() {
            "No answer."
        } @else {
            @if turn.spoke().is_none() { "No audio. " }
            @for (nth, (cause, length)) in named.enumerate() {
                @let text = format!("{} {}", words(*cause), self::length(*length));
                @if nth == 0 {
                    b.part { (text) }
                } @else {
                    span.dim { ", " span.part { (text) } }
                }
            }
        }
        @if turn.own().any(is_inferred) { " " span.dim { "┆ end inferred" } }
    }
}

fn is_inferred(span: &AgentSpan) -> bool {
    span.added.text(key::END_INFERRED).is_some()
}

// The turn's failure that was not mended, or else the first one.
fn failure<'a>(people: &'a People<'_>, turn: &Turn<'_>) -> Option<&'a Failure<'a>> {
    people.failed.iter().filter(|failure| turn.has(failure)).min_by_key(|failure| failure.is_mended)
}

/// What failed, in words.
pub(in crate::ui::pages) fn what(what: &What<'_>) -> Markup {
    let of = |model: Option<&str>, provider: Option<&str>| {
        html! {
            @if let Some(model) = model { " " (name(model)) }
            @if let Some(provider) = provider { " of " (name(provider)) }
        }
    };
    html! {
        @match what {
            What::Model(model, provider) => { "model" (of(*model, *provider)) }
            What::Speech(model, provider) => { "speech" (of(*model, *provider)) }
            What::Tool(tool) => { "tool" (of(*tool, None)) }
            What::Job => "agent job",
            What::Session => "agent session",
            What::Span(span) => (name(*span)),
        }
    }
}

fn bar(parts: &[Part], axis: Axis, is_silent: bool) -> Markup {
    let first = parts.first().map_or(axis.start, |part| part.start);
    let place = |at: Time| axis.part(axis.start + at.since(first));
    let end = parts.last().map_or(axis.start, |part| part.end);
    html! {
        svg.bar aria-hidden="true" focusable="false" {
            (scale::lines(axis, TICKS))
            @for part in parts {
                @let (from, to) = (place(part.start), place(part.end));
                rect class={ "b " (class(part.cause)) } x=(percent(from)) width=(percent(to - from)) y="3" height="10" {}
            }
            @if is_silent && !parts.is_empty() {
                svg x=(percent(place(end))) width="1" height="16" overflow="visible" {
                    path.inferred d="M0 0 V16" {}
                }
            }
        }
    }
}

fn spoken(turn: &Turn<'_>) -> Markup {
    let spoken: Duration = turn.of(Stage::AgentSpeaks).map(|it| it.end.since(it.start)).sum();
    html! {
        @if turn.spoke().is_some() { (length(spoken)) } @else { "–" }
        @if turn.is_interrupted() { " " strong.live { "✂ interrupted" } }
    }
}

// The worst of the spans.
fn network<'a>(
    spans: impl Iterator<Item = &'a AgentSpan>,
    key: &str,
    metric: Metric,
) -> Option<f64> {
    metric.worst(spans.filter_map(|span| span.added.number(key)))
}

fn details(people: &People<'_>, turn: &Turn<'_>) -> Markup {
    let (user, agent) = speakers(people, turn);
    let end = turn.own().map(|span| span.end).max().unwrap_or_else(|| turn.start());
    html! {
        dl.attributes {
            @if let Some(sid) = user { (pair("Person", &html! { (people.who(sid)) })) }
            @if let Some(sid) = agent { (pair("Agent", &html! { (people.who(sid)) })) }
            @if let Some(job) = turn.job { (pair("Job", &html! { (name(job)) })) }
            (pair("From", &exact(turn.start())))
            (pair("To", &exact(end)))
            (measures(turn))
            (models(turn))
            (network_pairs(turn))
            @if let Some(by) = measured(turn).find_map(|it| it.interrupted_by.as_deref()) {
                (pair("Interrupted by", &html! { (sentence(by)) }))
            }
            @for span in turn.own() {
                (pair(if Some(span.span_id) == turn.user.map(|it| it.span_id) { "Span of the person's turn" } else { "Span of the agent's turn" },
                    &html! { code { (hex(&span.span_id)) } }))
            }
        }
        p { a href="#turns" { "Close" } }
    }
}

fn pair(key: &str, value: &Markup) -> Markup {
    html! { div { dt { (key) } dd { (value) } } }
}

fn measured<'a>(turn: &'a Turn<'_>) -> impl Iterator<Item = &'a Measured> {
    let stages = turn.stages.iter().map(|(_, span)| *span);
    turn.own().chain(stages).filter_map(|span| span.measured.as_deref())
}

fn measures(turn: &Turn<'_>) -> Markup {
    const ALL: [(&str, Measure); 6] = [
        ("Answer after", Measure::EndToEnd),
        ("End of turn after", Measure::EndOfTurn),
        ("Transcript after", Measure::Transcription),
        ("Application took", Measure::TurnCompleted),
        ("First token after", Measure::FirstToken),
        ("First byte of speech after", Measure::FirstByte),
    ];
    html! {
        @for (label, measure) in ALL {
            @if let Some(value) = turn.number(measure).and_then(seconds) {
                (pair(label, &html! { (value) }))
            }
        }
    }
}

fn models(turn: &Turn<'_>) -> Markup {
    let of = |stage| turn.of(stage).filter_map(|span| span.measured.as_deref());
    let model = |it: &'static str, stage| {
        let all: Vec<&str> = of(stage).filter_map(|it| it.model.as_deref()).collect();
        html! { @if !all.is_empty() { (pair(it, &names(all.into_iter()))) } }
    };
    let tools: Vec<&str> = of(Stage::Tool).filter_map(|it| it.tool.as_deref()).collect();
    let transcription = turn.user.and_then(|span| span.measured.as_ref()?.model.as_deref());
    html! {
        @if let Some(model) = transcription { (pair("Transcription model", &html! { (name(model)) })) }
        (model("Model", Stage::Model))
        @if !tools.is_empty() { (pair("Tools", &names(tools.into_iter()))) }
        (model("Speech model", Stage::Speech))
    }
}

fn network_pairs(turn: &Turn<'_>) -> Markup {
    html! {
        @for (direction, spans) in [("from", turn.user.as_slice()), ("to", &turn.answers[..])] {
            @for (key, metric) in NETWORK {
                @if let Some(value) = network(spans.iter().copied(), key, metric) {
                    (pair(&format!("{} {direction} the person", metric.name()), &html! { (metric.shown(Some(value))) }))
                }
            }
        }
    }
}
