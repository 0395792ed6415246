//! The failures of a room.

use maud::{Markup, html};

use super::layout::{Head, table};
use super::outside::{name, sentence};
use super::people::{People, is_of_a_participant};
use super::time::{between, time_of_day};
use super::turns::{self, what};
use super::waterfall::id;
use crate::ui::store::{Bar, Failure, What};
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{LogRecord, Severity};
use livekit_otel_tools::labels::{AttributeLookup, count};

// The most failures of each kind in the table.
const MOST: usize = 50;

const HEADS: [Head; 6] = [
    Head::Text("What"),
    Head::Text("Who"),
    Head::Text("error.type"),
    Head::Text("Reason"),
    Head::Text("When"),
    Head::Number("After"),
];

/// The failures of a room, or of one participant in it.
pub(super) fn failures(people: &People<'_>, only: Option<&str>) -> Markup {
    let is_shown = |bar: &&Bar| only.is_none_or(|sid| bar.participant() == Some(sid));
    let mut failed: Vec<&Bar> =
        people.room.bars().filter(|bar| bar.failed()).filter(is_shown).collect();
    failed.sort_by_key(|bar| (bar.end, bar.start));
    let without_spans = without_spans(people, only);
    let is_of = |failure: &&Failure<'_>| {
        only.is_none_or(|sid| people.room.agents.agent(failure.job) == Some(sid))
    };
    let of_agents: Vec<&Failure<'_>> = people.failed.iter().filter(is_of).collect();
    let left_out = [failed.len(), of_agents.len()].map(|all| all.saturating_sub(MOST));
    let left_out: usize = left_out.into_iter().sum();
    let rows = html! {
        @for bar in failed.iter().take(MOST) {
            // A participant's page has a line in its waterfall only for the participant's own
            // spans.
            (row(people, bar, only.is_none() || is_of_a_participant(bar)))
        }
        @for failure in of_agents.iter().take(MOST) { (agent_row(people, failure, only.is_none())) }
        @for record in without_spans.iter().take(MOST) { (record_row(people, record)) }
    };
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Failures" }
            @if failed.is_empty() && of_agents.is_empty() && without_spans.is_empty() {
                p.good { "✓ Nothing failed." }
            } @else {
                (table("Failures", "Failures, oldest first", &HEADS, &rows))
            }
            @if left_out > 0 { p.dim { "… and " (left_out) " more." } }
            @if people.room.agents.failed_forgotten > 0 {
                p.dim { "Older failures of agents are no longer held." }
            }
        }
    }
}

fn row<'a>(people: &People<'a>, bar: &'a Bar, is_drawn: bool) -> Markup {
    let at = bar.end.unwrap_or(bar.start);
    let what = if bar.name == span::PARTICIPANT { name(bar.name) } else { people.label(bar) };
    html! {
        tr {
            th scope="row" {
                @if is_drawn {
                    a.bad href={ "#" (id(bar)) } { "✗ " (what) }
                } @else {
                    span.bad { "✗ " (what) }
                }
            }
            td { @if let Some(sid) = bar.participant() { (people.who(sid)) } }
            td { code { (name(bar.error_type())) } }
            td { (reason(bar.error_message())) }
            td { (time_of_day(at)) }
            td.n { (between(people.room.start(), at)) }
        }
    }
}

// A failure of an agent, with a link to its turn if that is on the page.
fn agent_row(people: &People<'_>, failure: &Failure<'_>, has_turns: bool) -> Markup {
    let place = people.turns.iter().position(|turn| turn.has(failure));
    let turn = place.filter(|_| has_turns).and_then(|place| turns::id_of(people, place));
    html! {
        tr {
            th scope="row" {
                @if let Some(turn) = turn {
                    a.bad href={ "#" (turn) } { "✗ " (what(&failure.what)) }
                } @else {
                    span.bad { "✗ " (what(&failure.what)) }
                }
            }
            td {
                @match (people.room.agents.agent(failure.job), failure.job) {
                    (Some(sid), _) => (people.who(sid)),
                    (None, Some(job)) => (name(job)),
                    (None, None) => {}
                }
            }
            td { code { (name(failure.error)) } }
            td { (attempts(failure, place)) }
            td { (time_of_day(failure.end)) }
            td.n { (between(people.room.start(), failure.end)) }
        }
    }
}

// What is known of a failure besides its type: messages are content, and are not here.
fn attempts(failure: &Failure<'_>, turn: Option<usize>) -> Markup {
    let what = html! {
        @match failure.what {
            What::Session => "it closed because of an error",
            What::Job if failure.around.is_empty() => "no span of it was received",
            _ if failure.is_mended => { (count(failure.attempts, "attempt")) ", then it succeeded" }
            _ if failure.attempts > 1 => { (failure.attempts) " attempts" }
            _ if turn.is_none() => "unknown",
            _ => {}
        }
    };
    let is_empty = what.0.is_empty();
    html! {
        (what)
        @if let Some(place) = turn {
            @if !is_empty { " " }
            "in turn " (place + 1)
        }
    }
}

fn reason(message: Option<&str>) -> Markup {
    html! { @if let Some(message) = message { (sentence(message)) } @else { "unknown" } }
}

// Failures without a span.
fn without_spans<'a>(people: &People<'a>, only: Option<&str>) -> Vec<&'a LogRecord> {
    const HAVE_SPANS: [&str; 9] = [
        event::PARTICIPANT_LEFT,
        event::PARTICIPANT_CONNECTION_ABORTED,
        event::TRACK_SUBSCRIBE_FAILED,
        event::EGRESS_ENDED,
        event::INGRESS_ENDED,
        event::SIP_CALL_ENDED,
        event::SIP_TRANSFER_COMPLETE,
        event::API_CALL,
        event::WEBHOOK,
    ];
    let is_shown = |record: &&LogRecord| {
        let who = record.attributes.text(key::PARTICIPANT_ID);
        record.severity == Severity::Error
            && !HAVE_SPANS.contains(&&*record.event_name)
            && only.is_none_or(|sid| who == Some(sid))
    };
    people.room.events.iter().filter(is_shown).collect()
}

fn record_row(people: &People<'_>, record: &LogRecord) -> Markup {
    let text = |key| record.attributes.text(key);
    html! {
        tr {
            th scope="row" { span.bad { "✗ " (name(&*record.event_name)) } }
            td { @if let Some(sid) = text(key::PARTICIPANT_ID) { (people.who(sid)) } }
            td { code { (name(text(key::ERROR_TYPE).unwrap_or("error"))) } }
            td { (reason(text(key::ERROR))) }
            td { (time_of_day(record.time)) }
            td.n { (between(people.room.start(), record.time)) }
        }
    }
}
