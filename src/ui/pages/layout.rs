//! The frame of all pages, and their common parts.

use maud::{DOCTYPE, Markup, html};

use super::banner::banner;
use super::context::Context;
use super::outside::{Outside, name};
use super::time::utc;
use super::url::encoded;
use crate::ui::store::{Room, State};

/// The current page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Rooms,
    Failures,
    Apart,
    Room,
    Delivery,
    Nowhere,
}

/// The path of what failed in all rooms.
pub(super) const FAILURES: &str = "/ui/failures";
/// The path of what is outside of rooms.
pub(super) const APART: &str = "/ui/outside";

pub(super) fn page(title: &str, here: Here, context: &Context, main: &Markup) -> String {
    let link = |to: Here, href: &str, text: &str| {
        html! { a href=(href) aria-current=[(here == to).then_some("page")] { (text) } }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – livekit-otel" }
                link rel="stylesheet" href="/ui/style.css";
                link rel="icon" type="image/svg+xml" href="/ui/icon.svg";
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    nav aria-label="Pages" {
                        span.brand { "livekit-otel" }
                        (link(Here::Rooms, "/ui", "Rooms"))
                        (link(Here::Failures, FAILURES, "What failed"))
                        (link(Here::Apart, APART, "Outside of rooms"))
                        (link(Here::Delivery, "/ui/delivery", "Delivery"))
                    }
                    p.asof {
                        "As of " (utc(context.now))
                        @if here != Here::Nowhere { " " (follow(context)) }
                    }
                }
                (banner(context))
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        "livekit-otel " (env!("CARGO_PKG_VERSION"))
                        ". From the memory of this process since it started; your collector has "
                        "everything. Times are UTC."
                        @if context.missed > 0 {
                            " " (context.missed) " records are missing here, as they arrived too fast."
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

// A page refreshes itself only on request.
fn follow(context: &Context) -> Markup {
    let [still, refreshing] = [false, true].map(|it| context.url(&context.filter, it));
    html! {
        @if context.refreshes {
            a href=(still) { "Stop refreshing" }
        } @else {
            a href=(refreshing) { "Refresh every 5 s" }
        }
    }
}

/// A number of failures, with a text and a symbol, since colour alone is not enough.
pub(super) fn failures(n: usize) -> Markup {
    html! {
        @if n > 0 { strong.bad { "✗ " (n) " failed" } } @else { span.dim { "none" } }
    }
}

/// The page for a wrong path.
pub(in crate::ui) fn not_found(what: &str, context: &Context) -> String {
    let main = html! {
        h1 { "Not found" }
        p { (what) }
        p { a href="/ui" { "All rooms" } }
    };
    page("Not found", Here::Nowhere, context, &main)
}

/// The path of a room's page, or of a participant's.
pub(super) fn path(room: &str, participant: Option<&str>) -> String {
    let room = encoded(room);
    match participant {
        None => format!("/ui/rooms/{room}"),
        Some(sid) => format!("/ui/rooms/{room}/participants/{}", encoded(sid)),
    }
}

/// The name of a room.
pub(super) fn room_name(room: &Room) -> Outside<'_> {
    name(room.name.as_deref().unwrap_or("(no name)"))
}

/// A state, as a word and a symbol.
pub(super) fn state(state: State) -> Markup {
    html! {
        @match state {
            State::Open => span.live { "● open" },
            State::Ending => span.live { "◐ ending" },
            State::Over => span.dim { "○ ended" },
        }
    }
}
