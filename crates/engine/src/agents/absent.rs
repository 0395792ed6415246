//! Agents that the server reported, and of whose job no record came.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job::{GRACE, Key};
use crate::ids;
use livekit_otel_model::event::{Identity, ParticipantSid, RoomSid, Time};

// How many agents wait. Beyond that the first is counted early.
const MOST: usize = 100_000;
// How long, and how many of, the counted jobs are remembered: an agent that reconnects is another participant.
const REMEMBERED: Duration = Duration::from_hours(1);
const MOST_COUNTED: usize = 100_000;

/// An agent that left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Agent {
    due: Time,
    pub(super) room: RoomSid,
    pub(super) participant: ParticipantSid,
    /// The job that its identity names, unless its worker chose another.
    pub(super) job: Option<Arc<str>>,
}

/// The agents whose records are awaited, and the jobs that were counted without any.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Absent {
    // In the order of their times.
    waiting: VecDeque<Agent>,
    counted: BTreeSet<[u8; 8]>,
    order: VecDeque<(Time, [u8; 8])>,
}

impl Absent {
    /// Adds an agent that left.
    pub(super) fn add(
        &mut self,
        room: &RoomSid,
        participant: &ParticipantSid,
        identity: Option<&Identity>,
        now: Time,
    ) {
        let named = identity.and_then(|identity| identity.as_str().strip_prefix("agent-"));
        let job = named.filter(|job| job.starts_with("AJ_")).map(Arc::from);
        let (room, participant) = (room.clone(), participant.clone());
        self.waiting.push_back(Agent { due: now + GRACE, room, participant, job });
    }

    /// The next whose records don't come any more; `is_last` if none can come.
    pub(super) fn pop(&mut self, now: Time, is_last: bool) -> Option<Agent> {
        let is_full = self.waiting.len() > MOST;
        self.waiting.pop_front_if(|agent| is_last || is_full || agent.due <= now)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.front().map(|agent| agent.due)
    }

    /// Notes that a job was counted; returns whether it was not before.
    pub(super) fn count(&mut self, key: &Key, now: Time) -> bool {
        let id = id(key);
        let is_new = self.counted.insert(id);
        if is_new {
            self.order.push_back((now, id));
        }
        while let Some((at, id)) = self.order.front().copied()
            && (now.since(at) > REMEMBERED || self.order.len() > MOST_COUNTED)
        {
            self.counted.remove(&id);
            self.order.pop_front();
        }
        is_new
    }

    /// Whether a job was counted here.
    pub(super) fn has(&self, key: &Key) -> bool {
        !self.counted.is_empty() && self.counted.contains(&id(key))
    }
}

fn id(key: &Key) -> [u8; 8] {
    ids::source([key.room.as_str().as_bytes(), key.job.as_bytes(), &[], &[]])
}
