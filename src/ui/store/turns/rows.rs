//! Turns: what a person said, and what an agent answered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failed::Failure;
use super::held::Agents;
use super::stage::Stage;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Measure;
use livekit_otel_model::signal::SpanId;
use livekit_otel_pipeline::AgentSpan;

// An answer may be prepared before the turn is over, and begin while its application still works.
const EARLY: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(10);

/// A turn: what a person said and what the agent answered, or one of them.
#[derive(Debug)]
pub(in crate::ui) struct Turn<'a> {
    /// The agent's job.
    pub(in crate::ui) job: Option<&'a str>,
    /// What a person said; `None` where the agent speaks of its own accord.
    pub(in crate::ui) user: Option<&'a AgentSpan>,
    /// What the agent answered, in several spans if it used tools (npm) or began anew.
    pub(in crate::ui) answers: Vec<&'a AgentSpan>,
    /// The stages, by their start.
    pub(in crate::ui) stages: Vec<(Stage, &'a AgentSpan)>,
}

type Children<'a> = BTreeMap<SpanId, Vec<(Stage, &'a AgentSpan)>>;

impl Agents {
    /// The turns, oldest first.
    pub(in crate::ui) fn turns(&self) -> Vec<Turn<'_>> {
        let (mut own, mut children) = (Vec::new(), Children::new());
        for span in &self.spans {
            match (Stage::of(span), span.parent) {
                (Some(stage @ (Stage::UserTurn | Stage::AgentTurn)), _) => own.push((stage, span)),
                (Some(stage), Some(parent)) => {
                    children.entry(parent).or_default().push((stage, span));
                }
                _ => {}
            }
        }
        own.sort_by_key(|(stage, span)| (&span.of.job, span.start, *stage, span.span_id));
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for (stage, span) in own {
            let stages = children.remove(&span.span_id).unwrap_or_default();
            let place = if stage == Stage::AgentTurn { answered(&turns, span) } else { None };
            match place.and_then(|place| turns.get_mut(place)) {
                Some(turn) => turn.answer(span, stages),
                None => turns.push(Turn::new(stage, span, stages)),
            }
        }
        turns.sort_by_key(Turn::start);
        turns
    }
}

// The turn that a span answers. Those of a job are last, by their start.
fn answered(turns: &[Turn<'_>], span: &AgentSpan) -> Option<usize> {
    let job = span.of.job.as_deref();
    let of_job = || turns.iter().enumerate().rev().take_while(|(_, turn)| turn.job == job);
    let speech = speech(span);
    let same = |turn: &Turn<'_>| turn.answers.iter().any(|answer| self::speech(answer) == speech);
    if speech.is_some()
        && let Some((place, _)) = of_job().find(|(_, turn)| same(turn))
    {
        return Some(place);
    }
    let (place, turn) = of_job().find(|(_, turn)| turn.user.is_some())?;
    let user = turn.user?;
    let spoken = turn.ends(Stage::UserSpeaks).max().unwrap_or(user.start);
    let is_near = span.start + EARLY >= spoken && span.start <= user.end + LATE;
    (is_near && turn.spoke().is_none()).then_some(place)
}

fn speech(span: &AgentSpan) -> Option<&str> {
    span.measured.as_ref()?.speech.as_deref()
}

impl<'a> Turn<'a> {
    fn new(stage: Stage, span: &'a AgentSpan, stages: Vec<(Stage, &'a AgentSpan)>) -> Self {
        let job = span.of.job.as_deref();
        let mut turn = Self { job, user: None, answers: Vec::new(), stages: Vec::new() };
        if stage == Stage::UserTurn {
            turn.user = Some(span);
            turn.add(stages);
        } else {
            turn.answer(span, stages);
        }
        turn
    }

    fn answer(&mut self, span: &'a AgentSpan, stages: Vec<(Stage, &'a AgentSpan)>) {
        self.answers.push(span);
        self.add(stages);
    }

    fn add(&mut self, stages: Vec<(Stage, &'a AgentSpan)>) {
        self.stages.extend(stages);
        self.stages.sort_by_key(|(_, span)| (span.start, span.span_id));
    }

    /// The spans of the turn itself.
    pub(in crate::ui) fn own(&self) -> impl Iterator<Item = &'a AgentSpan> {
        self.user.into_iter().chain(self.answers.iter().copied())
    }

    /// The spans of a stage.
    pub(in crate::ui) fn of(&self, stage: Stage) -> impl Iterator<Item = &'a AgentSpan> {
        self.stages.iter().filter(move |(of, _)| *of == stage).map(|(_, span)| *span)
    }

    fn ends(&self, stage: Stage) -> impl Iterator<Item = Time> {
        self.of(stage).map(|span| span.end)
    }

    /// When it began.
    pub(in crate::ui) fn start(&self) -> Time {
        let own = self.own().map(|span| span.start).min();
        // A turn has a span of its own.
        own.unwrap_or_else(|| Time::from_system(std::time::UNIX_EPOCH))
    }

    /// The number of its first span that has it, in seconds where it is a duration.
    pub(in crate::ui) fn number(&self, measure: Measure) -> Option<f64> {
        let stages = self.stages.iter().map(|(_, span)| *span);
        let number = |span: &AgentSpan| span.measured.as_ref()?.number(measure);
        self.own().chain(stages).find_map(number)
    }

    /// When the person had spoken.
    pub(in crate::ui) fn heard(&self) -> Option<Time> {
        let user = self.user?;
        let latency = || Duration::try_from_secs_f64(self.number(Measure::EndToEnd)?).ok();
        let before = || {
            let nanos = u64::try_from(latency()?.as_nanos()).ok()?;
            Time::from_nanos(self.spoke()?.nanos().checked_sub(nanos)?)
        };
        Some(self.ends(Stage::UserSpeaks).max().or_else(before).unwrap_or(user.end))
    }

    /// When the agent's first audio was heard.
    pub(in crate::ui) fn spoke(&self) -> Option<Time> {
        self.of(Stage::AgentSpeaks).map(|span| span.start).min()
    }

    /// From the end of the person's speech to the agent's first audio: as the agent measured it, else by the times.
    pub(in crate::ui) fn latency(&self) -> Option<Duration> {
        let measured = self.number(Measure::EndToEnd);
        let measured = measured.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        measured.or_else(|| {
            let (heard, spoke) = self.heard().zip(self.spoke())?;
            (spoke >= heard).then(|| spoke.since(heard))
        })
    }

    /// Whether the agent was interrupted, if it answered.
    pub(in crate::ui) fn is_interrupted(&self) -> bool {
        let interrupted = |span: &&AgentSpan| {
            span.measured.as_ref().is_some_and(|it| it.is_interrupted == Some(true))
        };
        self.answers.iter().any(interrupted)
    }

    /// Whether the failure is one of its spans or below them.
    pub(in crate::ui) fn has(&self, failure: &Failure<'_>) -> bool {
        let own = self.own().chain(self.stages.iter().map(|(_, span)| *span));
        own.into_iter().any(|span| failure.around.contains(&span.span_id))
    }
}
