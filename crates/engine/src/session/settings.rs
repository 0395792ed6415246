//! How sessions become traces.

use std::sync::Arc;
use std::time::Duration;

use livekit_otel_model::signal::TraceId;

/// How long things are waited for, and what is one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a participant's spans wait for its last stats. Servers flush those
    /// every 30 s, after the participant left.
    pub linger: Duration,
    /// How long a webhook waits for its twin in the analytics, where those are connected.
    pub twin_wait: Duration,
    /// After how long without a word a room counts as over, though nobody told its end.
    pub silent_after: Duration,
    /// How long what has ended is kept for what comes late of it.
    pub keep_ended: Duration,
    /// How long ids of what is kept no more are remembered, so that no second span is made of it.
    pub keep_ended_ids: Duration,
    /// How many bytes ended rooms may take; past it the oldest are forgotten early.
    pub max_ended: usize,
    /// How many ids are remembered of messages that were seen, and of rooms that are forgotten; past it
    /// the oldest are forgotten early.
    pub max_ids: usize,
    /// What shares a trace.
    pub scope: Scope,
    /// How many spans a trace has at most.
    pub max_spans: usize,
    /// How old a room's trace may be for those who join it.
    pub max_age: Duration,
    /// Whether each subscription has a span, from its answer to its end: in a room of many there are
    /// as many as its square.
    pub subscriptions: bool,
    /// Where a trace is looked at, with `{trace_id}` for its id.
    pub trace_url: Option<Arc<str>>,
}

/// What shares a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// A room and all that happens in it, as long as the trace has room for it.
    #[default]
    Room,
    /// Each participant with all that it does; a room has a trace of its own.
    Participant,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(35),
            twin_wait: Duration::from_secs(2),
            silent_after: Duration::from_hours(24),
            keep_ended: Duration::from_hours(1),
            keep_ended_ids: Duration::from_hours(48),
            max_ended: 128 << 20,
            max_ids: 3_500_000,
            scope: Scope::Room,
            max_spans: 5000,
            max_age: Duration::from_hours(6),
            subscriptions: false,
            trace_url: None,
        }
    }
}

impl Settings {
    /// Where a trace is looked at; `None` where that is not set.
    pub fn url_of(&self, trace: &TraceId) -> Option<String> {
        let url = self.trace_url.as_deref()?;
        Some(url.replace("{trace_id}", &hex(trace)))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
