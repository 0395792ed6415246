//! The pages: what is held, as HTML and SVG. Functions of what they are given; the macro escapes all
//! that others wrote, and [`outside`] keeps it apart.

mod delivery;
mod events;
mod failures;
mod layout;
mod outside;
mod people;
mod plot;
mod quality;
mod room;
mod rooms;
#[cfg(test)]
mod tests;
mod time;
mod waterfall;

pub(super) use delivery::delivery;
pub(super) use layout::not_found;
pub(super) use room::{participant, room};
pub(super) use rooms::rooms;

use std::sync::Arc;

use livekit_otel_model::event::Time;

/// What every page is told.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// When it is looked at.
    pub(super) now: Time,
    /// The path, with the query that stands for being loaded again and again.
    pub(super) path: String,
    /// Whether it is loaded again and again.
    pub(super) follows: bool,
    /// Where traces are looked at, with `{trace_id}` in it.
    pub(super) trace_url: Option<Arc<str>>,
    /// How many records there was no time for.
    pub(super) missed: u64,
}
