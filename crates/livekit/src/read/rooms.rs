//! Reads lists of rooms, from a node and from LiveKit's API. Of the API's responses only the fields
//! that are read are kept.

use bytes::Bytes;
use livekit_protocol as lk;
use lk::participant_info::{Kind, KindDetail, State};
use prost::Message;

use super::events::from_node_rooms;
use super::limits::{MOST_ROOMS, limit};
use super::names::{any, time};
use super::schema;
use super::unknown::Unknown;
use super::unreadable::Unreadable;
use super::wire;
use livekit_otel_model::event::rooms::{Coverage, ListedParticipant, ListedRoom, Rooms};
use livekit_otel_model::event::{self, Identity, NodeId, ParticipantSid, RoomName, RoomSid, Time};

// A part of `livekit.Room`, by its tags. Metadata and the TURN password are not even decoded.
#[derive(Clone, PartialEq, Message)]
struct Room {
    #[prost(string, tag = "1")]
    sid: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(int64, tag = "5")]
    creation_time: i64,
    #[prost(int64, tag = "15")]
    creation_time_ms: i64,
}

// A part of `livekit.ParticipantInfo`, by its tags.
#[derive(Clone, PartialEq, Message)]
struct Participant {
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
    #[prost(int64, tag = "17")]
    joined_at_ms: i64,
    #[prost(int32, repeated, tag = "18")]
    kind_details: Vec<i32>,
}

// `livekit.ListRoomsResponse`.
#[derive(Clone, PartialEq, Message)]
struct RoomList {
    #[prost(message, repeated, tag = "1")]
    rooms: Vec<Room>,
}

// `livekit.ListParticipantsResponse`.
#[derive(Clone, PartialEq, Message)]
struct ParticipantList {
    #[prost(message, repeated, tag = "1")]
    participants: Vec<Participant>,
}

// A room and its participants, if they are known. This message is our own, for the journal.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, optional, tag = "1")]
    room: Option<Room>,
    #[prost(message, optional, tag = "2")]
    participants: Option<ParticipantList>,
}

// All listed rooms.
#[derive(Clone, PartialEq, Message)]
struct Listing {
    #[prost(message, repeated, tag = "1")]
    rooms: Vec<Listed>,
    #[prost(uint64, tag = "2")]
    at_nanos: u64,
}

/// The rooms that LiveKit's API lists, collected from its responses.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiRooms {
    listing: Listing,
    unknown: event::Unknown,
}

impl ApiRooms {
    /// Reads the response to `ListRooms`, which was requested at that time.
    ///
    /// # Errors
    /// If the bytes are not such a response.
    pub fn new(at: Time, response: &[u8]) -> Result<Self, Unreadable> {
        let mut unknown = event::Unknown::default();
        let RoomList { mut rooms } = response_of("ListRoomsResponse", response, &mut unknown)?;
        rooms.retain(|room| !room.sid.is_empty() && !room.name.is_empty());
        rooms.sort_by(|a, b| a.sid.cmp(&b.sid));
        let listed = |room| Listed { room: Some(room), participants: None };
        let rooms = rooms.into_iter().map(listed).collect();
        Ok(Self { listing: Listing { rooms, at_nanos: at.nanos() }, unknown })
    }

    /// The rooms' SIDs and names, in the order of their SIDs.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, &str)> {
        let rooms = self.listing.rooms.iter().filter_map(|listed| listed.room.as_ref());
        rooms.map(|room| (room.sid.as_str(), room.name.as_str()))
    }

    /// The `ListParticipants` request for the room of that name.
    pub fn request(room: &str) -> Bytes {
        lk::ListParticipantsRequest { room: room.to_owned() }.encode_to_vec().into()
    }

    /// Reads the response to [`ApiRooms::request`] for the `nth` room, and returns how many bytes
    /// of it are kept.
    ///
    /// # Errors
    /// If the bytes are not such a response.
    pub fn add(&mut self, nth: usize, response: &[u8]) -> Result<usize, Unreadable> {
        let participants: ParticipantList =
            response_of("ListParticipantsResponse", response, &mut self.unknown)?;
        let size = participants.encoded_len();
        if let Some(listed) = self.listing.rooms.get_mut(nth) {
            listed.participants = Some(participants);
        }
        Ok(size)
    }

    /// What this version does not know in the responses.
    pub fn unknown(&self) -> event::Unknown {
        self.unknown
    }

    /// Its encoded size in bytes.
    pub fn size(&self) -> usize {
        self.listing.encoded_len()
    }

    /// Encodes it for [`super::api_rooms`].
    pub fn encode(&self) -> Bytes {
        self.listing.encode_to_vec().into()
    }
}

