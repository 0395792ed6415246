//! The events of a room, in their order.

use maud::{Markup, html};

use super::outside::{name, sentence};
use super::people::People;
use super::table::{Head, table};
use super::time::{between, time_of_day};
use super::works;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{LogRecord, Severity};
use livekit_otel_tools::labels::{self, AttributeLookup};

const HEADS: [Head; 6] = [
    Head::Text("When"),
    Head::Number("After"),
    Head::Text("Event"),
    Head::Text("Severity"),
    Head::Text("Who"),
    Head::Text("What"),
];

/// The events of a room, or of one participant in it.
pub(super) fn events(people: &People<'_>, only: Option<&str>) -> Markup {
    let room = people.room;
    let is_shown = |record: &&LogRecord| {
        only.is_none_or(|sid| record.attributes.text(key::PARTICIPANT_ID) == Some(sid))
    };
    let rows = html! {
        @for record in room.events.iter().filter(is_shown) { (row(people, record)) }
    };
    html! {
        section aria-labelledby="events" {
            h2 #events { "Events" }
            (table("Events", "Log records, oldest first", &HEADS, &rows))
            p.dim {
                "Log records of severity debug are not shown; your collector has them."
                @if room.events_forgotten > 0 {
                    " " (room.events_forgotten) " older log records of this room are no longer held."
                }
            }
        }
    }
}

fn row(people: &People<'_>, record: &LogRecord) -> Markup {
    let attributes = &record.attributes[..];
    let source = attributes.text(key::TRACK_SOURCE).or_else(|| attributes.text(key::TRACK_KIND));
    let mut what: Vec<String> = source.map(labels::spoken).into_iter().collect();
    if let Some(publisher) = attributes.text(key::PUBLISHER_ID) {
        what.push(format!("of {}", people.room.who(publisher)));
    }
    what.extend(works::noted(attributes));
    what.extend(labels::remarks(attributes));
    what.extend(attributes.text(key::ERROR).map(str::to_owned));
    html! {
        tr {
            td { (time_of_day(record.time)) }
            td.n { (between(people.room.start(), record.time)) }
            td { code { (name(&*record.event_name)) } }
            td { (severity(record.severity)) }
            td { @if let Some(sid) = attributes.text(key::PARTICIPANT_ID) { (people.who(sid)) } }
            td {
                @for (nth, what) in what.into_iter().enumerate() {
                    @if nth > 0 { ", " }
                    (sentence(what))
                }
            }
        }
    }
}

fn severity(severity: Severity) -> Markup {
    html! {
        @match severity {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => strong.bad { "⚠ warn" },
            Severity::Error => strong.bad { "✗ error" },
        }
    }
}
