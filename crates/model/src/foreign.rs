//! Records that other programs made, such as LiveKit's agents, and sent here as OTLP. They pass through whole: the
//! engine reads what is named in [`Facts`] and sets the fields of a span, log record or exemplar that join it to a
//! room's trace. The rest is opaque bytes, from their reader to their encoder.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::event::{ParticipantSid, RoomSid, Time};
use crate::signal::{Attribute, Link, SpanId, TraceId};

/// An upload: one request, or the header of one recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Upload {
    /// Finished spans.
    Spans(Vec<ForeignSpan>),
    /// Log records.
    Logs(Vec<ForeignLog>),
    /// Metric points.
    Metrics(Vec<ForeignMetric>),
    /// What a recording's header says of a session.
    Recording(Box<Recording>),
}

/// What passes through, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foreign {
    /// Spans.
    pub spans: Vec<ForeignSpan>,
    /// Log records.
    pub logs: Vec<ForeignLog>,
    /// Metrics.
    pub metrics: Vec<ForeignMetric>,
}

impl Foreign {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.logs.is_empty() && self.metrics.is_empty()
    }
}

/// Which program made a record, and which part of it: the resource and the scope, as their reader encoded them
/// without personal data and content that must not leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The encoded resource without `process`; empty if there is none.
    pub resource: Bytes,
    /// The resource's `service.instance.id`, if it is a text.
    pub process: Option<Box<str>>,
    /// The resource's schema URL; empty if there is none.
    pub resource_schema: Box<str>,
    /// The encoded scope; empty if there is none.
    pub scope: Bytes,
    /// The scope's schema URL; empty if there is none.
    pub scope_schema: Box<str>,
    /// Whether the resource names a room: that of LiveKit's agents framework does, a provider's of the agent's own
    /// does not.
    pub is_framework: bool,
}

/// What the engine reads of a foreign record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The room, from `lk.room_id` or `room_id`.
    pub room: Option<RoomSid>,
    /// The agent's job, from `lk.job_id` or `job_id`.
    pub job: Option<Arc<str>>,
    /// The participant that the record is about, from `lk.participant_id`.
    pub participant: Option<ParticipantSid>,
    /// Whether it carries `lk.redaction.enabled`: its job's content must not leave.
    pub is_redacted: bool,
    /// Whether it came as plain OTLP: what it says of rooms may be wrong, so that it opens none.
    pub is_plain: bool,
    /// More attributes that are read, by keys of [`crate::semconv`].
    pub attributes: Vec<Attribute>,
    /// What a span of LiveKit's agents says of models, tools and turns, if anything.
    pub measured: Option<Box<Measured>>,
}

/// What a span of LiveKit's agents says of models, tools and turns, by the keys of LiveKit's registry
/// (livekit/protocol, `otel/model/agents/registry.yaml`). Ids and names are cut to 128 bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Numbers, none of them negative.
    pub numbers: Vec<(Measure, f64)>,
    /// Who provides the model, from `gen_ai.provider.name`.
    pub provider: Option<Arc<str>>,
    /// The model, from `gen_ai.request.model`.
    pub model: Option<Arc<str>>,
    /// The tool, from `gen_ai.tool.name`.
    pub tool: Option<Arc<str>>,
    /// What the agent says, from `lk.speech_id`: npm has several turns for one.
    pub speech: Option<Arc<str>>,
    /// Whether the agent was interrupted, from `lk.interrupted`.
    pub is_interrupted: Option<bool>,
    /// By what, from `lk.interruption.source`.
    pub interrupted_by: Option<Arc<str>>,
    /// Why the session closed, from `lk.close_reason`.
    pub close_reason: Option<Arc<str>>,
    /// What failed, from `error.type` or `exception.type`, whatever the span's status is.
    pub error: Option<Arc<str>>,
}

impl Measured {
    /// The number of that measure.
    pub fn number(&self, measure: Measure) -> Option<f64> {
        self.numbers.iter().find(|(of, _)| *of == measure).map(|(_, number)| *number)
    }
}

/// A number of a span of LiveKit's agents. Durations are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// From the end of the user's speech to the agent's first audio.
    EndToEnd,
    /// From the end of the user's speech to the decision that the turn is over.
    EndOfTurn,
    /// From the end of the user's speech to its final transcript.
    Transcription,
    /// How long the application's `on_user_turn_completed` took.
    TurnCompleted,
    /// To the language model's first token.
    FirstToken,
    /// To the first byte of speech.
    FirstByte,
    /// Tokens that a language model received, in one request.
    InputTokens,
    /// Those of them that the provider had in its cache.
    CachedTokens,
    /// Tokens that a language model returned.
    OutputTokens,
    /// Characters that were spoken, in one request.
    Characters,
    /// How long the speech is.
    Speech,
}

/// The opaque part of a record, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// All of it that may leave.
    pub sent: Bytes,
    /// The same without content, for a job whose content must not leave; `None` if it is the same.
    pub redacted: Option<Bytes>,
}

/// A finished span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignSpan {
    /// Its program.
    pub origin: Arc<Origin>,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// Its parent span; a root has none.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: Arc<str>,
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// The error type if its status is an error; empty where it has none.
    pub failure: Option<Arc<str>>,
    /// Its links.
    pub links: Vec<ForeignLink>,
    /// What is read of it.
    pub facts: Facts,
    /// Attributes that were added here.
    pub added: Vec<Attribute>,
    /// Links that were added here.
    pub added_links: Vec<Link>,
    /// All other fields of the span, its name and its times among them. Empty for a span that is inferred: it has
    /// what is named here, and the kind internal.
    pub body: Body,
}

