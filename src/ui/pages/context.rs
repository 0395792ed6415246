//! The circumstances in which a page is requested.

use std::sync::Arc;

use super::filter::Filter;
use livekit_otel_model::event::Time;

/// The input of every page besides the store.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Context {
    /// The time of the request.
    pub(in crate::ui) now: Time,
    /// The path, without its query.
    pub(in crate::ui) path: String,
    /// What its list is limited to.
    pub(in crate::ui) filter: Filter,
    /// Whether the page refreshes itself.
    pub(in crate::ui) refreshes: bool,
    /// The URL of a trace, with `{trace_id}` in it.
    pub(in crate::ui) trace_url: Option<Arc<str>>,
    /// How many records the tap left out.
    pub(in crate::ui) missed: u64,
}
