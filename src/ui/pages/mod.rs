//! The pages as HTML and SVG. They are functions of the store and a [`Context`]. maud escapes all
//! foreign text, and [`outside`] isolates it from the text around it.

mod apart;
mod banner;
mod context;
mod delivery;
mod events;
mod everywhere;
mod failed;
mod failures;
mod filter;
mod form;
mod layout;
mod outside;
mod participants;
mod people;
mod plot;
mod quality;
mod room;
mod rooms;
mod scale;
mod sort;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod turns;
mod url;
mod waterfall;
mod works;

pub(super) use apart::apart;
pub(super) use context::Context;
pub(super) use delivery::delivery;
pub(super) use everywhere::everywhere;
pub(super) use filter::Filter;
pub(super) use layout::not_found;
pub(super) use room::{participant, room};
pub(super) use rooms::rooms;

#[cfg(test)]
pub(super) use failed::tests::Counted;
