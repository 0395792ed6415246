//! A room's bars as a tree, each on a common time axis.

use maud::{Markup, html};

use super::layout::path;
use super::outside::{Outside, name, sentence};
use super::people::{People, Person};
use super::scale;
use super::time::{Axis, between, exact, percent};
use super::works;
use crate::ui::store::Bar;
use livekit_otel_model::event::Time;
use livekit_otel_model::hex;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::Value;
use livekit_otel_tools::labels;

/// The most participants in a room's waterfall. Each has its own page.
pub(super) const MOST_PARTICIPANTS: usize = 25;
// The most bars of a participant on a room's page. Failures are always shown.
const MOST_CHILDREN: usize = 16;
// The most operations on a room's page. Failures are always shown.
const MOST_WORKS: usize = 50;
const TICKS: u64 = 5;

/// The id of a bar's attributes on the page.
pub(super) fn id(bar: &Bar) -> String {
    match bar.sent {
        Some((_, id)) => format!("s-{}", hex(&id)),
        None => {
            let sid = |key| bar.text(key).unwrap_or_default();
            let of = match bar.work_id() {
                // Its sessions have one id.
                Some(id) if bar.name == span::INGRESS => format!("{id}{}", bar.start.nanos()),
                Some(id) => id.to_owned(),
                None => [key::PARTICIPANT_ID, key::TRACK_ID].map(sid).concat(),
            };
            let mut id = format!("o-{}", bar.name.replace(' ', "-"));
            id.extend(of.chars().filter(char::is_ascii_alphanumeric));
            id
        }
    }
}

/// The waterfall of a room, or of one participant.
pub(super) struct Waterfall<'a> {
    pub(super) people: &'a People<'a>,
    pub(super) shown: Vec<&'a Person<'a>>,
    /// Whether one participant is shown with all its bars.
    pub(super) is_whole: bool,
    pub(super) axis: Axis,
}

impl<'a> Waterfall<'a> {
    pub(super) fn draw(&self) -> Markup {
        html! {
            section aria-labelledby="waterfall" {
                h2 #waterfall { "Waterfall" }
                p.key aria-hidden="true" {
                    @for (class, name) in [("connect", "connect"), ("publish", "publish"),
                        ("track", "track"), ("subscribe", "subscribe"),
                        ("work", "call, agent, recording"), ("other", "other")] {
                        svg width="14" height="10" { rect class={ "b " (class) } width="14" height="10" {} }
                        " " (name) " "
                    }
                    span { "✗ failed" } " " span { "▸ open" } " " span { "┆ end inferred" }
                }
                table.waterfall {
                    caption.hidden {
                        "Spans by participant, with the time from the room's start and the duration. The "
                        "link in a line shows its attributes below it."
                    }
                    thead { tr {
                        th scope="col" { "Span" }
                        th.n scope="col" { "Start" }
                        th.n scope="col" { "Duration" }
                        th.time scope="col" {
                            span.hidden { "Timeline" }
                            (scale::labels(self.axis, TICKS))
                        }
                    } }
                    @if let Some(own) = self.people.room.own().filter(|_| !self.is_whole) {
                        tbody { (self.line(own, &name("room"), 0)) }
                    }
                    (self.room_bars(&self.works(), MOST_WORKS))
                    @for person in &self.shown { (self.person(person)) }
                    @if !self.is_whole { (self.room_bars(&self.people.others, MOST_CHILDREN)) }
                }
            }
        }
    }

