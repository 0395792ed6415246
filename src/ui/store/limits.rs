//! The limits of the store.

/// The most that is held.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Limits {
    /// Rooms.
    pub(in crate::ui) rooms: usize,
    /// Bytes of all rooms, approximately.
    pub(in crate::ui) bytes: usize,
    /// Spans of a room; a quarter more for failures and participants.
    pub(in crate::ui) spans: usize,
    /// Events of a room.
    pub(in crate::ui) events: usize,
    /// Participants of a room with stats windows.
    pub(in crate::ui) participants: usize,
    /// Stats windows of a participant, in each direction.
    pub(in crate::ui) windows: usize,
    /// Agents' spans of a room that are stages of turns; the newest are held.
    pub(in crate::ui) agent_spans: usize,
    /// Agents' failed spans of a room; the newest are held.
    pub(in crate::ui) agent_failures: usize,
    /// Agents' jobs of a room.
    pub(in crate::ui) jobs: usize,
    /// Operations outside of rooms: running ones, ended ones, and failed requests.
    pub(in crate::ui) apart: usize,
    /// Bytes of operations outside of rooms, approximately.
    pub(in crate::ui) apart_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 500,
            bytes: 64 << 20,
            spans: 4000,
            events: 300,
            participants: 500,
            // Six hours of half minutes.
            windows: 720,
            // A turn has 10 to 20.
            agent_spans: 4000,
            agent_failures: 400,
            jobs: 100,
            apart: 500,
            apart_bytes: 4 << 20,
        }
    }
}
