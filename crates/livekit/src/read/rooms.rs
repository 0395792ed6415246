//! Reads lists of rooms, from a node and from LiveKit's API. Of the API's responses only the fields
//! that are read are kept.

use std::collections::BTreeMap;

use livekit_protocol as lk;
use lk::participant_info::{Kind, KindDetail, State};
use prost::Message;

use super::events::from_node_rooms;
use super::limits::{MOST_ROOMS, limit};
use super::names::{any, time};
use super::schema;
use super::sip;
use super::unknown::Unknown;
use super::unreadable::Unreadable;
use super::wire;
use livekit_otel_model::event::rooms::{Coverage, ListedParticipant, ListedRoom, Rooms};
use livekit_otel_model::event::{self, Identity, NodeId, ParticipantSid, RoomName, RoomSid, Time};

// A part of `livekit.Room`, by its tags. Metadata and the TURN password are not even decoded.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Room {
    #[prost(string, tag = "1")]
    sid: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int64, tag = "5")]
    creation_time: i64,
    #[prost(uint32, optional, tag = "9")]
    num_participants: Option<u32>,
    #[prost(int64, tag = "15")]
    creation_time_ms: i64,
}

// A part of `livekit.ParticipantInfo`, by its tags.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Participant {
    #[prost(string, tag = "1")]
    sid: String,
    #[prost(string, tag = "2")]
    identity: String,
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int64, tag = "6")]
    joined_at: i64,
    #[prost(int32, tag = "14")]
    kind: i32,
    // Of these only the attributes of SIP calls are kept.
    #[prost(btree_map = "string, string", tag = "15")]
    attributes: BTreeMap<String, String>,
    #[prost(int64, tag = "17")]
    joined_at_ms: i64,
    #[prost(int32, repeated, tag = "18")]
    kind_details: Vec<i32>,
}

// `livekit.ListRoomsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RoomList {
    #[prost(message, repeated, tag = "1")]
    pub(super) rooms: Vec<Room>,
}

// `livekit.ListParticipantsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ParticipantList {
    #[prost(message, repeated, tag = "1")]
    pub(super) participants: Vec<Participant>,
}

pub(super) fn response_of<T: Message + Default>(
    name: &str,
    bytes: &[u8],
    unknown: &mut event::Unknown,
) -> Result<T, Unreadable> {
    let response = decode(bytes)?;
    let mut found = Unknown::default();
    wire::count(bytes, schema::message(name), &mut found);
    *unknown += found.counts();
    Ok(response)
}

pub(super) fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, Unreadable> {
    limit(bytes, MOST_ROOMS)?;
    T::decode(bytes).map_err(|_| Unreadable::protobuf())
}

impl Room {
    /// `None` for one without an id.
    pub(super) fn read(&self) -> Option<ListedRoom> {
        Some(ListedRoom {
            sid: RoomSid::new(&self.sid)?,
            name: RoomName::new(&self.name),
            created: Time::from_millis(self.creation_time_ms)
                .or_else(|| Time::from_secs(self.creation_time)),
            participants: None,
            size: self.num_participants,
        })
    }
}

impl RoomList {
    /// Those that have an id and a name.
    pub(super) fn reduced(mut self) -> Self {
        self.rooms.retain(|room| !room.sid.is_empty() && !room.name.is_empty());
        for room in &mut self.rooms {
            // proto3 leaves out 0.
            room.num_participants.get_or_insert_default();
        }
        self
    }
}

impl ParticipantList {
    /// Without the attributes that are not read.
    pub(super) fn reduced(mut self) -> Self {
        for participant in &mut self.participants {
            participant.attributes.retain(|key, _| sip::is_read(key));
        }
        self
    }

    /// Those that have not left.
    pub(super) fn read(&self) -> Vec<ListedParticipant> {
        self.participants.iter().filter_map(Participant::read).collect()
    }
}

impl Participant {
    /// `None` for one that has left.
    pub(super) fn read(&self) -> Option<ListedParticipant> {
        if self.state == State::Disconnected as i32 {
            return None;
        }
        let attributes = self.attributes.clone().into_iter().collect();
        let of_call =
            lk::ParticipantInfo { kind: self.kind, attributes, ..lk::ParticipantInfo::default() };
        Some(ListedParticipant {
            sid: ParticipantSid::new(&self.sid)?,
            identity: Identity::new(&self.identity),
            kind: Some(any(self.kind, Kind::as_str_name, &Unknown::default())),
            joined: Time::from_millis(self.joined_at_ms)
                .or_else(|| Time::from_secs(self.joined_at)),
            is_forwarded: self.kind_details.contains(&(KindDetail::Forwarded as i32)),
            sip: sip::of(&of_call),
        })
    }
}

/// Reads a node's rooms, and the event that reports them.
pub(super) fn of_node(message: &lk::AnalyticsNodeRooms) -> Rooms {
    let room = |room: &lk::AnalyticsRoom| {
        let there = room.participants.iter().filter(|who| who.state != State::Disconnected as i32);
        let participants = there.filter_map(|who| {
            Some(ListedParticipant {
                sid: ParticipantSid::new(&who.id)?,
                identity: Identity::new(&who.identity),
                kind: None,
                joined: time(who.joined_at.as_ref()),
                is_forwarded: false,
                sip: None,
            })
        });
        Some(ListedRoom {
            sid: RoomSid::new(&room.id)?,
            name: RoomName::new(&room.name),
            created: time(room.created_at.as_ref()),
            participants: Some(participants.collect()),
            size: None,
        })
    };
    Rooms {
        at: time(message.timestamp.as_ref()),
        coverage: NodeId::new(&message.node_id).map_or(Coverage::Unnamed, Coverage::Node),
        rooms: message.rooms.iter().filter_map(room).collect(),
        event: Some(Box::new(from_node_rooms(message))),
    }
}
