//! The circumstances in which a page is requested.

use std::sync::Arc;

use super::filter::Filter;
use livekit_otel_ledger::Snapshot;
use livekit_otel_ledger::health::Report;
use livekit_otel_model::event::Time;

/// The input of every page besides the store.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Context {
    /// The time of the request.
    pub(in crate::ui) now: Time,
    /// The path, without its query.
    pub(in crate::ui) path: String,
    /// What its lists are limited to, and their order.
    pub(in crate::ui) filter: Filter,
    /// Whether the page refreshes itself.
    pub(in crate::ui) refreshes: bool,
    /// The URL of a trace, with `{trace_id}` in it.
    pub(in crate::ui) trace_url: Option<Arc<str>>,
    /// How many records the tap left out.
    pub(in crate::ui) missed: u64,
    /// What does not work.
    pub(in crate::ui) health: Report,
    pub(in crate::ui) ledger: Snapshot,
}

impl Context {
    /// The URL of the same page with another filter, that refreshes itself or does not.
    pub(super) fn url(&self, filter: &Filter, refreshes: bool) -> String {
        let query = filter.query().into_iter().chain(refreshes.then(|| "refresh".to_owned()));
        let query: Vec<String> = query.collect();
        if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, query.join("&"))
        }
    }
}
