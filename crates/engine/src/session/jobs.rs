//! The job of an agent's participant.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::participant::Participant;
use super::room::Room;
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

// A longer text is no id.
const LONGEST: usize = 64;

impl Participant {
    /// Whether it is an agent (`livekit.ParticipantInfo.Kind`).
    pub(super) fn is_agent(&self) -> bool {
        self.kind.as_deref() == Some("AGENT")
    }

    /// When its signal connection was made, or the first time known of it.
    pub(super) fn joined_at(&self) -> Time {
        self.joined.map_or(self.first, |joined| joined.at)
    }
}

/// An agent's job, and what a list of dispatches says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: Arc<str>,
    dispatch: Option<Arc<str>>,
    agent_name: Option<Arc<str>>,
    worker: Option<Arc<str>>,
}

impl Job {
    /// The job of an agent: a list of dispatches names its identity, or that names the job, as the frameworks
    /// choose it (livekit-agents, job.py, `accept`).
    pub(super) fn of(room: &Room, agent: &Participant) -> Option<Self> {
        let identity = agent.identity.as_ref().filter(|_| agent.is_agent())?;
        let Some((id, dispatch)) = room.dispatches.job_of(identity) else {
            let id = identity.as_str().strip_prefix("agent-").filter(|id| is_id(id))?;
            return Some(Self { id: id.into(), dispatch: None, agent_name: None, worker: None });
        };
        let (agent_name, worker) = room.dispatches.names_of(id, dispatch);
        Some(Self {
            id: Arc::clone(id),
            dispatch: Some(Arc::clone(dispatch)),
            agent_name: agent_name.cloned(),
            worker: worker.cloned(),
        })
    }

    /// Adds the attributes of its span.
    pub(super) fn attributes(&self, to: &mut Vec<Attribute>) {
        for (key, text) in [
            (key::JOB_ID, Some(&self.id)),
            (key::DISPATCH_ID, self.dispatch.as_ref()),
            (key::AGENT_NAME, self.agent_name.as_ref()),
            (key::JOB_WORKER_ID, self.worker.as_ref()),
        ] {
            to.extend(text.map(|text| Attribute::new(key, Arc::clone(text))));
        }
    }
}

fn is_id(text: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.strip_prefix("AJ_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_id))
        && text.len() <= LONGEST
}
