//! Dispatches of agents to a room. LiveKit's server reports none of them, so they are known from lists of its API
//! alone: a list has a job as it was when a worker answered, up to 5 s late, and never says whether the agent came.
//! That is whether its participant joined (livekit-server 1.13, pkg/rtc/room.go, `handleNewJobs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event_time::{CUT, earliest};
use super::settings::Settings;
use livekit_otel_model::event::answer::{self, DispatchJob};
use livekit_otel_model::event::rooms::ListedParticipant;
use livekit_otel_model::event::{Event, EventKind, Identity, ParticipantSid, ReportedTime, Time};

/// A job is listed after this at the latest.
pub(super) const LISTED_AFTER: Duration = Duration::from_secs(6);
// A room's dispatches are looked for no more often, while somebody joins.
const LOOKED_FOR: Duration = Duration::from_mins(1);
// A room that is older than this when it is first heard of was open before.
const FIRST_HEARD: Duration = Duration::from_secs(5);
// How much our clock may be behind the server's: one event with a wrong time must not bring deadlines forward.
const MOST_BEHIND: i64 = 2_000_000_000;
// How many dispatches of a room, how many jobs of a dispatch, and how many ids are kept.
const MOST: usize = 1000;
const MOST_JOBS: usize = 32;
const MOST_IDS: usize = 10_000;

/// The dispatches of a room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Dispatches {
    pub(super) known: BTreeMap<Arc<str>, Dispatch>,
    /// Those that are not released.
    pub(super) open: BTreeSet<Arc<str>>,
    // The ids of listed ones that were released and forgotten.
    forgotten: BTreeSet<Arc<str>>,
    // The job and the dispatch of each agent's identity.
    pub(super) identities: BTreeMap<Identity, (Arc<str>, Arc<str>)>,
    // The participants that are agents, and when those joined that were listed.
    pub(super) agents: BTreeSet<ParticipantSid>,
    pub(super) listed_agents: BTreeMap<Identity, (Time, ParticipantSid)>,
    pub(super) triggers: Triggers,
    // When the newest lists of dispatches and of participants were asked for.
    listed: Option<Time>,
    seen: Option<Time>,
    // When the room was first heard of.
    pub(super) since: Option<Time>,
    // When a list was last wanted as somebody joined.
    pub(super) looked: Option<Time>,
    // By how many nanoseconds our clock is ahead of the server's, at most: the least delay of an event.
    ahead: Option<i64>,
    #[serde(skip)]
    pub(super) wanted: Vec<Time>,
    // Whether nothing has changed that is not of an open dispatch.
    #[serde(skip)]
    pub(super) is_settled: bool,
}

/// What a worker may wait for before it is given a job (livekit-server 1.13, pkg/rtc/room.go, `launchTargetAgents`):
/// when somebody who is no agent first joined and first published.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Triggers {
    joined: Option<Time>,
    published: Option<Time>,
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
    started: Option<Time>,
    pub(super) ended: Option<Time>,
    pub(super) error: Option<Arc<str>>,
}

