//! An agent's job of which records were received.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::derived::Learnt;
use super::held::Held;
use super::missing::Missing;
use super::names;
use super::recent::Recent;
use super::turns::Turns;
use super::waiting::Waiting;
use crate::session::{Sessions, Stay};
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::foreign::{Facts, ForeignSpan, Origin};
use livekit_otel_model::interned::Name;
use livekit_otel_model::signal::{SpanId, TraceId};

/// How long after a job's end, and after its last span, a missing span may still be received.
pub(super) const GRACE: Duration = Duration::from_secs(35);
/// After how long without a record a job has ended, if nothing is known of its room and its agent.
pub(super) const SILENCE: Duration = Duration::from_hours(1);
// How long the ids of its spans are remembered after that.
const KEEP: Duration = Duration::from_hours(1);
// An agent that reconnects is another participant.
const MOST_AGENTS: usize = 16;

/// The rules of `lk.end.inferred`.
const END_BY_ROOT: &str = "job_ended";
const END_BY_AGENT: &str = "participant_left";
const END_BY_ROOM: &str = "room_ended";
pub(super) const END_BY_SILENCE: &str = "silence";

/// A job in a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) room: RoomSid,
    pub(super) job: Arc<str>,
}

impl Key {
    /// The job that a record names.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        Some(Self { room: facts.room.clone()?, job: Arc::clone(facts.job.as_ref()?) })
    }
}

/// What becomes of a job's spans and log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    Join,
    Link,
    Off,
}

/// A span's id that may also be known only as the parent of others. Of several the smallest is used, as spans
/// may come in any order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    own: Option<SpanId>,
    named: Option<SpanId>,
}

impl Known {
    fn add(to: &mut Option<SpanId>, id: Option<SpanId>) {
        *to = to.iter().copied().chain(id).min();
    }

    pub(super) fn id(&self) -> Option<SpanId> {
        self.own.or(self.named)
    }

