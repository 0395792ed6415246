//! The newest of what agents reported of a room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::bar;
use super::super::limits::Limits;
use super::stage::{Stage, is_failed};
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Measured;
use livekit_otel_pipeline::{AgentError, AgentSpan};

/// What agents reported of a room.
#[derive(Debug, Default)]
pub(in crate::ui) struct Agents {
    // Those that are a stage, in the order in which they came: children before their parents.
    pub(super) spans: VecDeque<AgentSpan>,
    pub(super) failed: VecDeque<AgentSpan>,
    pub(super) jobs: BTreeMap<Arc<str>, Job>,
    /// How many turns are no longer held.
    pub(in crate::ui) turns_forgotten: u64,
    /// How many failed spans are no longer held.
    pub(in crate::ui) failed_forgotten: u64,
}

// An agent's job.
#[derive(Debug, Default)]
pub(super) struct Job {
    // The agent's participant.
    agent: Option<Arc<str>>,
    pub(super) has_spans: bool,
    // The first error that it logged.
    pub(super) error: Option<(Time, Arc<str>)>,
}

impl Agents {
    /// Adds a span. Returns the change of the size in memory, approximately.
    pub(in crate::ui::store) fn span(&mut self, span: AgentSpan, limits: &Limits) -> isize {
        let mut change = self.learn(&span, limits);
        if is_failed(&span) {
            change += hold(&mut self.failed, span.clone(), limits.agent_failures, |_| {
                self.failed_forgotten += 1;
            });
        }
        if Stage::of(&span).is_some() {
            change += hold(&mut self.spans, span, limits.agent_spans, |old| {
                let is_turn = matches!(Stage::of(old), Some(Stage::UserTurn | Stage::AgentTurn));
                self.turns_forgotten += u64::from(is_turn);
            });
        }
        change
    }

    /// Adds an error that an agent logged. Returns the change of the size in memory, approximately.
    pub(in crate::ui::store) fn error(&mut self, error: &AgentError, limits: &Limits) -> isize {
        let Some(name) = &error.of.job else { return 0 };
        let change = self.open(name, limits);
        if let Some(job) = self.jobs.get_mut(name)
            && job.error.as_ref().is_none_or(|(time, _)| *time > error.time)
        {
            job.error = Some((error.time, Arc::clone(&error.error)));
        }
        change
    }

    fn learn(&mut self, span: &AgentSpan, limits: &Limits) -> isize {
        let Some(name) = &span.of.job else { return 0 };
        let change = self.open(name, limits);
        if let Some(job) = self.jobs.get_mut(name) {
            job.has_spans = true;
            // The spans whose participant is the agent itself.
            let is_own = matches!(&*span.name, "room_connect" | "agent_turn" | "agent_speaking");
            if let (true, Some(sid)) = (is_own, &span.participant) {
                job.agent = Some(sid.shared());
            }
        }
        change
    }

    // Adds a job, if it is new and fits.
    fn open(&mut self, name: &Arc<str>, limits: &Limits) -> isize {
        if self.jobs.contains_key(name) || self.jobs.len() >= limits.jobs {
            return 0;
        }
        self.jobs.insert(Arc::clone(name), Job::default());
        (size_of::<Job>() + size_of::<Arc<str>>() + name.len()).cast_signed()
    }

    /// Whether anything failed.
    pub(in crate::ui::store) fn has_failed(&self) -> bool {
        !self.failed.is_empty() || self.without_spans().next().is_some()
    }

    /// Whether it has spans of turns.
    pub(in crate::ui) fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// The participant that is the agent of a job.
    pub(in crate::ui) fn agent(&self, job: Option<&str>) -> Option<&str> {
        self.jobs.get(job?)?.agent.as_deref()
    }

    /// When the first of the held spans began.
    pub(in crate::ui::store) fn start(&self) -> Option<Time> {
        self.spans.iter().chain(&self.failed).map(|span| span.start).min()
    }
}

fn hold(
    held: &mut VecDeque<AgentSpan>,
    span: AgentSpan,
    most: usize,
    mut forget: impl FnMut(&AgentSpan),
) -> isize {
    let mut change = bytes(&span).cast_signed();
    held.push_back(span);
    while held.len() > most
        && let Some(old) = held.pop_front()
    {
        change -= bytes(&old).cast_signed();
        forget(&old);
    }
    change
}

// An upper bound, as texts are shared.
pub(super) fn bytes(span: &AgentSpan) -> usize {
    let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let measured = |it: &Measured| {
        let texts = [
            &it.provider,
            &it.model,
            &it.tool,
            &it.speech,
            &it.interrupted_by,
            &it.close_reason,
            &it.error,
        ];
        size_of::<Measured>()
            + size_of_val(&it.numbers[..])
            + texts.into_iter().map(text).sum::<usize>()
    };
    size_of::<AgentSpan>()
        + span.name.len()
        + text(&span.of.job)
        + text(&span.failure)
        + bar::bytes(&span.added)
        + span.measured.as_deref().map_or(0, measured)
}