impl Dispatch {
    /// Until when its agent may join; `None` while it has no job and nobody has joined, as its worker may wait for
    /// that. A publication counts if it is before the deadline without it.
    pub(super) fn deadline(&self, triggers: Triggers, settings: &Settings) -> Option<Time> {
        if self.jobs.is_empty() && triggers.joined.is_none() {
            return None;
        }
        let started = self.jobs.values().filter_map(|job| job.started).min();
        let is_before = |at: &Time| started.is_none_or(|started| *at <= started);
        let joined = triggers.joined.filter(is_before);
        let begun = joined.map_or(self.created, |at| at.max(self.created));
        let deadline = begun + settings.dispatch_deadline;
        let published = triggers.published.filter(|at| is_before(at) && *at <= deadline);
        Some(deadline.max(published.map_or(deadline, |at| at + settings.dispatch_deadline)))
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
            started: job.started,
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
        let Some(ReportedTime { at: reported, whole_seconds }) = event.reported else { return };
        // These are of the room's node, which makes the dispatches.
        if joins || event.kind == EventKind::RoomCreated {
            let [now, reported] = [now, reported].map(|at| i64::try_from(at.nanos()).ok());
            let delay = now.zip(reported).map(|(now, reported)| now - reported);
            let delay = delay.map(|delay| delay.max(-MOST_BEHIND));
            self.ahead = self.ahead.into_iter().chain(delay).min();
        }
        let Some(who) = &event.participant else { return };
        let is_worker = matches!(who.kind.as_deref(), Some("AGENT" | "EGRESS"));
        if is_worker || self.agents.contains(&who.sid) {
            return;
        }
        // It was at the end of its second at the latest.
        let reported = if whole_seconds { reported + CUT } else { reported };
        if joins {
            earliest(&mut self.triggers.joined, who.joined.unwrap_or(reported));
            self.look_after_join(now);
        } else if event.kind == EventKind::TrackPublished {
            earliest(&mut self.triggers.published, reported);
        }
    }

    // Who joins may be the reason of a dispatch.
    fn look_after_join(&mut self, now: Time) {
        let Some(looked) = self.looked.filter(|looked| *looked + LISTED_AFTER < now) else {
            return;
        };
        self.look(now.max(looked + LOOKED_FOR));
    }

    /// Applies a list of the participants that was asked for at `at`.
    pub(super) fn see(&mut self, participants: &[ListedParticipant], at: Time) {
        for listed in participants {
            let Some((joined, identity)) = listed.joined.zip(listed.identity.as_ref()) else {
                continue;
            };
            match listed.kind.as_deref() {
                Some("AGENT") => {
                    let is_known = self.listed_agents.contains_key(identity);
                    if is_known || self.listed_agents.len() < MOST {
                        let new = (joined, listed.sid.clone());
                        let known = self.listed_agents.entry(identity.clone());
                        let known = known.or_insert_with(|| new.clone());
                        *known = new.min(known.clone());
                    }
                }
                Some("EGRESS") => {}
                _ => earliest(&mut self.triggers.joined, joined),
            }
        }
        self.seen = self.seen.max(Some(at));
    }

