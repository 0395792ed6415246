//! Requests to LiveKit's API, and what is read of its responses. Only the fields that are read are kept
//! for the journal.

use bytes::Bytes;
use livekit_protocol as lk;
use livekit_token::VideoGrants;
use prost::{Message, Oneof};

use super::events::from_analytics;
use super::kept::{self, Kept};
use super::limits::{MOST_ROOMS, limit_nested};
use super::newer;
use super::rooms::{Participant, ParticipantList, Room, RoomList, decode, response_of};
use super::unknown::Unknown;
use super::unreadable::Unreadable;
use super::work::nanos;
use livekit_otel_model::event::answer::{
    Answer, Answered, Dispatch, DispatchJob, Question, WorkList,
};
use livekit_otel_model::event::rooms::{Coverage, Rooms};
use livekit_otel_model::event::{self, Decoded, Event, Identity, RoomSid, Time};

// The most bytes of an id, a name or an error that are read of a dispatch.
const LONGEST: usize = 256;

/// A request to LiveKit's API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiRequest {
    /// The service and the method, as in the path after `/twirp/livekit.`
    pub method: &'static str,
    /// What its token has to allow.
    pub grants: VideoGrants,
    /// The message.
    pub body: Bytes,
}

impl ApiRequest {
    /// The method that lists all open rooms.
    pub const ROOMS: &'static str = "RoomService/ListRooms";

    /// Asks for all open rooms.
    pub fn rooms() -> Self {
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        Self { method: Self::ROOMS, grants, body: Bytes::new() }
    }

    /// Asks a question.
    pub fn new(question: &Question) -> Self {
        let of_room = |name: &str| VideoGrants {
            room_admin: true,
            room: name.to_owned(),
            ..VideoGrants::default()
        };
        let record = VideoGrants { room_record: true, ..VideoGrants::default() };
        let ingress = VideoGrants { ingress_admin: true, ..VideoGrants::default() };
        let (method, grants, body) = match question {
            Question::Participants { name, .. } => {
                let body = lk::ListParticipantsRequest { room: name.as_str().to_owned() };
                ("RoomService/ListParticipants", of_room(name.as_str()), body.encode_to_vec())
            }
            Question::Participant { name, identity, .. } => {
                let (room, identity) = (name.as_str().to_owned(), identity.as_str().to_owned());
                let body = lk::RoomParticipantIdentity { room, identity, ..Default::default() };
                ("RoomService/GetParticipant", of_room(name.as_str()), body.encode_to_vec())
            }
            Question::Dispatches { name, .. } => {
                let room = name.as_str().to_owned();
                let body = lk::ListAgentDispatchRequest { room, ..Default::default() };
                ("AgentDispatchService/ListDispatch", of_room(name.as_str()), body.encode_to_vec())
            }
            Question::Egresses => {
                let body = lk::ListEgressRequest { active: true, ..Default::default() };
                ("Egress/ListEgress", record, body.encode_to_vec())
            }
            Question::Ingresses => ("Ingress/ListIngress", ingress, Vec::new()),
        };
        Self { method, grants, body: body.into() }
    }
}

// A listed room. This message is our own, for the journal.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, optional, tag = "1")]
    room: Option<Room>,
}

// All listed rooms, or another answer of the API. This message is our own, too.
#[derive(Clone, PartialEq, Message)]
struct Listing {
    #[prost(message, repeated, tag = "1")]
    rooms: Vec<Listed>,
    #[prost(uint64, tag = "2")]
    at_nanos: u64,
    #[prost(message, optional, tag = "3")]
    answer: Option<Asked>,
}

/// The rooms that LiveKit's API lists, reduced to what is read of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiRooms {
    listing: Listing,
    unknown: event::Unknown,
}

impl ApiRooms {
    /// Reads the response to [`ApiRequest::rooms`], which was made at that time.
    ///
    /// # Errors
    /// If the bytes are not such a response.
    pub fn new(at: Time, response: &[u8]) -> Result<Self, Unreadable> {
        let mut unknown = event::Unknown::default();
        let list: RoomList = response_of("ListRoomsResponse", response, &mut unknown)?;
        let rooms = list.reduced().rooms.into_iter();
        let rooms = rooms.map(|room| Listed { room: Some(room) }).collect();
        Ok(Self { listing: Listing { rooms, at_nanos: at.nanos(), answer: None }, unknown })
    }

    /// What this version does not know in the response.
    pub fn unknown(&self) -> event::Unknown {
        self.unknown
    }

    /// Encodes it for [`super::api`].
    pub fn encode(&self) -> Bytes {
        self.listing.encode_to_vec().into()
    }
}

