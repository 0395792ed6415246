//! What is learnt of a job's models, turns and end, and the values that its spans have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::store::{Derived, Value};
use super::values::{Kind, Labels, Model, Uploaded, What};
use crate::agents::names;
use crate::ids;
use crate::stats::seconds;
use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::foreign::{ForeignLog, ForeignSpan, Measure, Measured, Recording};
use livekit_otel_model::signal::TraceId;

// Turns whose own span is awaited: a person and an agent take turns.
const MOST_TURNS: usize = 16;
// Speeches of which a turn was counted. Those of one speech follow each other.
const MOST_SPEECHES: usize = 32;
// Values that wait until a model of their kind is known, and for how long: the span above comes with the next upload.
const MOST_WAITING: usize = 64;
const WAIT: Duration = Duration::from_secs(10);
const LONGEST_TOOL: Duration = Duration::from_hours(24);
// OpenTelemetry's `error.type` of what is not known.
const OTHER: &str = "_OTHER";
// The close reason of a session that failed.
const FAILED: &str = "error";

/// Where a job's values go.
#[derive(Debug)]
pub(in crate::agents) struct Values<'a> {
    pub(in crate::agents) room: &'a RoomSid,
    pub(in crate::agents) job: &'a Arc<str>,
    pub(in crate::agents) derived: &'a mut Derived,
    pub(in crate::agents) now: Time,
}

/// What is known of one job.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::agents) struct Learnt {
    // The newest of each kind: language, speech, transcription.
    models: [Option<Model>; 3],
    turns: VecDeque<Turn>,
    waiting: VecDeque<Waiting>,
    speeches: VecDeque<[u8; 8]>,
    // A speech whose reply may come as another turn, and whether it was interrupted.
    unfinished: Option<([u8; 8], bool)>,
    // Which metrics it has values of, by bits.
    has: u16,
    end: End,
    is_counted: bool,
}

// What came of a turn before its own span.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Turn {
    id: [u8; 8],
    model: Option<Model>,
    // When the language model was last asked, and when a tool was last called.
    asked: Option<Time>,
    called: Option<Time>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    value: Value,
    kind: Kind,
    is_request: bool,
    error: Option<Arc<str>>,
    received: Time,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct End {
    is_there: bool,
    close_reason: Option<Arc<str>>,
    error: Option<Arc<str>>,
    // Of its log records.
    exception: Option<Arc<str>>,
}

impl Learnt {
    /// Of a job that was counted already, or was not.
    pub(in crate::agents) fn new(is_counted: bool) -> Self {
        Self { is_counted, ..Self::default() }
    }

    /// Whether the job was counted.
    pub(in crate::agents) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether the job has values of that metric, so that its own points of it are not needed.
    pub(in crate::agents) fn replaces(&self, what: What) -> bool {
        self.has & (1 << what as u16) != 0
    }

    /// Reads a span that is not a copy, and adds its values. `trace` is where it leaves, if that is known.
    pub(in crate::agents) fn span(
        &mut self,
        span: &ForeignSpan,
        trace: Option<TraceId>,
        to: &mut Values<'_>,
    ) {
        let measured = span.facts.measured.as_deref();
        let kind = kind(&span.name);
        let model = measured.and_then(model);
        if let (Some(kind), Some(model)) = (kind, &model) {
            self.models[kind as usize] = Some(model.clone());
            self.release(Some(kind), to);
        }
        self.release(None, to);
        let context = trace.map(|trace| (trace, span.span_id));
        let of = |what, amount| Value { what, amount, time: span.end, span: context };
        match &*span.name {
            names::LLM_NODE => {
                let turn = self.turn(span);
                turn.model = model.clone().or(turn.model.take());
                turn.asked = turn.asked.max(Some(span.start));
            }
            names::TOOL => {
                let turn = self.turn(span);
                turn.called = turn.called.max(Some(span.start));
                let tool = measured.and_then(|measured| measured.tool.clone());
                let labels = Labels::Tool { tool, error: error(span) };
                let took = span.end.since(span.start);
                // Without one of its times it would spoil the sum.
                if took < LONGEST_TOOL {
                    self.add(&of(What::Tool, seconds(took)), labels, to);
                }
            }
            names::LLM_ATTEMPT | names::TTS_ATTEMPT => {
                self.add_of_model(of(What::Requests, 1.0), kind, model.as_ref(), error(span), to);
            }
            names::AGENT_TURN => self.agent_turn(measured, span, &of, to),
            names::SESSION_CLOSE => self.end.session(span),
            name if names::ends_job(name, span.parent.is_none()) => self.end.root(span),
            _ => {}
        }
        for (measure, amount) in measured.iter().flat_map(|it| &it.numbers) {
            if let Some((what, kind)) = metric(*measure, &span.name) {
                self.add_of_model(of(what, *amount), Some(kind), model.as_ref(), None, to);
            }
        }
    }

