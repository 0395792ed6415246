//! Dispatches of agents to a room. LiveKit's server reports none of them, so they are known from lists of its API
//! alone: a list has a job as it was when a worker answered, up to 5 s late, and never says whether the agent came.
//! That is whether its participant joined (livekit-server 1.13, pkg/rtc/room.go, `handleNewJobs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use livekit_otel_model::event::answer::{self, DispatchJob};
use livekit_otel_model::event::{Event, EventKind, Identity, ParticipantSid, Time};

/// A job is listed after this at the latest.
pub(super) const LISTED_AFTER: Duration = Duration::from_secs(6);
// A room's dispatches are looked for no more often, while somebody joins.
const LOOKED_FOR: Duration = Duration::from_mins(1);
// How many dispatches of a room, and how many jobs of a dispatch, are kept.
const MOST: usize = 1000;
const MOST_JOBS: usize = 32;

/// The dispatches of a room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Dispatches {
    pub(super) known: BTreeMap<Arc<str>, Dispatch>,
    // The job and the dispatch of each agent's identity.
    pub(super) identities: BTreeMap<Identity, (Arc<str>, Arc<str>)>,
    // The participants that are agents.
    pub(super) agents: BTreeSet<ParticipantSid>,
    // When the newest list was asked for.
    listed: Option<Time>,
    // When a list was last wanted as somebody joined.
    pub(super) looked: Option<Time>,
    // By how many nanoseconds our clock is ahead of the server's, at most: the least delay of an event.
    ahead: Option<i64>,
    #[serde(skip)]
    pub(super) wanted: Vec<Time>,
}

/// A dispatch; its times are the server's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Dispatch {
    pub(super) agent_name: Option<Arc<str>>,
    pub(super) created: Time,
    pub(super) deleted: Option<Time>,
    pub(super) jobs: BTreeMap<Arc<str>, Job>,
    // Whether its span is in the room's trace, once it is known that it may have one.
    pub(super) is_admitted: Option<bool>,
    pub(super) is_logged: bool,
    pub(super) is_released: bool,
}

/// A job of a dispatch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) is_rejected: bool,
    pub(super) identity: Option<Identity>,
    pub(super) worker: Option<Arc<str>>,
    pub(super) ended: Option<Time>,
    pub(super) error: Option<Arc<str>>,
}

impl Dispatch {
    /// Until when its agent may join.
    pub(super) fn deadline(&self, settings: &Settings) -> Time {
        self.created + settings.dispatch_deadline
    }
}

impl From<&DispatchJob> for Job {
    // A worker that rejects a job leaves it without an agent (pkg/agent/worker.go, `AssignJob`).
    fn from(job: &DispatchJob) -> Self {
        let identity = job.identity.clone();
        Self {
            is_rejected: identity.is_none() && job.status.as_deref() == Some("JS_SUCCESS"),
            identity: identity.or_else(|| identity_of(&job.id)),
            worker: job.worker.clone(),
            ended: job.ended,
            error: job.error.clone(),
        }
    }
}

impl Dispatches {
    /// Notes an event of its room that was received at `now`.
    pub(super) fn hear(&mut self, event: &Event, now: Time) {
        let joins =
            matches!(event.kind, EventKind::ParticipantJoined | EventKind::ParticipantActive);
        // These are of the room's node, which makes the dispatches.
        if let Some(reported) =
            event.reported.filter(|_| joins || event.kind == EventKind::RoomCreated)
        {
            let [now, reported] = [now, reported.at].map(|at| i64::try_from(at.nanos()).ok());
            let delay = now.zip(reported).map(|(now, reported)| now - reported);
            self.ahead = self.ahead.into_iter().chain(delay).min();
        }
        if joins && self.looked.is_some_and(|at| at + LOOKED_FOR <= now) {
            self.look(now);
        }
    }

    /// Notes an agent.
    pub(super) fn add_agent(&mut self, sid: &ParticipantSid) {
        if !self.agents.contains(sid) {
            self.agents.insert(sid.clone());
        }
    }

    /// Forgets a participant.
    pub(super) fn forget(&mut self, sid: &ParticipantSid) {
        self.agents.remove(sid);
    }

    /// The job and the dispatch of the agent of that identity.
    pub(super) fn job_of(&self, identity: &Identity) -> Option<(&Arc<str>, &Arc<str>)> {
        self.identities.get(identity).map(|(job, dispatch)| (job, dispatch))
    }

    /// The name of the dispatch's agent, and the worker of its job.
    pub(super) fn names_of(
        &self,
        job: &str,
        dispatch: &str,
    ) -> (Option<&Arc<str>>, Option<&Arc<str>>) {
        let known = self.known.get(dispatch);
        let worker = known.and_then(|known| known.jobs.get(job)?.worker.as_ref());
        (known.and_then(|known| known.agent_name.as_ref()), worker)
    }

