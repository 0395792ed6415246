//! The settings of a simulation.

use std::time::Duration;

/// The settings of a simulation. The same settings and start produce the same messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The number of concurrent rooms; at least 1.
    pub rooms: usize,
    /// The number of participants in each room; at least 1.
    pub participants: usize,
    /// The number of agents in each room, besides its participants.
    pub agents: usize,
    /// The number of tracks that each participant publishes.
    pub tracks: usize,
    /// Whether each participant subscribes to the others' tracks. The load grows with the square.
    pub subscribe: bool,
    /// The time from the start of the first room to the end of the last; more than zero.
    pub duration: Duration,
    /// The length of a stats window; more than zero.
    pub interval: Duration,
    /// The seed of all random choices.
    pub seed: u64,
    /// The ratio of lost packets, over all participants.
    pub loss: f64,
    /// The ratio of participants that fail.
    pub failures: f64,
    /// Whether webhooks are sent.
    pub webhooks: bool,
    /// Whether events and stats are sent.
    pub analytics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rooms: 10,
            participants: 5,
            agents: 0,
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
