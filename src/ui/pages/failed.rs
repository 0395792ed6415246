//! What failed, each failure once: of a room, of its agents, and outside of rooms.

use maud::{Markup, html};

use super::layout::{APART, path};
use super::outside::{name, sentence};
use super::people::{People, is_of_a_participant};
use super::sort::Cell;
use super::turns::{self, what};
use super::waterfall::id;
use super::works;
use crate::ui::store::{Apart, Bar, Failure, What};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, LogRecord};
use livekit_otel_tools::labels::{AttributeLookup, count};

#[cfg(test)]
pub(super) mod tests;

/// A failure.
pub(super) struct Failed<'a> {
    /// When it was over, or known to be stuck.
    pub(super) at: Time,
    // Whether it is stuck now.
    is_stuck: bool,
    /// What kind of thing failed: a span's or an event's name.
    pub(super) kind: &'a str,
    pub(super) what: Markup,
    /// The participant's SID.
    pub(super) sid: Option<&'a str>,
    /// The participant as it is shown: its identity, its SID, or the job of an agent.
    pub(super) who: Option<&'a str>,
    /// The other texts by which it is found: telephone numbers.
    numbers: [Option<&'a str>; 2],
    pub(super) error: &'a str,
    pub(super) reason: Markup,
    pub(super) place: Place,
}

/// Where its attributes are: the id of a part of a page.
pub(super) enum Place {
    /// In a participant's part of the waterfall.
    Participant(String),
    /// In the room's waterfall, and in that of the operation's participant.
    Work(String),
    /// On the room's page alone.
    Room(String),
    /// Nowhere.
    Nowhere,
}

impl<'a> Failed<'a> {
    /// The texts by which its participant is found.
    pub(super) fn names(&self) -> impl Iterator<Item = Option<&'a str>> {
        [self.who, self.sid].into_iter().chain(self.numbers)
    }

    /// Whether it failed after a time, or still does.
    pub(super) fn is_since(&self, after: Option<Time>) -> bool {
        self.is_stuck || after.is_none_or(|after| self.at >= after)
    }

    /// The value by which it is ordered in a table.
    pub(super) fn cell(&self, key: &str) -> Cell {
        match key {
            "what" => Cell::text(self.kind),
            "participants" => self.who.map_or(Cell::Nothing, Cell::text),
            "error" => Cell::text(self.error),
            _ => Cell::at(self.at),
        }
    }

    /// What failed, with a link if there is a place to lead to.
    pub(super) fn linked(&self, to: Option<String>) -> Markup {
        html! {
            @if let Some(to) = to { a.bad href=(to) { "✗ " (self.what) } }
            @else { span.bad { "✗ " (self.what) } }
        }
    }

    /// Its URL on another page: in the room `sid`, or outside of rooms.
    pub(super) fn url(&self, room: Option<&str>) -> String {
        let Some(room) = room else {
            return match &self.place {
                Place::Work(id) | Place::Room(id) => format!("{APART}#{id}"),
                _ => APART.to_owned(),
            };
        };
        match &self.place {
            Place::Participant(id) => format!("{}#{id}", path(room, self.sid)),
            Place::Work(id) | Place::Room(id) => format!("{}#{id}", path(room, None)),
            Place::Nowhere => format!("{}#failures", path(room, None)),
        }
    }
}

/// What failed of a room, oldest first.
pub(super) fn of_room<'p>(people: &'p People<'_>) -> Vec<Failed<'p>> {
    let bars = people.failed_bars.iter().map(|bar| of_bar(people, bar));
    let agents = people.failed.iter().map(|failure| of_agent(people, failure));
    let records = people.room.failed_records().map(|record| of_record(people, record));
    let mut all: Vec<_> = bars.chain(agents).chain(records).collect();
    all.sort_by_key(|failed| failed.at);
    all
}

/// What failed outside of rooms, oldest first.
pub(super) fn apart(apart: &Apart) -> Vec<Failed<'_>> {
    let failed = apart.bars().filter(|bar| bar.failed() || bar.stuck().is_some());
    let mut all: Vec<_> = failed
        .map(|bar| Failed {
            what: html! { (name(works::label(bar).unwrap_or_else(|| bar.name.to_owned()))) },
            who: bar.text(key::PARTICIPANT_IDENTITY).or(bar.participant()),
            ..bare(bar)
        })
        .collect();
    all.sort_by_key(|failed| failed.at);
    all
}

fn of_bar<'p>(people: &'p People<'_>, bar: &'p Bar) -> Failed<'p> {
    let label = if bar.name == span::PARTICIPANT { name(bar.name) } else { people.label(bar) };
    Failed {
        what: html! { (label) },
        who: bar.participant().map(|sid| people.room.who(sid)),
        ..bare(bar)
    }
}

// Without its label and its participant's name.
fn bare(bar: &Bar) -> Failed<'_> {
    let why = bar.error_message().map(str::to_owned).or_else(|| works::why(bar));
    Failed {
        at: bar.end.or(bar.stuck_at).unwrap_or(bar.start),
        is_stuck: bar.stuck().is_some(),
        kind: bar.name,
        what: html! {},
        sid: bar.participant(),
        who: None,
        numbers: numbers(&bar.attributes),
        error: if bar.failed() { bar.error_type() } else { "stuck" },
        reason: reason(why),
        place: match id(bar) {
            id if is_of_a_participant(bar) => Place::Participant(id),
            id if bar.is_work() => Place::Work(id),
            id => Place::Room(id),
        },
    }
}

/// The telephone numbers of a SIP call.
pub(super) fn numbers(attributes: &[Attribute]) -> [Option<&str>; 2] {
    [key::SIP_PHONE_NUMBER, key::SIP_TRUNK_PHONE_NUMBER].map(|key| attributes.text(key))
}

// A failure of an agent, with its turn if that is on the page.
fn of_agent<'p>(people: &'p People<'_>, failure: &'p Failure<'_>) -> Failed<'p> {
    let turn = people.turns.iter().position(|turn| turn.has(failure));
    let sid = people.room.agent(failure.job);
    let id = turn.and_then(|place| turns::id_of(people, place));
    Failed {
        at: failure.end,
        is_stuck: false,
        kind: match failure.what {
            What::Model(..) => "model",
            What::Tool(_) => "tool",
            What::Speech(..) => "speech",
            What::Job => "agent job",
            What::Session => "agent session",
            What::Span(name) => name,
        },
        what: what(&failure.what),
        sid,
        who: sid.map(|sid| people.room.who(sid)).or(failure.job),
        numbers: [None; 2],
        error: failure.error,
        reason: attempts(failure, turn),
        place: id.map_or(Place::Nowhere, Place::Room),
    }
}

fn of_record<'p>(people: &'p People<'_>, record: &'p LogRecord) -> Failed<'p> {
    let text = |key| record.attributes.text(key);
    let sid = text(key::PARTICIPANT_ID);
    Failed {
        at: record.time,
        is_stuck: false,
        kind: &record.event_name,
        what: html! { (name(&*record.event_name)) },
        sid,
        who: sid.map(|sid| people.room.who(sid)),
        numbers: [None; 2],
        error: text(key::ERROR_TYPE).unwrap_or("error"),
        reason: reason(text(key::ERROR).map(str::to_owned)),
        place: Place::Nowhere,
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

fn reason(message: Option<String>) -> Markup {
    html! { @if let Some(message) = message { (sentence(message)) } @else { "unknown" } }
}