/// Reads the bytes that [`ApiRooms::encode`] or [`ApiAnswer::encode`] made.
pub(super) fn of_api(message: &[u8]) -> Result<Decoded, Unreadable> {
    let listing: Listing = decode(message)?;
    if let Some(answer) = listing.answer {
        return Ok(Decoded::Answer(Box::new(answer.read()?)));
    }
    let rooms = listing.rooms.iter().filter_map(|listed| listed.room.as_ref()?.read()).collect();
    let at = Time::from_nanos(listing.at_nanos);
    Ok(Decoded::Rooms(Rooms { at, coverage: Coverage::Deployment, rooms, event: None }))
}

/// An answer of LiveKit's API, reduced to what is read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiAnswer {
    answer: Asked,
    unknown: event::Unknown,
}

// This message is our own, for the journal.
#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(uint64, tag = "1")]
    at_nanos: u64,
    #[prost(string, tag = "2")]
    room: String,
    #[prost(string, tag = "3")]
    identity: String,
    #[prost(oneof = "Content", tags = "4, 5, 6, 7, 8")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(message, tag = "4")]
    Participants(ParticipantList),
    // One, or none.
    #[prost(message, tag = "5")]
    Participant(ParticipantList),
    #[prost(message, tag = "6")]
    Dispatches(DispatchList),
    #[prost(message, tag = "7")]
    Egresses(Items),
    #[prost(message, tag = "8")]
    Ingresses(Items),
}

// `livekit.ListAgentDispatchResponse`, and parts of its messages, by their tags.
#[derive(Clone, PartialEq, Message)]
struct DispatchList {
    #[prost(message, repeated, tag = "1")]
    dispatches: Vec<AgentDispatch>,
}

#[derive(Clone, PartialEq, Message)]
struct AgentDispatch {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    agent_name: String,
    #[prost(message, optional, tag = "5")]
    state: Option<DispatchState>,
}

#[derive(Clone, PartialEq, Message)]
struct DispatchState {
    #[prost(message, repeated, tag = "1")]
    jobs: Vec<Job>,
    #[prost(int64, tag = "2")]
    created_at: i64,
    #[prost(int64, tag = "3")]
    deleted_at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Job {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "8")]
    state: Option<JobState>,
}

#[derive(Clone, PartialEq, Message)]
struct JobState {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(string, tag = "2")]
    error: String,
    #[prost(int64, tag = "3")]
    started_at: i64,
    #[prost(int64, tag = "4")]
    ended_at: i64,
    #[prost(string, tag = "6")]
    participant_identity: String,
    #[prost(string, tag = "7")]
    worker_id: String,
}

// `livekit.ListEgressResponse` and `livekit.ListIngressResponse`: both have the same fields.
#[derive(Clone, PartialEq, Message)]
struct Page {
    #[prost(bytes = "vec", repeated, tag = "1")]
    items: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "2")]
    next_page_token: Option<lk::TokenPagination>,
}

// What is kept of such a page. This message is our own.
#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(bytes = "vec", repeated, tag = "1")]
    items: Vec<Vec<u8>>,
    // Whether there are more.
    #[prost(bool, tag = "2")]
    is_partial: bool,
}

impl ApiAnswer {
    /// Reads the response to a question that was asked at `at`.
    ///
    /// # Errors
    /// If the bytes are not such a response.
    pub fn new(at: Time, question: &Question, response: &[u8]) -> Result<Self, Unreadable> {
        limit_nested(response, MOST_ROOMS)?;
        let unknown = &mut event::Unknown::default();
        let content = match question {
            Question::Participants { .. } => {
                let list = response_of("ListParticipantsResponse", response, unknown)?;
                Content::Participants(ParticipantList::reduced(list))
            }
            Question::Participant { .. } => {
                let participants = vec![response_of("ParticipantInfo", response, unknown)?];
                Content::Participant(ParticipantList::reduced(ParticipantList { participants }))
            }
            Question::Dispatches { .. } => {
                Content::Dispatches(response_of("ListAgentDispatchResponse", response, unknown)?)
            }
            Question::Egresses => {
                let list = response_of("ListEgressResponse", response, unknown)?;
                Content::Egresses(reduced(&list, kept::EGRESS)?)
            }
            Question::Ingresses => {
                let list = response_of("ListIngressResponse", response, unknown)?;
                Content::Ingresses(reduced(&list, kept::INGRESS)?)
            }
        };
        Ok(Self { answer: Asked::new(at, question, content), unknown: *unknown })
    }

    /// The answer that the participant of such a question does not exist; `None` for another question.
    pub fn gone(at: Time, question: &Question) -> Option<Self> {
        let Question::Participant { .. } = question else { return None };
        let answer = Asked::new(at, question, Content::Participant(ParticipantList::default()));
        Some(Self { answer, unknown: event::Unknown::default() })
    }

    /// What this version does not know in the response.
    pub fn unknown(&self) -> event::Unknown {
        self.unknown
    }

