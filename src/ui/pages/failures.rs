//! The failures of a room.

use maud::{Markup, html};

use super::layout::{Head, table};
use super::outside::{name, sentence};
use super::people::{People, is_of_a_participant};
use super::time::{between, time_of_day};
use super::waterfall::id;
use crate::ui::store::Bar;
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{LogRecord, Severity};
use livekit_otel_tools::labels::AttributeLookup;

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
    let rows = html! {
        @for bar in failed.iter().take(MOST) {
            // A participant's page has a line in its waterfall only for the participant's own
            // spans.
            (row(people, bar, only.is_none() || is_of_a_participant(bar)))
        }
        @for record in without_spans.iter().take(MOST) { (record_row(people, record)) }
    };
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Failures" }
            @if failed.is_empty() && without_spans.is_empty() {
                p.good { "✓ Nothing failed." }
            } @else {
                (table("Failures", "Failures, oldest first", &HEADS, &rows))
            }
            @if failed.len() > MOST { p.dim { "… and " (failed.len() - MOST) " more." } }
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
