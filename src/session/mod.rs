//! Sans-IO.

use std::time::Duration;

/// How long things are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a participant's spans wait for its last stats.
    pub linger: Duration,
    /// How long a webhook waits for its twin in the analytics, where those are connected.
    pub twin_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { linger: Duration::from_secs(35), twin_wait: Duration::from_secs(2) }
    }
}