    /// Encodes it for [`super::api`].
    pub fn encode(self) -> Bytes {
        Listing { answer: Some(self.answer), ..Listing::default() }.encode_to_vec().into()
    }
}

fn reduced(page: &Page, fields: &[Kept]) -> Result<Items, Unreadable> {
    let items = page.items.iter().map(|item| kept::keep(item, fields));
    let items: Option<_> = items.collect();
    let is_partial = page.next_page_token.as_ref().is_some_and(|next| !next.token.is_empty());
    Ok(Items { items: items.ok_or_else(Unreadable::protobuf)?, is_partial })
}

impl Asked {
    fn new(at: Time, question: &Question, content: Content) -> Self {
        let (room, identity) = match question {
            Question::Participants { room, .. } | Question::Dispatches { room, .. } => {
                (room.as_str(), "")
            }
            Question::Participant { room, identity, .. } => (room.as_str(), identity.as_str()),
            Question::Egresses | Question::Ingresses => ("", ""),
        };
        let (room, identity) = (room.to_owned(), identity.to_owned());
        Self { at_nanos: at.nanos(), room, identity, content: Some(content) }
    }

    // What it says.
    fn read(self) -> Result<Answer, Unreadable> {
        let missing = || Unreadable::new("an answer of the API lacks what was asked");
        let at = Time::from_nanos(self.at_nanos).ok_or_else(missing)?;
        let room = || RoomSid::new(&self.room).ok_or_else(missing);
        let content = match self.content.ok_or_else(missing)? {
            Content::Participants(list) => {
                Answered::Participants { room: room()?, participants: list.read() }
            }
            Content::Participant(list) => Answered::Participant {
                room: room()?,
                identity: Identity::new(&self.identity).ok_or_else(missing)?,
                participant: list.participants.first().and_then(Participant::read),
            },
            Content::Dispatches(list) => {
                let dispatches = list.dispatches.iter().filter_map(dispatch).collect();
                Answered::Dispatches { room: room()?, dispatches }
            }
            Content::Egresses(list) => Answered::Egresses(list.read(at, egress)?),
            Content::Ingresses(list) => Answered::Ingresses(list.read(at, ingress)?),
        };
        Ok(Answer { at, content })
    }
}

impl Items {
    // Each is read as an event of that time.
    fn read(
        &self,
        at: Time,
        event: fn(&[u8]) -> Result<lk::AnalyticsEvent, Unreadable>,
    ) -> Result<WorkList, Unreadable> {
        let mut events = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let event = from_analytics(&event(item)?, &mut Unknown::default());
            let reported = Some(event::ReportedTime { at, whole_seconds: false });
            // An ingress that has no state has never been used.
            events.extend(event.work.is_some().then_some(Event { reported, ..event }));
        }
        Ok(WorkList { events, is_complete: !self.is_partial })
    }
}

fn egress(item: &[u8]) -> Result<lk::AnalyticsEvent, Unreadable> {
    let (kind, egress) = (lk::AnalyticsEventType::EgressUpdated, Some(decode(item)?));
    Ok(lk::AnalyticsEvent { r#type: kind as i32, egress, ..Default::default() })
}

fn ingress(item: &[u8]) -> Result<lk::AnalyticsEvent, Unreadable> {
    let (kind, ingress) = (lk::AnalyticsEventType::IngressUpdated, Some(decode(item)?));
    Ok(lk::AnalyticsEvent { r#type: kind as i32, ingress, ..Default::default() })
}

fn dispatch(message: &AgentDispatch) -> Option<Dispatch> {
    let state = message.state.clone().unwrap_or_default();
    Some(Dispatch {
        id: text(&message.id)?,
        agent_name: text(&message.agent_name),
        created: nanos(state.created_at),
        deleted: nanos(state.deleted_at),
        jobs: state.jobs.iter().filter_map(job).collect(),
    })
}

fn job(message: &Job) -> Option<DispatchJob> {
    let state = message.state.as_ref();
    let of = |text_of: fn(&JobState) -> &String| state.and_then(|state| text(text_of(state)));
    Some(DispatchJob {
        id: text(&message.id)?,
        status: state.map(|state| newer::status(state.status, &Unknown::default())),
        identity: state.and_then(|state| Identity::new(&state.participant_identity)),
        worker: of(|state| &state.worker_id),
        started: state.and_then(|state| nanos(state.started_at)),
        ended: state.and_then(|state| nanos(state.ended_at)),
        error: of(|state| &state.error),
    })
}

// A text of bounded length, as the engine keeps it as long as its room.
fn text(text: &str) -> Option<std::sync::Arc<str>> {
    let cut = &text[..text.floor_char_boundary(LONGEST)];
    (!cut.is_empty()).then(|| cut.into())
}

#[cfg(test)]
mod tests;
