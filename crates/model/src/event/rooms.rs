//! Lists of open rooms, from a node or from LiveKit's API.

use super::ids::{Identity, NodeId, ParticipantSid, RoomName, RoomSid};
use super::occurrence::Event;
use super::sip::SipCall;
use super::time::Time;

/// A list of open rooms.
#[derive(Debug, Clone, PartialEq)]
pub struct Rooms {
    /// The time that it describes, if its source reports one.
    pub at: Option<Time>,
    /// The rooms that it would contain if they were open.
    pub coverage: Coverage,
    /// The rooms that it contains.
    pub rooms: Vec<ListedRoom>,
    /// A node's list is an event too: this one.
    pub event: Option<Box<Event>>,
}

/// The rooms that a list covers: it contains all of them that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coverage {
    /// All rooms of the deployment: LiveKit's API.
    Deployment,
    /// The rooms of one node.
    Node(NodeId),
    /// The rooms of a node that is not named: a room that is missing may be on another node.
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
    /// Its participants, without those that have disconnected; `None` if the list does not contain
    /// participants.
    pub participants: Option<Vec<ListedParticipant>>,
    /// How many participants it has, without those of kind `AGENT` and `EGRESS`, as of up to 5 s before, if
    /// the list contains it.
    pub size: Option<u32>,
}

/// A participant of an open room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedParticipant {
    /// Its session id.
    pub sid: ParticipantSid,
    /// Its identity.
    pub identity: Option<Identity>,
    /// `ParticipantInfo.Kind` in lower case, if the list contains it.
    pub kind: Option<std::sync::Arc<str>>,
    /// When its signal connection was made.
    pub joined: Option<Time>,
    /// Whether it is forwarded from another room, in which it is reported.
    pub is_forwarded: bool,
    /// Its SIP call, if it has one and the list contains it.
    pub sip: Option<SipCall>,
}
