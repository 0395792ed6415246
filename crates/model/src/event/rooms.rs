//! Which rooms there are at a moment, as a node or LiveKit's API lists them.

use super::{Event, Identity, NodeId, ParticipantSid, RoomName, RoomSid, Time};

/// A list of open rooms.
#[derive(Debug, Clone, PartialEq)]
pub struct Rooms {
    /// When it was true, where the origin says so.
    pub at: Option<Time>,
    /// Which rooms it would have if they were open.
    pub scope: Scope,
    /// What it has.
    pub rooms: Vec<ListedRoom>,
    /// The event that decoded it is, for a node's.
    pub event: Option<Box<Event>>,
}

/// Of which rooms a list has all that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of the deployment: LiveKit's API.
    Deployment,
    /// Those of one node.
    Node(NodeId),
    /// Those of a node that it does not name: what is not listed may be anywhere.
    Unnamed,
}

/// An open room.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedRoom {
    /// Its session id.
    pub sid: RoomSid,
    /// Its name.
    pub name: Option<RoomName>,
    /// When it was created.
    pub created: Option<Time>,
    /// Who is there, without those that have disconnected; `None` where the list does not say.
    pub participants: Option<Vec<ListedParticipant>>,
}

/// A participant of an open room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedParticipant {
    /// Its session id.
    pub sid: ParticipantSid,
    /// Its identity.
    pub identity: Option<Identity>,
    /// `ParticipantInfo.Kind` in lower case, where the list says it.
    pub kind: Option<std::sync::Arc<str>>,
    /// When its signal connection was made.
    pub joined: Option<Time>,
    /// Whether it is forwarded from another room, where it is told of.
    pub is_forwarded: bool,
}