    /// Reads what failed, if it was in a log record.
    pub(in crate::agents) fn log(&mut self, log: &ForeignLog) {
        if let Some(exception) = &log.failure {
            self.end.exception.get_or_insert_with(|| Arc::clone(exception));
        }
    }

    /// Reads a session's end from the header of its recording, and counts the transcriptions that failed: no span is
    /// of them.
    pub(in crate::agents) fn recording(&mut self, recording: &Recording, to: &mut Values<'_>) {
        self.end.is_there = true;
        let reason = recording.close_reason.as_deref();
        self.end.close_reason =
            self.end.close_reason.take().or_else(|| reason.map(names::close_reason).map(Arc::from));
        let failed = recording.errors.iter().filter(|(kind, _)| &**kind == "stt");
        let failed: u64 = failed.map(|(_, count)| count).sum();
        if failed > 0 {
            let used = recording.usage.iter().find(|model| &*model.kind == "stt");
            let text = |text: &Arc<str>| Some(Arc::clone(text)).filter(|text| !text.is_empty());
            let model =
                used.map(|used| Model { provider: text(&used.provider), name: text(&used.model) });
            let (amount, time) = (failed as f64, to.now);
            let value = Value { what: What::Requests, amount, time, span: None };
            self.add_of_model(value, Some(Kind::Stt), model.as_ref(), Some(OTHER.into()), to);
        }
    }

    /// Adds what waits, as nothing more is expected.
    pub(in crate::agents) fn settle(&mut self, to: &mut Values<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            let model = self.models[waiting.kind as usize].clone().unwrap_or_default();
            self.leave(waiting, model, to);
        }
        self.count_unfinished(to);
    }

    /// The memory of what waits, in bytes.
    pub(in crate::agents) fn weight(&self) -> usize {
        320 * self.waiting.len()
    }

    /// Counts the job, once.
    pub(in crate::agents) fn count(&mut self, has_spans: bool, to: &mut Values<'_>) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let End { is_there, close_reason, error, exception } = &self.end;
        let uploaded = if *is_there { Uploaded::Complete } else { Uploaded::Partial };
        let failed = || close_reason.as_deref().filter(|it| *it == FAILED).map(|_| OTHER.into());
        let exception = exception.clone().filter(|_| !has_spans);
        let error = error.clone().or(exception).or_else(failed);
        let labels = Labels::Job { uploaded, close_reason: close_reason.clone(), error };
        self.add(&Value::job(to.now), labels, to);
    }

    fn agent_turn(
        &mut self,
        measured: Option<&Measured>,
        span: &ForeignSpan,
        of: &dyn Fn(What, f64) -> Value,
        to: &mut Values<'_>,
    ) {
        let place = self.turns.iter().position(|turn| turn.id == span.span_id);
        let turn = place.and_then(|place| self.turns.remove(place)).unwrap_or_default();
        let number = |measure| measured.and_then(|measured| measured.number(measure));
        for (measure, what, kind, model) in [
            (Measure::EndToEnd, What::EndToEnd, Kind::Llm, turn.model.as_ref()),
            (Measure::TurnCompleted, What::TurnCompleted, Kind::Stt, None),
        ] {
            if let Some(amount) = number(measure) {
                self.add_of_model(of(what, amount), Some(kind), model, None, to);
            }
        }
        let mut is_interrupted = measured.and_then(|it| it.is_interrupted).unwrap_or_default();
        if let Some(speech) = measured.and_then(|measured| measured.speech.as_ref()) {
            let id = ids::entity(speech);
            if self.speeches.contains(&id) {
                return;
            }
            if let Some((_, was)) = self.unfinished.take_if(|(unfinished, _)| *unfinished == id) {
                is_interrupted |= was;
            }
            self.count_unfinished(to);
            // npm's agents reply to a tool's result in another turn of the same speech.
            if turn.called > turn.asked {
                self.unfinished = Some((id, is_interrupted));
                return;
            }
            self.remember(id);
        }
        self.add(&of(What::Turns, 1.0), Labels::Turn { is_interrupted }, to);
    }

    fn count_unfinished(&mut self, to: &mut Values<'_>) {
        if let Some((id, is_interrupted)) = self.unfinished.take() {
            self.remember(id);
            let value = Value { what: What::Turns, amount: 1.0, time: to.now, span: None };
            self.add(&value, Labels::Turn { is_interrupted }, to);
        }
    }

    fn remember(&mut self, speech: [u8; 8]) {
        if self.speeches.len() >= MOST_SPEECHES {
            self.speeches.pop_front();
        }
        self.speeches.push_back(speech);
    }

    // The turn above a span.
    fn turn(&mut self, span: &ForeignSpan) -> &mut Turn {
        let id = span.parent.unwrap_or_default();
        let known = self.turns.iter().position(|turn| turn.id == id);
        let place = known.unwrap_or_else(|| {
            if self.turns.len() >= MOST_TURNS {
                self.turns.pop_front();
            }
            self.turns.push_back(Turn { id, ..Turn::default() });
            self.turns.len() - 1
        });
        &mut self.turns[place]
    }

    // A value of a model, which may not be known yet.
    fn add_of_model(
        &mut self,
        value: Value,
        kind: Option<Kind>,
        own: Option<&Model>,
        error: Option<Arc<str>>,
        to: &mut Values<'_>,
    ) {
        let Some(kind) = kind else { return };
        self.has |= 1 << value.what as u16;
        let is_request = value.what == What::Requests;
        let known = own.or(self.models[kind as usize].as_ref()).cloned();
        let waiting = Waiting { value, kind, is_request, error, received: to.now };
        if let Some(model) = known {
            self.leave(waiting, model, to);
        } else if self.waiting.len() < MOST_WAITING && !self.is_counted {
            self.waiting.push_back(waiting);
        } else {
            self.leave(waiting, Model::default(), to);
        }
    }

    fn leave(&mut self, waiting: Waiting, model: Model, to: &mut Values<'_>) {
        let Waiting { value, kind, is_request, error, .. } = waiting;
        let labels =
            if is_request { Labels::Request { kind, model, error } } else { Labels::Model(model) };
        self.add(&value, labels, to);
    }

    // Releases what waits for a model of that kind; without one, what has waited long enough.
    fn release(&mut self, kind: Option<Kind>, to: &mut Values<'_>) {
        let now = to.now;
        let is_due = |it: &Waiting| match kind {
            Some(kind) => it.kind == kind,
            None => it.received + WAIT <= now,
        };
        while let Some(place) = self.waiting.iter().position(is_due) {
            let Some(waiting) = self.waiting.remove(place) else { return };
            let model = self.models[waiting.kind as usize].clone().unwrap_or_default();
            self.leave(waiting, model, to);
        }
        if self.waiting.is_empty() {
            // Its job stays for hours.
            self.waiting = VecDeque::new();
        }
    }

    fn add(&mut self, value: &Value, labels: Labels, to: &mut Values<'_>) {
        self.has |= 1 << value.what as u16;
        // A series of a sum begins with what there is.
        if value.amount > 0.0 || is_latency(value.what) {
            to.derived.add((to.room, Some(to.job)), value, labels, to.now);
        }
    }
}

