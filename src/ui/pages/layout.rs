//! What all pages have around them.

use std::fmt::Write;

use maud::{DOCTYPE, Markup, html};

use super::Look;
use super::time::utc;

/// Which page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Rooms,
    Room,
    Delivery,
    Nowhere,
}

pub(super) fn page(title: &str, here: Here, look: &Look, main: &Markup) -> String {
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
                        (link(Here::Delivery, "/ui/delivery", "Delivery"))
                    }
                    p.asof {
                        "As of " (utc(look.now))
                        @if here != Here::Nowhere { " " (follow(look)) }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        "livekit-otel " (env!("CARGO_PKG_VERSION"))
                        ". What this process was told since it started, as far as it is held; the "
                        "whole of it went to your collector. Times are UTC."
                        @if look.missed > 0 {
                            " This page had no time for " (look.missed) " records."
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

// Nothing moves unless somebody asks for it.
fn follow(look: &Look) -> Markup {
    html! {
        @if look.follows {
            a href=(look.path) { "Stop refreshing" }
        } @else {
            a href={ (look.path) "?refresh" } { "Refresh every 5 s" }
        }
    }
}

/// A number that matters in words and in form, not by its colour alone.
pub(super) fn failures(n: usize) -> Markup {
    html! {
        @if n > 0 { strong.bad { "✗ " (n) " failed" } } @else { span.dim { "none" } }
    }
}

/// A column's head.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    Text(&'static str),
    Number(&'static str),
}

/// A table that may be wider than the screen: it scrolls by itself, with the keyboard too.
pub(super) fn table(title: &str, caption: &str, heads: &[Head], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ (title) ", a table" } {
            table {
                caption.hidden { (caption) }
                thead { tr {
                    @for head in heads {
                        @match head {
                            Head::Text(head) => th scope="col" { (head) },
                            Head::Number(head) => th.n scope="col" { (head) },
                        }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// The page of what is not there.
pub(in crate::ui) fn not_found(what: &str, look: &Look) -> String {
    let main = html! {
        h1 { "Not found" }
        p { (what) }
        p { a href="/ui" { "All rooms" } }
    };
    page("Not found", Here::Nowhere, look, &main)
}

/// Text as a part of a path.
pub(super) fn segment(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing into a String never fails.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}