    // The operations of the room, or of its one participant.
    fn works(&self) -> Vec<&'a Bar> {
        let is_of = |bar: &&&Bar| {
            let who = bar.participant();
            !self.is_whole || self.shown.iter().any(|person| Some(person.sid) == who)
        };
        self.people.works.iter().filter(is_of).copied().collect()
    }

    // Bars of the room itself. Those that failed are always there.
    fn room_bars(&self, bars: &[&Bar], most: usize) -> Markup {
        let (shown, cut) = split(bars, most);
        html! {
            @if !shown.is_empty() {
                tbody {
                    @for bar in shown {
                        @let level = if bar.name == span::SIP_TRANSFER { 2 } else { 1 };
                        (self.line(bar, &self.people.label(bar), level))
                    }
                    @if cut > 0 { tr { td.l1.dim colspan="4" { "… and " (cut) " more" } } }
                }
            }
        }
    }

    fn person(&self, person: &Person<'a>) -> Markup {
        let most = if self.is_whole { usize::MAX } else { MOST_CHILDREN };
        let (shown, cut) = split(&person.children, most);
        let who = self.people.who(person.sid);
        html! {
            tbody {
                @match person.own {
                    Some(own) => (self.line(own, &who, 1)),
                    None => tr { th.l1 scope="rowgroup" colspan="4" {
                        (who) span.dim { " (the join was not reported)" }
                    } },
                }
                @for bar in shown { (self.line(bar, &self.people.label(bar), 2)) }
                @if cut > 0 {
                    tr { td.l2.dim colspan="4" {
                        "… and " (cut) " more: "
                        a href=(path(&self.people.room.sid, Some(person.sid))) {
                            "all of " (who)
                        }
                    } }
                }
            }
        }
    }

    // A line, and its attributes, which CSS shows when its link is followed.
    fn line(&self, bar: &Bar, label: &Outside<'_>, level: usize) -> Markup {
        let id = id(bar);
        let end = bar.end.unwrap_or(self.axis.end);
        let notes = remarks(bar);
        let scope = if level < 2 { "rowgroup" } else { "row" };
        html! {
            tr {
                th class={ "l" (level) } scope=(scope) {
                    a href={ "#" (id) } { (label) }
                    // Several in a room look alike.
                    @if matches!(bar.name, span::EGRESS | span::INGRESS)
                        && let Some(id) = bar.work_id() { " " code { (name(id)) } }
                    @if bar.failed() { " " strong.bad { "✗ failed: " (name(bar.error_type())) } }
                    @if bar.end.is_none() { " " span.live { "▸ open" } }
                    @if !notes.is_empty() {
                        @let class = if bar.stuck().is_some() { "bad" } else { "dim" };
                        " " span class=(class) { (sentence(notes.join(", "))) }
                    }
                }
                td.n { (between(self.axis.start, bar.start)) }
                td.n { (between(bar.start, end)) }
                td.time { (self.bar(bar, end)) }
            }
            (more(bar, &id, 4, "waterfall"))
        }
    }

    fn bar(&self, bar: &Bar, end: Time) -> Markup {
        let (from, to) = (self.axis.part(bar.start), self.axis.part(end));
        let class = match bar.name {
            span::ROOM | span::PARTICIPANT => "whole",
            span::PARTICIPANT_CONNECT => "connect",
            span::TRACK_PUBLISH => "publish",
            span::TRACK | span::SUBSCRIPTION => "track",
            span::TRACK_SUBSCRIBE => "subscribe",
            _ if bar.is_work() => "work",
            _ => "other",
        };
        let (y, height) = if class == "whole" { ("6", "4") } else { ("3", "10") };
        html! {
            svg.bar aria-hidden="true" focusable="false" {
                (scale::lines(self.axis, TICKS))
                rect class={ "b " (class) } x=(percent(from)) width=(percent(to - from)) y=(y) height=(height) {}
                // A stroke at its start, which keeps very short bars visible.
                @let at = percent(from);
                line class={ "s " (class) } x1=(at) x2=(at) y1="3" y2="13" {}
                // A symbol at the end, sized in pixels.
                svg x=(percent(to)) width="1" height="16" overflow="visible" {
                    @if bar.failed() {
                        path.cross d="M-4 4 L4 12 M4 4 L-4 12" {}
                    } @else if bar.end.is_none() {
                        path.open d="M-5 3 L1 8 L-5 13 Z" {}
                    } @else if bar.text(key::END_INFERRED).is_some() {
                        path.inferred d="M0 0 V16" {}
                    }
                }
            }
        }
    }
}

// The first bars up to the limit and all that failed, in their order, and how many others there are.
fn split<'b>(bars: &[&'b Bar], most: usize) -> (Vec<&'b Bar>, usize) {
    let mut place = 0;
    let is_shown = |bar: &&&Bar| {
        let failed = bar.failed() || bar.stuck().is_some();
        place += usize::from(!failed);
        failed || place <= most
    };
    let shown: Vec<_> = bars.iter().filter(is_shown).copied().collect();
    let cut = bars.len() - shown.len();
    (shown, cut)
}

/// Remarks about a bar: of a participant, what kind it is if it is no client of a person.
pub(super) fn remarks(bar: &Bar) -> Vec<String> {
    let kind = bar.text(key::PARTICIPANT_KIND).filter(|_| bar.name == span::PARTICIPANT);
    let kind = kind.filter(|kind| *kind != "STANDARD").map(kind_of);
    let own = works::remarks(bar).into_iter().chain(labels::remarks(&bar.attributes[..]));
    kind.into_iter().chain(own).collect()
}

/// A participant's kind in words.
pub(super) fn kind_of(kind: &str) -> String {
    if kind == "SIP" { kind.to_owned() } else { labels::spoken(kind) }
}

/// The row below a bar's, with its attributes, which CSS shows when the bar's link is followed. It closes by a
/// link to `up`.
pub(super) fn more(bar: &Bar, id: &str, columns: usize, up: &str) -> Markup {
    html! {
        tr.more id=(id) { td colspan=(columns) {
            (attributes(bar))
            p { a href={ "#" (up) } { "Close" } }
        } }
    }
}

fn attributes(bar: &Bar) -> Markup {
    html! {
        dl.attributes {
            (pair("name", bar.name))
            @if let Some((trace, id)) = &bar.sent {
                (pair("trace id", &hex(trace)))
                (pair("span id", &hex(id)))
            }
            div { dt { "from" } dd { (exact(bar.start)) } }
            @if let Some(end) = bar.end {
                div { dt { "to" } dd { (exact(end)) } }
            }
            @if bar.failed() { (pair("status", bar.error_type())) }
            @for attribute in &bar.attributes {
                (pair(attribute.key, &text(&attribute.value)))
            }
        }
    }
}

fn pair(key: &str, value: &str) -> Markup {
    html! { div { dt { (key) } dd { (sentence(value)) } } }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(count) => count.to_string(),
        Value::Float(measure) => measure.to_string(),
        Value::Text(text) => text.to_string(),
    }
}
