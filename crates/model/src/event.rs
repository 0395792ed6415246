//! What LiveKit reports, in the program's own types: events of rooms ([`Event`]), statistics of their
//! streams ([`StreamStat`]), lists of open rooms ([`rooms`]) and answers of its API ([`answer`]).

pub mod answer;
mod decoded;
mod entity;
mod ids;
mod kind;
mod occurrence;
pub mod report;
pub mod rooms;
mod sip;
mod stream;
mod time;
mod work;

pub use crate::counts::{Counter, Counts};
pub use decoded::{Decoded, Unknown};
pub use entity::{Caller, Participant, Room, RtpTotals, Track, TrackKind, TrackSource};
pub use ids::{Identity, NodeId, ParticipantSid, RoomName, RoomSid, TrackSid};
pub use kind::{EventKind, Origin};
pub use occurrence::{Delivery, Detail, DetailValue, Event, ReportedTime};
pub use sip::{SipCall, SipStatus};
pub use stream::{Direction, StreamStat};
pub use time::Time;
pub use work::{EgressPhase, Failure, Work, WorkKind};