impl End {
    fn session(&mut self, span: &ForeignSpan) {
        self.is_there = true;
        let measured = span.facts.measured.as_deref();
        let reason = measured.and_then(|measured| measured.close_reason.clone());
        if reason.as_deref() == Some(FAILED) {
            self.error = self.error.take().or_else(|| error(span));
        }
        self.close_reason = reason.or(self.close_reason.take());
    }

    fn root(&mut self, span: &ForeignSpan) {
        self.is_there = true;
        if span.failure.is_some() {
            self.error = error(span);
        }
    }
}

/// What failed of a span, in a word.
pub(in crate::agents) fn error(span: &ForeignSpan) -> Option<Arc<str>> {
    let named = span.facts.measured.as_deref().and_then(|measured| measured.error.clone());
    let failed = || span.failure.clone();
    named.or_else(failed).map(|error| if error.is_empty() { OTHER.into() } else { error })
}

fn model(measured: &Measured) -> Option<Model> {
    let (provider, name) = (measured.provider.clone(), measured.model.clone());
    (provider.is_some() || name.is_some()).then_some(Model { provider, name })
}

// Of which kind the model is that a span names.
fn kind(span: &str) -> Option<Kind> {
    match span {
        names::LLM_NODE | "llm_request" | names::LLM_ATTEMPT | "start_agent_activity" => {
            Some(Kind::Llm)
        }
        "tts_node" | "tts_request" | names::TTS_ATTEMPT => Some(Kind::Tts),
        names::USER_TURN => Some(Kind::Stt),
        _ => None,
    }
}

// The metric of a measure that is on such a span. An agent's turn repeats those of the user's and of its requests.
fn metric(measure: Measure, span: &str) -> Option<(What, Kind)> {
    let is_users = span == names::USER_TURN;
    if span == names::AGENT_TURN {
        return None;
    }
    match measure {
        Measure::Transcription if is_users => Some((What::Transcription, Kind::Stt)),
        Measure::EndOfTurn if is_users => Some((What::EndOfTurn, Kind::Stt)),
        Measure::FirstToken => Some((What::FirstToken, Kind::Llm)),
        Measure::FirstByte => Some((What::FirstByte, Kind::Tts)),
        Measure::InputTokens => Some((What::InputTokens, Kind::Llm)),
        Measure::CachedTokens => Some((What::CachedTokens, Kind::Llm)),
        Measure::OutputTokens => Some((What::OutputTokens, Kind::Llm)),
        Measure::Characters => Some((What::Characters, Kind::Tts)),
        Measure::Speech => Some((What::Speech, Kind::Tts)),
        _ => None,
    }
}

fn is_latency(what: What) -> bool {
    what <= What::Tool
}
