//! What a message comes to.

use serde::{Deserialize, Serialize};

use super::rooms::Rooms;
use super::{Event, StreamStat};

/// What one message told, in the message's order.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Events; a webhook is one.
    Events(Vec<Event>),
    /// Finished stats windows; one message is one worker's flush.
    Stats(Vec<StreamStat>),
    /// Which rooms there are.
    Rooms(Rooms),
}

/// What in a message this version does not know (a newer server's).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Events of an unknown type.
    pub event_types: u64,
    /// Enum values without a name here, read as unspecified.
    pub enum_values: u64,
    /// JSON fields, or protobuf messages with fields, without a name here.
    pub fields: u64,
}
