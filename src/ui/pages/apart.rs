//! What is outside of rooms.

use maud::{Markup, html};

use super::context::Context;
use super::layout::{Here, page};
use super::outside::{name, sentence};
use super::table::{Head, table};
use super::time::{between, utc};
use super::waterfall::{id, more, remarks};
use super::works;
use crate::ui::store::{Apart, Bar};

// The most in a table. Failures are on their own page too.
const MOST: usize = 200;

const HEADS: [Head; 4] =
    [Head::Text("What"), Head::Text("State"), Head::Number("Duration"), Head::Text("Started")];

pub(in crate::ui) fn apart(apart: &Apart, context: &Context) -> String {
    let (mut running, mut ended): (Vec<&Bar>, Vec<&Bar>) =
        apart.bars().partition(|bar| bar.end.is_none());
    running.sort_by_key(|bar| std::cmp::Reverse(bar.start));
    ended.sort_by_key(|bar| std::cmp::Reverse((bar.end, bar.start)));
    let main = html! {
        h1 { "Outside of rooms" }
        p.dim {
            "Operations that no known room belongs to: an egress of a web page, an ingress or a SIP call before "
            "its room, and calls of the API and deliveries of webhooks that failed."
        }
        @if running.is_empty() && ended.is_empty() { p { "None yet." } }
        (section("Running", "running", &running, context))
        (section("Ended", "ended", &ended, context))
        @if apart.forgotten > 0 { p.dim { (apart.forgotten) " older ones are no longer held." } }
    };
    page("Outside of rooms", Here::Apart, context, &main)
}

fn section(title: &str, id: &str, bars: &[&Bar], context: &Context) -> Markup {
    let rows = html! { @for bar in bars.iter().take(MOST) { (row(bar, id, context)) } };
    html! {
        @if !bars.is_empty() {
            section.apart aria-labelledby=(id) {
                h2 id=(id) { (title) }
                (table(title, "Operations, newest first", &HEADS, &rows))
                @if bars.len() > MOST { p.dim { "… and " (bars.len() - MOST) " more." } }
            }
        }
    }
}

fn row(bar: &Bar, section: &str, context: &Context) -> Markup {
    let (id, notes) = (id(bar), remarks(bar));
    let label = works::label(bar).unwrap_or_else(|| bar.name.to_owned());
    html! {
        tr {
            th scope="row" {
                a href={ "#" (id) } { (name(label)) }
                @if let Some(what) = bar.work_id() { " " code { (name(what)) } }
                @if let Some(error) = bar.error_message().filter(|_| bar.failed()) { " " (sentence(error)) }
                @if !notes.is_empty() {
                    @let class = if bar.stuck().is_some() { "bad" } else { "dim" };
                    " " span class=(class) { (sentence(notes.join(", "))) }
                }
            }
            td {
                @if bar.failed() { strong.bad { "✗ failed: " (name(bar.error_type())) } }
                @else if bar.end.is_none() { span.live { "● running" } }
                @else { span.dim { "○ ended" } }
            }
            td.n { (between(bar.start, bar.end.unwrap_or(context.now))) }
            td { (utc(bar.start)) }
        }
        (more(bar, &id, HEADS.len(), section))
    }
}
