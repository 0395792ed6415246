//! What an answer waited for.

use std::time::Duration;

use super::rows::Turn;
use super::stage::Stage;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Measure;

/// What an answer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ui) enum Cause {
    /// The decision that the person has finished.
    EndOfTurn,
    /// The application's `on_user_turn_completed`.
    Application,
    /// A tool.
    Tool,
    /// A language model.
    Model,
    /// A speech model.
    Speech,
    /// None of these.
    Rest,
}

impl Cause {
    pub(in crate::ui) const ALL: [Self; 6] =
        [Self::EndOfTurn, Self::Application, Self::Model, Self::Tool, Self::Speech, Self::Rest];
}

/// A part of the time before an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) struct Part {
    pub(in crate::ui) cause: Cause,
    pub(in crate::ui) start: Time,
    pub(in crate::ui) end: Time,
}

impl Part {
    pub(in crate::ui) fn length(&self) -> Duration {
        self.end.since(self.start)
    }
}

impl Turn<'_> {
    /// What the time before the agent's first audio was for, in its order. It begins with the end of the person's
    /// speech, or with the agent's turn, and ends with that turn if the agent never spoke.
    pub(in crate::ui) fn parts(&self) -> Vec<Part> {
        let first = || self.answers.iter().map(|span| span.start).min();
        let last = || self.own().map(|span| span.end).max();
        match self.heard().or_else(first).zip(self.spoke().or_else(last)) {
            Some((from, to)) => split(self, from, to),
            None => Vec::new(),
        }
    }
}

// Splits a time by what it was spent on. Each moment belongs to one cause: nothing is said before the turn is over,
// and a model's text is complete before its tool is called.
fn split(turn: &Turn<'_>, from: Time, to: Time) -> Vec<Part> {
    let all = causes(turn, from, to);
    let mut edges: Vec<Time> = all.iter().flat_map(|part| [part.start, part.end]).collect();
    edges.extend([from, to]);
    edges.retain(|at| (from..=to).contains(at));
    edges.sort_unstable();
    let mut parts: Vec<Part> = Vec::new();
    for (start, end) in edges.iter().zip(edges.iter().skip(1)).filter(|(from, to)| from < to) {
        let (start, end) = (*start, *end);
        let during = all.iter().filter(|part| part.start <= start && part.end >= end);
        let cause = during.map(|part| part.cause).min().unwrap_or(Cause::Rest);
        match parts.last_mut().filter(|last| last.cause == cause) {
            Some(last) => last.end = end,
            None => parts.push(Part { cause, start, end }),
        }
    }
    parts
}

// The times of each cause; the first one counts where several overlap.
fn causes(turn: &Turn<'_>, from: Time, to: Time) -> Vec<Part> {
    let mut all = Vec::new();
    for (stage, span) in &turn.stages {
        let (start, mut end) = (span.start, span.end);
        let cause = match stage {
            Stage::EndOfTurn => Cause::EndOfTurn,
            Stage::Application => Cause::Application,
            Stage::Tool => Cause::Tool,
            Stage::Model => {
                // Speech begins with the model's first words. A model that is through before the first audio is what
                // speech waited for; one that goes on is not.
                let speech = turn.of(Stage::Speech).map(|speech| speech.start);
                let begins = speech.filter(|begin| *begin >= start).min();
                if end > to {
                    end = begins.map_or(end, |begin| begin.min(end));
                }
                Cause::Model
            }
            Stage::Speech => Cause::Speech,
            _ => continue,
        };
        all.push(Part { cause, start, end });
    }
    // npm has the decision's delay, and no span of it.
    let is_known = all.iter().any(|part| part.cause == Cause::EndOfTurn);
    let delay = turn.number(Measure::EndOfTurn);
    let delay = delay.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    if let (false, Some(_), Some(delay)) = (is_known, turn.user, delay) {
        all.push(Part { cause: Cause::EndOfTurn, start: from, end: from + delay });
    }
    all
}
