//! What is simulated.

use std::time::Duration;

/// What is simulated. The same settings and start give the same messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many rooms there are at once; at least 1.
    pub rooms: usize,
    /// How many participants are in each; at least 1.
    pub participants: usize,
    /// How many tracks each participant publishes.
    pub tracks: usize,
    /// Whether each participant is subscribed to the others' tracks: it grows with the square.
    pub subscribe: bool,
    /// From the first room's beginning to the last one's end; longer than nothing.
    pub duration: Duration,
    /// How often stats windows are told; longer than nothing.
    pub interval: Duration,
    /// What decides all that chance does.
    pub seed: u64,
    /// The part of packets that is lost, over all participants.
    pub loss: f64,
    /// The part of participants that fail.
    pub failures: f64,
    /// Whether webhooks are told.
    pub webhooks: bool,
    /// Whether events and stats are told.
    pub analytics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rooms: 10,
            participants: 5,
            tracks: 2,
            subscribe: false,
            duration: Duration::from_mins(1),
            interval: Duration::from_secs(30),
            seed: 1,
            loss: 0.0,
            failures: 0.0,
            webhooks: true,
            analytics: true,
        }
    }
}
