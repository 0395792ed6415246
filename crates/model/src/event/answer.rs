//! Questions to LiveKit's API, and its answers.

use std::sync::Arc;

use super::ids::{Identity, RoomName, RoomSid};
use super::occurrence::Event;
use super::rooms::ListedParticipant;
use super::time::Time;

/// Something to ask LiveKit's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The participants of a room (`ListParticipants`).
    Participants {
        /// The room's session id.
        room: RoomSid,
        /// The room's name, which is what the API knows.
        name: RoomName,
    },
    /// One participant of a room (`GetParticipant`).
    Participant {
        /// The room's session id.
        room: RoomSid,
        /// The room's name.
        name: RoomName,
        /// The participant's identity.
        identity: Identity,
    },
    /// The dispatches of agents to a room (`ListDispatch`).
    Dispatches {
        /// The room's session id.
        room: RoomSid,
        /// The room's name.
        name: RoomName,
    },
    /// All active egresses (`ListEgress`).
    Egresses,
    /// All ingresses (`ListIngress`).
    Ingresses,
}

/// An answer of LiveKit's API. It is an input like any other message.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// When the question was asked.
    pub at: Time,
    /// What was answered.
    pub content: Answered,
}

/// What LiveKit's API answered to a [`Question`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// The participants of a room.
    Participants {
        /// The room's session id.
        room: RoomSid,
        /// All of them, without those that have disconnected.
        participants: Vec<ListedParticipant>,
    },
    /// One participant of a room.
    Participant {
        /// The room's session id.
        room: RoomSid,
        /// The identity that was asked for.
        identity: Identity,
        /// `None` if it is gone.
        participant: Option<ListedParticipant>,
    },
    /// The dispatches of agents to a room.
    Dispatches {
        /// The room's session id.
        room: RoomSid,
        /// All of them.
        dispatches: Vec<Dispatch>,
    },
    /// The active egresses.
    Egresses(WorkList),
    /// The ingresses.
    Ingresses(WorkList),
}

/// Listed egresses or ingresses.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkList {
    /// Each has [`Event::work`], read as in an event; it is not an event that happened.
    pub events: Vec<Event>,
    /// Whether these are all of them, and not the first page.
    pub is_complete: bool,
}

/// A dispatch of an agent to a room (`livekit.AgentDispatch`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Its id, `AD_…`.
    pub id: Arc<str>,
    /// The agent's name; `None` for an automatic dispatch, which each room has.
    pub agent_name: Option<Arc<str>>,
    /// When it was created.
    pub created: Option<Time>,
    /// When it was deleted.
    pub deleted: Option<Time>,
    /// Its jobs.
    pub jobs: Vec<DispatchJob>,
}

/// A job of a dispatch. It is a snapshot of the job's assignment, which the server never updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchJob {
    /// Its id, `AJ_…`.
    pub id: Arc<str>,
    /// Its status as LiveKit names it, such as `JS_RUNNING`.
    pub status: Option<Arc<str>>,
    /// The identity of the agent's participant; `None` if no worker has accepted the job.
    pub identity: Option<Identity>,
    /// The worker's id.
    pub worker: Option<Arc<str>>,
    /// When it started.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// Its error.
    pub error: Option<Arc<str>>,
}