    pub(super) fn received(&self) -> Option<SpanId> {
        self.own
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Chosen at its first span.
    pub(super) mode: Option<Mode>,
    /// Whether its content must not leave.
    pub(super) is_redacted: bool,
    /// Its participants.
    pub(super) agents: Vec<ParticipantSid>,
    /// Its traces, as its records name them.
    pub(super) traces: BTreeSet<TraceId>,
    pub(super) session: Known,
    pub(super) entrypoint: Known,
    /// Its span that began first, and the latest end of all.
    pub(super) first: Option<((Time, SpanId), Arc<Origin>)>,
    pub(super) last: Option<Time>,
    /// Its spans.
    pub(super) seen: Recent<()>,
    /// Parents of spans that left, which were not received yet.
    pub(super) missing: BTreeMap<SpanId, Missing>,
    /// How many of its spans are in the room's trace.
    pub(super) placed: usize,
    pub(super) held: Held,
    /// The spans that are in the trace of a turn.
    pub(super) own: Recent<TraceId>,
    pub(super) waiting: Waiting,
    /// The starts of the sessions whose recordings were received.
    pub(super) recordings: BTreeSet<Option<Time>>,
    /// Whether spans of it are in a trace whose room's span may never come.
    pub(super) lacks_room: bool,
    pub(super) is_linked_back: bool,
    /// Of its models, turns and end.
    pub(super) learnt: Learnt,
    /// When a record and a span of it were last received, and when it was last found to go on.
    heard: Time,
    heard_span: Time,
    checked: Time,
    /// When its end became known, and by which rule.
    pub(super) ended: Option<(Time, Rule)>,
    /// When it is due.
    pub(super) due: Time,
    /// Turns that wait, and the users' newest turns by their starts.
    pub(super) turns: Turns,
    pub(super) callers: BTreeSet<(Time, ParticipantSid)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule(#[serde(with = "livekit_otel_model::interned")] pub(super) Name);

impl Job {
    pub(super) fn new(is_counted: bool, now: Time) -> Self {
        Self {
            mode: None,
            is_redacted: false,
            agents: Vec::new(),
            traces: BTreeSet::new(),
            session: Known::default(),
            entrypoint: Known::default(),
            first: None,
            last: None,
            seen: Recent::default(),
            missing: BTreeMap::new(),
            placed: 0,
            held: Held::default(),
            own: Recent::default(),
            waiting: Waiting::default(),
            recordings: BTreeSet::new(),
            lacks_room: false,
            is_linked_back: false,
            learnt: Learnt::new(is_counted),
            heard: now,
            heard_span: now,
            checked: now,
            ended: None,
            due: now,
            turns: Turns::default(),
            callers: BTreeSet::new(),
        }
    }

    /// Notes that a record was received, and whether its content must not leave.
    pub(super) fn hear(&mut self, facts: &Facts, now: Time) {
        self.heard = self.heard.max(now);
        self.is_redacted |= facts.is_redacted;
    }

    /// Notes what a span says of its job.
    pub(super) fn learn(&mut self, span: &ForeignSpan, now: Time) {
        self.heard_span = self.heard_span.max(now);
        self.last = self.last.max(Some(span.end));
        self.learn_caller(span);
        let began = (span.start, span.span_id);
        if self.first.as_ref().is_none_or(|(first, _)| began < *first) {
            self.first = Some((began, Arc::clone(&span.origin)));
        }
        match &*span.name {
            names::SESSION => {
                Known::add(&mut self.session.own, Some(span.span_id));
                Known::add(&mut self.entrypoint.named, span.parent);
            }
            names::ENTRYPOINT => Known::add(&mut self.entrypoint.own, Some(span.span_id)),
            names::USER_TURN | names::AGENT_TURN => {
                Known::add(&mut self.session.named, span.parent);
            }
            _ => {}
        }
        if names::is_of_agent(&span.name)
            && let Some(sid) = &span.facts.participant
            && self.agents.len() < MOST_AGENTS
            && let Err(place) = self.agents.binary_search(sid)
        {
            self.agents.insert(place, sid.clone());
            self.ended = self.ended.filter(|(_, Rule(rule))| *rule == END_BY_ROOT);
        }
        if names::ends_job(&span.name, span.parent.is_none()) {
            self.ended.get_or_insert((now, Rule(END_BY_ROOT)));
        }
    }

    /// Whether spans are held, or are missing.
    pub(super) fn is_unfinished(&self) -> bool {
        self.lacks_room || !self.missing.is_empty() || !self.held.is_empty()
    }

    /// Notes its end if its agent or its room is gone. Without knowing, a long silence is an end.
    pub(super) fn check(&mut self, room: &RoomSid, sessions: &Sessions, now: Time) {
        if self.ended.is_some() {
            return;
        }
        match sessions.stay(room, &self.agents, now) {
            Stay::Gone(at) => {
                let rule = if self.agents.is_empty() { END_BY_ROOM } else { END_BY_AGENT };
                self.ended = Some((at, Rule(rule)));
            }
            Stay::There => self.checked = now,
            Stay::Unknown if self.silent_at() <= now => {
                self.ended = Some((now, Rule(END_BY_SILENCE)));
            }
            Stay::Unknown => {}
        }
    }

    /// The rule of its end, if it has ended.
    pub(super) fn rule(&self) -> Option<&'static str> {
        self.ended.map(|(_, Rule(rule))| rule)
    }

    /// The memory that it takes, in bytes. The lists of ids grow ahead.
    pub(super) fn weight(&self) -> usize {
        let ids = 10 * self.seen.len() + 30 * self.own.len();
        6144 + ids + self.learnt.weight() + 400 * self.missing.len() + 100 * self.traces.len()
    }

    fn silent_at(&self) -> Time {
        self.heard.max(self.checked) + SILENCE
    }

    /// When its missing spans are inferred, if it has ended.
    pub(super) fn finish_at(&self) -> Option<Time> {
        let (ended, _) = self.ended.filter(|_| self.is_unfinished())?;
        Some(ended.max(self.heard_span) + GRACE)
    }

    /// When it is counted, if it has ended.
    pub(super) fn count_at(&self) -> Option<Time> {
        let (ended, _) = self.ended.filter(|_| !self.learnt.is_counted())?;
        Some(ended.max(self.heard) + GRACE)
    }

    /// When it is forgotten, if it has ended and nothing of it is missing.
    pub(super) fn forget_at(&self) -> Option<Time> {
        let (ended, _) = self.ended.filter(|_| !self.is_unfinished())?;
        Some(ended.max(self.heard) + GRACE + KEEP)
    }

    /// When it is due next.
    pub(super) fn next_deadline(&self) -> Time {
        let end = self.finish_at().or_else(|| self.forget_at()).unwrap_or_else(|| self.silent_at());
        let waits = self.waiting.next_deadline().into_iter().chain(self.turns.next_deadline());
        waits.chain(self.count_at()).fold(end, Time::min)
    }
}