    /// Wants a list of what was there at `now`.
    pub(super) fn look(&mut self, now: Time) {
        self.looked = Some(now);
        self.wanted.push(now + LISTED_AFTER);
    }

    /// Applies a list that was asked for at `at`.
    pub(super) fn list(&mut self, dispatches: &[answer::Dispatch], at: Time) {
        let is_newest = self.listed.is_none_or(|listed| listed <= at);
        for listed in dispatches {
            let is_known = self.known.contains_key(&listed.id);
            if is_known || self.known.len() < MOST {
                self.add(listed, at, is_newest);
            }
        }
        let there: BTreeSet<_> = dispatches.iter().map(|listed| &listed.id).collect();
        let theirs = self.theirs(at);
        for (id, dispatch) in &mut self.known {
            // What is deleted is no longer listed.
            if dispatch.deleted.is_none() && !there.contains(id) && dispatch.created < theirs {
                dispatch.deleted = Some(theirs);
            }
        }
        self.listed = self.listed.max(Some(at));
    }

    fn add(&mut self, listed: &answer::Dispatch, at: Time, is_newest: bool) {
        let created = listed.created.unwrap_or_else(|| self.theirs(at));
        let dispatch = self.known.entry(Arc::clone(&listed.id)).or_insert_with(|| Dispatch {
            agent_name: listed.agent_name.clone(),
            created,
            deleted: None,
            jobs: BTreeMap::new(),
            is_admitted: None,
            is_logged: false,
            is_released: false,
        });
        dispatch.deleted = listed.deleted.or(dispatch.deleted);
        for job in &listed.jobs {
            let is_known = dispatch.jobs.contains_key(&job.id);
            if (is_known && !is_newest) || (!is_known && dispatch.jobs.len() >= MOST_JOBS) {
                continue;
            }
            let new = Job::from(job);
            if let Some(identity) = &new.identity {
                let of = (Arc::clone(&job.id), Arc::clone(&listed.id));
                self.identities.insert(identity.clone(), of);
            }
            dispatch.jobs.insert(Arc::clone(&job.id), new);
        }
    }

    /// A time of the server's by our clock, or a little later.
    pub(super) fn ours(&self, at: Time) -> Time {
        shift(at, self.ahead.unwrap_or_default())
    }

    // A time of ours by the server's clock, or a little earlier.
    fn theirs(&self, at: Time) -> Time {
        shift(at, self.ahead.unwrap_or_default().saturating_neg())
    }

    /// From when on a list says what became of a dispatch: its deadline is over, and so is the time in which a job,
    /// its own or that of an agent whose dispatch is unknown, may be listed late. `strangers` are when such joined.
    pub(super) fn conclusive(
        &self,
        dispatch: &Dispatch,
        strangers: &[Time],
        settings: &Settings,
    ) -> Time {
        let deadline = dispatch.deadline(settings);
        let window = dispatch.created..=deadline;
        let strangers = strangers.iter().copied().filter(|at| window.contains(at));
        let begun = strangers.fold(dispatch.created, Time::max);
        self.ours(deadline.max(begun + LISTED_AFTER))
    }

    /// Whether there is a list that was asked for since then.
    pub(super) fn is_listed(&self, since: Time) -> bool {
        self.listed.is_some_and(|at| at >= since)
    }

    /// When spans of it are due next after `now`.
    pub(super) fn next_deadline(&self, now: Time, settings: &Settings) -> Option<Time> {
        let open = self.known.values().filter(|dispatch| !dispatch.is_released);
        let due = open.map(|dispatch| self.due(dispatch, settings));
        due.filter(|at| *at > now).min()
    }

    /// When its span is due.
    pub(super) fn due(&self, dispatch: &Dispatch, settings: &Settings) -> Time {
        self.ours(dispatch.deadline(settings)) + settings.linger
    }

    /// Whether an agent whose dispatch is unknown, as no list is new enough, may be that of this one.
    pub(super) fn may_be_of(
        &self,
        dispatch: &Dispatch,
        strangers: &[Time],
        settings: &Settings,
    ) -> bool {
        let window = dispatch.created..=dispatch.deadline(settings);
        let unlisted = |at: &&Time| !self.is_listed(self.ours(**at + LISTED_AFTER));
        strangers.iter().filter(unlisted).any(|at| window.contains(at))
    }
}

/// The identity that the agent of a job has, unless it has chosen another (livekit-agents, job.py, `accept`).
fn identity_of(job: &str) -> Option<Identity> {
    Identity::new(&format!("agent-{job}"))
}

fn shift(at: Time, by: i64) -> Time {
    Time::from_nanos(at.nanos().saturating_add_signed(by)).unwrap_or(at)
}
