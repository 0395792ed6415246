//! The data that the other crates exchange: events reported by LiveKit ([`event`]), and the spans, log
//! records and metric points made from them ([`signal`]), under the names of [`semconv`], for a [`sink`].
//!
//! It knows no message format and does no I/O.

mod counts;
pub mod event;
#[doc(hidden)]
pub mod interned;
#[doc(hidden)]
pub mod printable;
pub mod privacy;
pub mod semconv;
pub mod signal;
pub mod sink;
mod source;

use std::time::Duration;

pub use source::{Signal, Source};

/// How long an event's id is remembered. LiveKit's webhook tokens are valid for 5 minutes, and its
/// sender retries for 15 seconds.
pub const REMEMBERED: Duration = Duration::from_mins(15);
