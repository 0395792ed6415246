//! Decoded messages.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::occurrence::Event;
use super::rooms::Rooms;
use super::stream::StreamStat;
use crate::foreign::Upload;

/// One decoded message, in the message's order.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Events; a webhook is one.
    Events(Vec<Event>),
    /// Finished stats windows; one message is one worker's flush.
    Stats(Vec<StreamStat>),
    /// A list of open rooms.
    Rooms(Rooms),
    /// An answer of LiveKit's API.
    Answer(Box<Answer>),
    /// Records that another program made.
    Upload(Upload),
}

/// What this version does not know in a message, such as a newer server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Events of an unknown type.
    pub event_types: u64,
    /// Values of known enums without a name here. Those that are read are reported as they were sent.
    pub enum_values: u64,
    /// Fields of known messages, at any depth, without a name here.
    pub fields: u64,
}

impl AddAssign for Unknown {
    fn add_assign(&mut self, other: Self) {
        self.event_types += other.event_types;
        self.enum_values += other.enum_values;
        self.fields += other.fields;
    }
}
