//! Decoded messages.

use serde::{Deserialize, Serialize};

use super::occurrence::Event;
use super::rooms::Rooms;
use super::stream::StreamStat;

/// One decoded message, in the message's order.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Events; a webhook is one.
    Events(Vec<Event>),
    /// Finished stats windows; one message is one worker's flush.
    Stats(Vec<StreamStat>),
    /// A list of open rooms.
    Rooms(Rooms),
}

/// What this version does not know in a message, such as a newer server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Events of an unknown type.
    pub event_types: u64,
    /// Enum values without a name here, read as unspecified.
    pub enum_values: u64,
    /// JSON fields, or protobuf messages with fields, without a name here.
    pub fields: u64,
}
