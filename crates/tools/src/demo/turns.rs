//! Agents' jobs and their turns, from the spans that agents sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::received::{Span, failed};
use super::text::{duration, percent, seconds};
use livekit_otel_model::semconv::{key, span};

/// The most turns of a job that are shown.
pub(super) const MOST_TURNS: usize = 20;

// The names of LiveKit's agents (livekit-agents, telemetry/trace_types.py).
const JOB_IDS: [&str; 2] = [key::JOB_ID, "job_id"];
const USER_TURN: &str = "user_turn";
const AGENT_TURN: &str = "agent_turn";
const MODEL: &str = "llm_node";
const TOOL: &str = "function_tool";
const SPEECH: &str = "tts_node";
const INTERRUPTED: &str = "lk.interrupted";

/// A job of an agent in a room.
pub(super) struct Job<'a> {
    pub(super) id: &'a str,
    /// The span above all others, if there is one.
    pub(super) span: Option<&'a Span>,
    /// By their start.
    pub(super) turns: Vec<Turn<'a>>,
}

/// What the user or the agent said at once.
pub(super) struct Turn<'a> {
    pub(super) span: &'a Span,
    parts: Vec<&'a Span>,
    // The user's turn that it answers.
    answered: Option<&'a Span>,
}

/// The agent's job whose program sent the span; `None` for spans of livekit-otel.
pub(super) fn job(of: &Span) -> Option<&str> {
    let is_ours = [span::AGENT_JOB, span::AGENT_DISPATCH].contains(&of.name.as_str());
    JOB_IDS.iter().find_map(|key| of.attributes.text(key)).filter(|_| !is_ours)
}

/// The jobs of the spans, which have an id each, by their start.
pub(super) fn jobs<'a>(spans: &[&'a Span]) -> Vec<Job<'a>> {
    let mut by_id: BTreeMap<&str, Vec<&'a Span>> = BTreeMap::new();
    for span in spans {
        by_id.entry(job(span).unwrap_or_default()).or_default().push(span);
    }
    let mut jobs: Vec<_> = by_id.into_iter().map(|(id, spans)| of_job(id, &spans)).collect();
    jobs.sort_by_key(|job| job.span.map(|span| span.start));
    jobs
}

fn of_job<'a>(id: &'a str, spans: &[&'a Span]) -> Job<'a> {
    let ids: HashSet<_> = spans.iter().map(|span| &span.span_id).collect();
    let is_turn = |span: &&&Span| matches!(span.name.as_str(), USER_TURN | AGENT_TURN);
    let is_above =
        |span: &&&Span| !is_turn(span) && !span.parent.as_ref().is_some_and(|id| ids.contains(id));
    let mut parts: HashMap<&str, Vec<&'a Span>> = HashMap::new();
    for span in spans {
        parts.entry(span.parent.as_deref().unwrap_or_default()).or_default().push(span);
    }
    let turn = |span: &&'a Span| Turn {
        span,
        parts: parts.get(span.span_id.as_str()).cloned().unwrap_or_default(),
        answered: None,
    };
    let mut turns: Vec<_> = spans.iter().filter(is_turn).map(turn).collect();
    turns.sort_by_key(|turn| (turn.span.start, turn.span.name == AGENT_TURN));
    let mut said = None;
    for turn in &mut turns {
        if turn.is_agents() {
            turn.answered = said.take();
        } else {
            said = Some(turn.span);
        }
    }
    Job { id, span: spans.iter().filter(is_above).min_by_key(|span| span.start).copied(), turns }
}

impl Turn<'_> {
    /// Whether it is the agent's.
    pub(super) fn is_agents(&self) -> bool {
        self.span.name == AGENT_TURN
    }

    /// What the waterfall calls it.
    pub(super) fn label(&self) -> String {
        let who = if self.span.name == USER_TURN { "user speaks" } else { "agent answers" };
        if self.is_interrupted() { format!("{who}, interrupted") } else { who.to_owned() }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.span.attributes.is_set(INTERRUPTED)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.parts.iter().copied().filter(move |span| span.name == name)
    }

    // How long the spans of a name lasted, together.
    fn lasted(&self, name: &str) -> Option<String> {
        let nanos = self.named(name).map(|span| span.end.saturating_sub(span.start));
        nanos.reduce(u64::saturating_add).map(duration)
    }

    // The sum of a measure over the spans of a name.
    fn measured(&self, name: &str, key: &str) -> Option<String> {
        let measures = self.named(name).filter_map(|span| span.attributes.number(key));
        measures.reduce(|sum, more| sum + more).and_then(seconds)
    }

    fn own(&self, key: &str) -> Option<String> {
        self.span.attributes.number(key).and_then(seconds)
    }

    // The caller's loss while the user or the agent spoke, whichever is more.
    fn loss(&self) -> Option<String> {
        let spans = self.answered.into_iter().chain([self.span]);
        let losses = spans.filter_map(|span| span.attributes.number(key::NETWORK_LOSS));
        losses.reduce(f64::max).map(percent)
    }

    /// The end of the turn, the model, tools, the speech, the answer, and the caller's loss.
    pub(super) fn cells(&self) -> [Option<String>; 6] {
        [
            self.own("lk.end_of_turn_delay"),
            self.measured(MODEL, "lk.response.ttft"),
            self.lasted(TOOL),
            self.measured(SPEECH, "lk.response.ttfb"),
            self.own("lk.e2e_latency"),
            self.loss(),
        ]
    }

    /// Why the first of its spans failed that did.
    pub(super) fn failure(&self) -> Option<String> {
        let span = self.parts.iter().chain([&self.span]).find(|span| failed(span))?;
        Some(format!("✗ {}", span.attributes.text(key::ERROR_TYPE).unwrap_or("error")))
    }
}