fn response_of<T: Message + Default>(
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

fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, Unreadable> {
    limit(bytes, MOST_ROOMS)?;
    T::decode(bytes).map_err(|_| Unreadable::protobuf())
}

/// Reads the bytes that [`ApiRooms::encode`] made.
pub(super) fn of_api(message: &[u8]) -> Result<Rooms, Unreadable> {
    let listing: Listing = decode(message)?;
    let room = |listed: &Listed| {
        let room = listed.room.as_ref()?;
        let participants = listed
            .participants
            .as_ref()
            .map(|list| list.participants.iter().filter_map(participant).collect());
        Some(ListedRoom {
            sid: RoomSid::new(&room.sid)?,
            name: RoomName::new(&room.name),
            created: Time::from_millis(room.creation_time_ms)
                .or_else(|| Time::from_secs(room.creation_time)),
            participants,
            size: None,
        })
    };
    let rooms = listing.rooms.iter().filter_map(room).collect();
    let at = Time::from_nanos(listing.at_nanos);
    Ok(Rooms { at, coverage: Coverage::Deployment, rooms, event: None })
}

// `None` for a participant that has left.
fn participant(info: &Participant) -> Option<ListedParticipant> {
    if info.state == State::Disconnected as i32 {
        return None;
    }
    Some(ListedParticipant {
        sid: ParticipantSid::new(&info.sid)?,
        identity: Identity::new(&info.identity),
        kind: Some(any(info.kind, Kind::as_str_name, &Unknown::default())),
        joined: Time::from_millis(info.joined_at_ms).or_else(|| Time::from_secs(info.joined_at)),
        is_forwarded: info.kind_details.contains(&(KindDetail::Forwarded as i32)),
        sip: None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn response<T: Message>(message: &T) -> Vec<u8> {
        message.encode_to_vec()
    }

    #[test]
    fn only_the_fields_that_are_read_are_kept_of_the_apis_responses() {
        let at = Time::from_secs(1_795_406_960).unwrap();
        let hidden = || "hidden".to_owned();
        let room = |sid: &str, name: &str| lk::Room {
            sid: sid.to_owned(),
            name: name.to_owned(),
            creation_time: 1_795_406_900,
            creation_time_ms: 1_795_406_900_123,
            turn_password: hidden(),
            metadata: hidden(),
            ..lk::Room::default()
        };
        let rooms = vec![room("RM_2", "two"), room("RM_1", "one"), room("", "none")];
        let mut listed = ApiRooms::new(at, &response(&lk::ListRoomsResponse { rooms })).unwrap();
        assert_eq!(listed.rooms().collect::<Vec<_>>(), [("RM_1", "one"), ("RM_2", "two")]);
        let participant = |sid: &str, state: State, details: Vec<i32>| lk::ParticipantInfo {
            sid: sid.to_owned(),
            identity: "ada".to_owned(),
            state: state as i32,
            joined_at_ms: 1_795_406_901_456,
            joined_at: 1_795_406_901,
            kind: Kind::Sip as i32,
            kind_details: details,
            metadata: hidden(),
            name: hidden(),
            ..lk::ParticipantInfo::default()
        };
        let participants = vec![
            participant("PA_1", State::Joining, Vec::new()),
            participant("PA_2", State::Disconnected, Vec::new()),
            participant("PA_3", State::Active, vec![KindDetail::Forwarded as i32]),
        ];
        listed.add(1, &response(&lk::ListParticipantsResponse { participants })).unwrap();

        let raw = listed.encode();
        assert!(!raw.windows(6).any(|bytes| bytes == b"hidden"));
        let read = of_api(&raw).unwrap();
        assert_eq!(
            (read.at, &read.coverage, listed.unknown()),
            (Some(at), &Coverage::Deployment, event::Unknown::default())
        );
        let [one, two] = read.rooms.as_slice() else { panic!("{read:?}") };
        assert_eq!((one.sid.as_str(), &one.participants), ("RM_1", &None));
        assert_eq!(two.created, Time::from_millis(1_795_406_900_123));
        let who = |sid: &str, is_forwarded| ListedParticipant {
            sid: ParticipantSid::new(sid).unwrap(),
            identity: Identity::new("ada"),
            kind: Some("SIP".into()),
            joined: Time::from_millis(1_795_406_901_456),
            is_forwarded,
            sip: None,
        };
        assert_eq!(two.participants, Some(vec![who("PA_1", false), who("PA_3", true)]));
    }

    #[test]
    fn a_response_that_is_not_a_list_is_refused() {
        let at = Time::from_secs(1_795_406_960).unwrap();
        assert!(ApiRooms::new(at, b"<html>").is_err());
        assert!(ApiRooms::new(at, &[0x0a, 0x00].repeat(MOST_ROOMS + 1)).is_err());
        let mut none = ApiRooms::new(at, b"").unwrap();
        assert_eq!(none.rooms().count(), 0);
        assert!(none.add(0, b"{\"code\":").is_err());
    }
}
