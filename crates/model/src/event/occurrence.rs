//! One event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entity::{Caller, Participant, Room, RtpTotals, Track};
use super::ids::{NodeId, ParticipantSid};
use super::kind::{EventKind, Origin};
use super::time::Time;
use super::work::Work;
use crate::interned::Name;

/// When an event happened, as its source reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedTime {
    /// The time.
    pub at: Time,
    /// Whether it is cut to whole seconds (a webhook's `created_at`, `ROOM_CREATED`).
    pub whole_seconds: bool,
}

/// An event that LiveKit reported, reduced to what may leave the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The source's own id, `EV_…` or `AE_…`; empty if it sent none.
    pub id: Arc<str>,
    /// The source that reported it.
    pub origin: Origin,
    /// What happened.
    pub kind: EventKind,
    /// When it happened, if the source reported a time.
    pub reported: Option<ReportedTime>,
    /// The LiveKit node that reported it.
    pub node: Option<NodeId>,
    /// The room it happened in.
    pub room: Option<Room>,
    /// The participant it happened to.
    pub participant: Option<Participant>,
    /// The track it happened to.
    pub track: Option<Track>,
    /// The publisher of the track, if the participant is a subscriber.
    pub publisher: Option<ParticipantSid>,
    /// What went wrong, in the source's words; `None` if nothing did.
    pub error: Option<Arc<str>>,
    /// A track's lifetime totals (`TRACK_PUBLISH_STATS`, `TRACK_SUBSCRIBE_STATS`).
    pub rtp: Option<Box<RtpTotals>>,
    /// The state of an operation that has a span of its own, such as an egress.
    pub work: Option<Box<Work>>,
    /// A webhook's delivery, for [`EventKind::Webhook`].
    pub delivery: Option<Box<Delivery>>,
    /// The message's other allowlisted fields, for the log record.
    pub details: Vec<Detail>,
    /// The span of the reporting process in which it reported the event.
    pub caller: Option<Caller>,
}

impl Event {
    /// An event of which only its source and its kind are known.
    pub fn new(origin: Origin, kind: EventKind) -> Self {
        Self {
            id: Arc::default(),
            origin,
            kind,
            reported: None,
            node: None,
            room: None,
            participant: None,
            track: None,
            publisher: None,
            error: None,
            rtp: None,
            work: None,
            delivery: None,
            details: Vec::new(),
            caller: None,
        }
    }
}

/// One more allowlisted field of a message, under its emitted name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The attribute's key (see [`crate::semconv`]).
    #[serde(with = "crate::interned")]
    pub key: Name,
    /// Its value.
    pub value: DetailValue,
}

/// A [`Detail`]'s value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DetailValue {
    /// Text.
    Text(Arc<str>),
    /// A count, or a time in Unix nanoseconds.
    Int(i64),
    /// A measure, in the unit that the key's documentation names.
    Float(f64),
    /// A flag.
    Bool(bool),
}

/// How a webhook was delivered: the part of `WebhookInfo` that leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The webhook's own id, `EV_…`.
    pub event_id: Arc<str>,
    /// When it was queued: the exact time of the event that it reports.
    pub queued: Option<Time>,
}