/// A link of a foreign span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignLink {
    /// The other's trace and id.
    pub to: (TraceId, SpanId),
    /// The other fields.
    pub body: Body,
}

/// A log record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignLog {
    /// Its program.
    pub origin: Arc<Origin>,
    /// When it happened, or was observed.
    pub time: Time,
    /// The trace and the span that it belongs to.
    pub context: Option<(TraceId, SpanId)>,
    /// What is read of it.
    pub facts: Facts,
    /// The type of its exception, if its severity is an error.
    pub failure: Option<Arc<str>>,
    /// All other fields.
    pub body: Body,
}

/// A metric with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignMetric {
    /// Its program.
    pub origin: Arc<Origin>,
    /// Its name.
    pub name: Arc<str>,
    /// Its unit, by UCUM.
    pub unit: Arc<str>,
    /// What it measures.
    pub description: Arc<str>,
    /// Its points.
    pub data: ForeignData,
}

/// The points of a foreign metric.
#[derive(Debug, Clone, PartialEq)]
pub enum ForeignData {
    /// Points of a gauge.
    Gauge(Vec<ForeignPoint>),
    /// Points of a sum.
    Sum {
        /// Whether it only grows.
        is_monotonic: bool,
        /// Whether each point counts from the one before, not from the start.
        is_delta: bool,
        /// Its points.
        points: Vec<ForeignPoint>,
    },
    /// Points of a histogram with explicit bounds.
    Histogram {
        /// Whether each point counts from the one before, not from the start.
        is_delta: bool,
        /// Its points.
        points: Vec<ForeignHistogram>,
    },
}

impl ForeignData {
    /// What is read of its points.
    pub fn facts(&self) -> impl Iterator<Item = &Facts> {
        let (numbers, histograms): (&[ForeignPoint], &[ForeignHistogram]) = match self {
            Self::Gauge(points) | Self::Sum { points, .. } => (points, &[]),
            Self::Histogram { points, .. } => (&[], points),
        };
        let numbers = numbers.iter().map(|point| &point.facts);
        numbers.chain(histograms.iter().map(|point| &point.facts))
    }
}

/// A point of a gauge or a sum.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignPoint {
    /// The room and the job, which are not in `attributes`. As an output, these and the facts' attributes are
    /// added to them.
    pub facts: Facts,
    /// Its other attributes, encoded, sorted by key.
    pub attributes: Bytes,
    /// When its interval began, where it says so.
    pub start: Option<Time>,
    /// Its time.
    pub time: Time,
    /// Its value.
    pub value: crate::signal::Number,
    /// Some of its measurements.
    pub exemplars: Vec<ForeignExemplar>,
}

/// A point of a histogram with explicit bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignHistogram {
    /// The room and the job, which are not in `attributes`. As an output, these and the facts' attributes are
    /// added to them.
    pub facts: Facts,
    /// Its other attributes, encoded, sorted by key.
    pub attributes: Bytes,
    /// When its interval began, where it says so.
    pub start: Option<Time>,
    /// Its time.
    pub time: Time,
    /// How many measurements.
    pub count: u64,
    /// Their sum, where it is known.
    pub sum: Option<f64>,
    /// The smallest and the largest, where they are known.
    pub range: Option<(f64, f64)>,
    /// The buckets' upper bounds, ascending; the last bucket has none.
    pub bounds: Arc<[f64]>,
    /// The counts of the buckets: one more than `bounds`; none if both are empty.
    pub buckets: Vec<u64>,
    /// Some of its measurements.
    pub exemplars: Vec<ForeignExemplar>,
}

/// A measurement of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignExemplar {
    /// The trace and the span that it was made in.
    pub context: Option<(TraceId, SpanId)>,
    /// The other fields: an encoded Exemplar without these ids.
    pub body: Body,
}

/// What the header of a recording says: `livekit.MetricsRecordingHeader`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// What is read of it: the room, the job, and whether its content is redacted.
    pub facts: Facts,
    /// When the session began.
    pub start: Option<Time>,
    /// How long it lasted, in seconds; npm's agents don't say.
    pub duration: Option<f64>,
    /// Why it closed, as `agent.CloseReason` spells it; npm's agents don't say.
    pub close_reason: Option<Arc<str>>,
    /// How many turns the users took.
    pub user_turns: Option<u64>,
    /// What failed (`llm`, `stt`, `tts` …) and how often, if at all.
    pub errors: Vec<(Arc<str>, u64)>,
    /// What was used of each model.
    pub usage: Vec<ModelUsage>,
    /// The version of the agents' SDK.
    pub sdk_version: Option<Arc<str>>,
    /// The size of its audio and of its history in bytes, which are not here; 0 where there is none.
    pub sizes: (u64, u64),
}

/// What a session used of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelUsage {
    /// Of which kind the model is: `llm`, `tts`, `stt`, `interruption`, `eot`.
    pub kind: Arc<str>,
    /// Who provides it.
    pub provider: Arc<str>,
    /// Its name.
    pub model: Arc<str>,
    /// The other numbers by their names (`input_tokens`, `audio_duration` in seconds …), without zeros.
    pub amounts: Vec<(Arc<str>, f64)>,
}
