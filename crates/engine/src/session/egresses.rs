//! The egresses that record a room, and their participants.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::participant::Participant;
use livekit_otel_model::event::{Identity, Time};

// `livekit.ParticipantInfo.Kind` of an egress's participant.
const EGRESS: &str = "EGRESS";

// How many of a room's egresses hear of its end.
const MOST: usize = 1000;

/// The newest egresses of a room, and what changed for them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Egresses {
    known: VecDeque<Arc<str>>,
    // The end of the room that they know.
    end: Option<Time>,
    // Those whose participant was just reported.
    #[serde(skip)]
    changed: Vec<Arc<str>>,
}

impl Egresses {
    /// Notes that the participant of this egress was just reported, or has ended.
    pub(super) fn changed(&mut self, id: Option<Arc<str>>) {
        self.changed.extend(id);
    }

    /// Adds an egress. One that is over hears of the room's end too: that may have been earlier.
    pub(super) fn add(&mut self, id: &Arc<str>) {
        if !self.known.contains(id) {
            if self.known.len() >= MOST {
                self.known.pop_front();
            }
            self.known.push_back(Arc::clone(id));
        }
    }

    /// The egresses that something has changed for in their room, which ended at `end`, if it has.
    pub(super) fn take_changed(&mut self, end: Option<Time>) -> Vec<Arc<str>> {
        let mut changed = std::mem::take(&mut self.changed);
        if end != self.end {
            self.end = end;
            changed.extend(self.known.iter().cloned());
        }
        changed
    }
}

impl Participant {
    /// The egress whose participant it is, if it is one's.
    pub(super) fn egress(&self) -> Option<Arc<str>> {
        let is_egress = self.kind.as_deref() == Some(EGRESS);
        self.identity.as_ref().filter(|_| is_egress).map(Identity::shared)
    }
}