    /// Notes an agent.
    pub(super) fn add_agent(&mut self, sid: &ParticipantSid) {
        if !self.agents.contains(sid) {
            self.agents.insert(sid.clone());
            self.is_settled = false;
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

    /// Wants a list of what was there at `at`.
    pub(super) fn look(&mut self, at: Time) {
        self.looked = Some(at);
        self.wanted.push(at + LISTED_AFTER);
        self.is_settled = false;
    }

    /// Applies a list that was asked for at `at`. Its room has ended at `end`; if it was replaced, the list may be that
    /// of the newer room (not `is_current`). Returns the identities whose jobs are known from now on.
    pub(super) fn list(
        &mut self,
        dispatches: &[answer::Dispatch],
        at: Time,
        (end, is_current): (Option<Time>, bool),
    ) -> Vec<Identity> {
        let (is_newest, theirs) = (self.listed.is_none_or(|listed| listed <= at), self.theirs(at));
        let mut named = Vec::new();
        for listed in dispatches {
            let created = listed.created.unwrap_or(theirs);
            let is_ours = end.map_or(is_current, |end| created <= end);
            let is_new = !self.known.contains_key(&listed.id);
            if is_new && (!is_ours || self.forgotten.contains(&listed.id) || !self.has_space()) {
                continue;
            }
            self.add(listed, created, is_newest, &mut named);
        }
        if is_current {
            let there: BTreeSet<_> = dispatches.iter().map(|listed| &listed.id).collect();
            for (id, dispatch) in &mut self.known {
                // What is deleted is no longer listed.
                if dispatch.deleted.is_none() && !there.contains(id) && dispatch.created < theirs {
                    dispatch.deleted = Some(theirs);
                }
            }
            self.forgotten.retain(|id| there.contains(id));
        }
        self.listed = self.listed.max(Some(at));
        self.is_settled = false;
        named
    }

    // Whether there is space for another, if need be after the oldest that was released is forgotten.
    fn has_space(&mut self) -> bool {
        if self.known.len() < MOST {
            return true;
        }
        let released = self.known.iter().filter(|(_, dispatch)| dispatch.is_released);
        let oldest = released.min_by_key(|(_, dispatch)| dispatch.created);
        let Some(id) = oldest.map(|(id, _)| Arc::clone(id)) else { return false };
        if self.forgotten.len() >= MOST_IDS {
            return false;
        }
        self.known.remove(&id);
        self.identities.retain(|_, (_, dispatch)| *dispatch != id);
        self.forgotten.insert(id);
        true
    }

    fn add(
        &mut self,
        listed: &answer::Dispatch,
        created: Time,
        is_newest: bool,
        named: &mut Vec<Identity>,
    ) {
        if !self.known.contains_key(&listed.id) {
            self.open.insert(Arc::clone(&listed.id));
        }
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
                if self.identities.insert(identity.clone(), of).is_none() {
                    named.push(identity.clone());
                }
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

    /// From when on a list says what became of a dispatch with that deadline: that is over, and so is the time in which
    /// a job, its own or that of an agent whose dispatch is unknown, may be listed late. `strangers` are when such
    /// joined.
    pub(super) fn conclusive(
        &self,
        dispatch: &Dispatch,
        deadline: Time,
        strangers: &[Time],
    ) -> Time {
        let window = dispatch.created..=deadline;
        let strangers = strangers.iter().copied().filter(|at| window.contains(at));
        let begun = strangers.fold(dispatch.created, Time::max);
        self.ours(deadline.max(begun + LISTED_AFTER))
    }

    /// Whether there is a list of dispatches that was asked for since then.
    pub(super) fn is_listed(&self, since: Time) -> bool {
        self.listed.is_some_and(|at| at >= since)
    }

    /// Whether there is a list of participants that was asked for since then.
    pub(super) fn is_seen(&self, since: Time) -> bool {
        self.seen.is_some_and(|at| at >= since)
    }

    /// When spans of it are due next after `now`.
    pub(super) fn next_deadline(&self, now: Time, settings: &Settings) -> Option<Time> {
        let open = self.open.iter().filter_map(|id| self.known.get(id));
        let deadlines = open.filter_map(|dispatch| dispatch.deadline(self.triggers, settings));
        deadlines.map(|at| self.due(at, settings)).filter(|at| *at > now).min()
    }

    /// Whether it was created before its room was heard of, so that its agent may have come and gone.
    pub(super) fn is_before(&self, dispatch: &Dispatch) -> bool {
        self.since.is_some_and(|since| self.ours(dispatch.created) + FIRST_HEARD < since)
    }

    /// When the span of a dispatch with that deadline is due.
    pub(super) fn due(&self, deadline: Time, settings: &Settings) -> Time {
        self.ours(deadline) + settings.linger
    }

    /// Whether an agent whose dispatch is unknown, as no list is new enough, may be that of this one.
    pub(super) fn may_be_of(&self, dispatch: &Dispatch, strangers: &[Time]) -> bool {
        let unlisted = |at: &&Time| !self.is_listed(self.ours(**at + LISTED_AFTER));
        strangers.iter().filter(unlisted).any(|at| *at >= dispatch.created)
    }
}

/// The identity that the agent of a job has, unless it has chosen another (livekit-agents, job.py, `accept`).
fn identity_of(job: &str) -> Option<Identity> {
    Identity::new(&format!("agent-{job}"))
}

fn shift(at: Time, by: i64) -> Time {
    Time::from_nanos(at.nanos().saturating_add_signed(by)).unwrap_or(at)
}
