//! What is derived, and the attributes that distinguish its series.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stats::{Histogram, Histograms, Instrument, TURN_BOUNDS};
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::Attribute;

/// A metric. The order is that of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::agents) enum What {
    EndToEnd,
    FirstToken,
    FirstByte,
    Transcription,
    EndOfTurn,
    TurnCompleted,
    Tool,
    InputTokens,
    CachedTokens,
    OutputTokens,
    Characters,
    Speech,
    Turns,
    Requests,
    Jobs,
}

/// How values are added up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Total {
    Count(u64),
    Amount(f64),
    Histogram(Histogram),
}

impl What {
    const ALL: [Self; 15] = [
        Self::EndToEnd,
        Self::FirstToken,
        Self::FirstByte,
        Self::Transcription,
        Self::EndOfTurn,
        Self::TurnCompleted,
        Self::Tool,
        Self::InputTokens,
        Self::CachedTokens,
        Self::OutputTokens,
        Self::Characters,
        Self::Speech,
        Self::Turns,
        Self::Requests,
        Self::Jobs,
    ];

    /// The metric of this name, if agents upload it too.
    pub(in crate::agents) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.instrument().name == name)
    }

    /// Those of LiveKit's names are described as the agents do.
    pub(super) fn instrument(self) -> Instrument {
        let (name, unit, description) = match self {
            Self::EndToEnd => (metric::AGENT_E2E_LATENCY, "s", "End-to-end turn latency"),
            Self::FirstToken => {
                (metric::AGENT_LLM_TTFT, "s", "Pipeline-level LLM time to first token")
            }
            Self::FirstByte => {
                (metric::AGENT_TTS_TTFB, "s", "Pipeline-level TTS time to first byte")
            }
            Self::Transcription => (
                metric::AGENT_TRANSCRIPTION_DELAY,
                "s",
                "Time from end of speech to transcript available",
            ),
            Self::EndOfTurn => {
                (metric::AGENT_END_OF_TURN_DELAY, "s", "Time from end of speech to turn decision")
            }
            Self::TurnCompleted => (
                metric::AGENT_TURN_COMPLETED_DELAY,
                "s",
                "Time to invoke the on_user_turn_completed callback",
            ),
            Self::Tool => (metric::TOOL_DURATION, "s", "Tool execution duration"),
            Self::InputTokens => (metric::AGENT_INPUT_TOKENS, "", "LLM input tokens."),
            Self::CachedTokens => (metric::AGENT_CACHED_TOKENS, "", "LLM cached input tokens."),
            Self::OutputTokens => (metric::AGENT_OUTPUT_TOKENS, "", "LLM output tokens."),
            Self::Characters => (metric::AGENT_CHARACTERS, "", "Characters synthesized."),
            Self::Speech => (metric::AGENT_SPEECH_DURATION, "s", "Seconds of audio synthesized."),
            Self::Turns => (metric::AGENT_TURNS, "{turn}", "Turns of agents."),
            Self::Requests => {
                (metric::AGENT_REQUESTS, "{request}", "Requests of agents to models, each attempt.")
            }
            Self::Jobs => (metric::AGENT_JOBS, "{job}", "Jobs of agents that ended."),
        };
        Instrument::new(name, unit, description)
    }

    /// Nothing so far.
    pub(super) fn zero(self, histograms: Histograms) -> Total {
        match self {
            Self::EndToEnd
            | Self::FirstToken
            | Self::FirstByte
            | Self::Transcription
            | Self::EndOfTurn
            | Self::TurnCompleted
            | Self::Tool => Total::Histogram(Histogram::new(histograms, TURN_BOUNDS)),
            Self::Speech => Total::Amount(0.0),
            _ => Total::Count(0),
        }
    }
}

/// A kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Llm,
    Tts,
    Stt,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::Stt => "stt",
        }
    }
}

/// A model and its provider, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Model {
    pub(super) provider: Option<Arc<str>>,
    pub(super) name: Option<Arc<str>>,
}

/// How much of a job was uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Uploaded {
    /// Its end too.
    Complete,
    /// Not its end.
    Partial,
    /// No record of it.
    None,
}

/// What distinguishes the series of a metric, beside ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Labels {
    Model(Model),
    Tool { tool: Option<Arc<str>>, error: Option<Arc<str>> },
    Turn { is_interrupted: bool },
    Request { kind: Kind, model: Model, error: Option<Arc<str>> },
    Job { uploaded: Uploaded, close_reason: Option<Arc<str>>, error: Option<Arc<str>> },
    // Everything beyond the limit of series.
    Overflow,
}

impl Labels {
    /// Adds them to a series' attributes.
    pub(super) fn add_to(&self, to: &mut Vec<Attribute>) {
        let mut text = |key, text: &Option<Arc<str>>| {
            to.extend(text.as_ref().map(|text| Attribute::new(key, Arc::clone(text))));
        };
        match self {
            Self::Model(model) => model.add_to(to),
            Self::Tool { tool, error } => {
                text(key::TOOL_NAME, tool);
                text(key::ERROR_TYPE, error);
                to.push(Attribute::new(key::OPERATION_NAME, "execute_tool"));
            }
            Self::Turn { is_interrupted } => {
                to.push(Attribute::new(key::INTERRUPTED, *is_interrupted));
            }
            Self::Request { kind, model, error } => {
                text(key::ERROR_TYPE, error);
                model.add_to(to);
                to.push(Attribute::new(key::REQUEST_KIND, kind.as_str()));
            }
            Self::Job { uploaded, close_reason, error } => {
                text(key::CLOSE_REASON, close_reason);
                text(key::ERROR_TYPE, error);
                let uploaded = match uploaded {
                    Uploaded::Complete => "complete",
                    Uploaded::Partial => "partial",
                    Uploaded::None => "none",
                };
                to.push(Attribute::new(key::UPLOAD, uploaded));
            }
            Self::Overflow => to.push(Attribute::new(key::METRIC_OVERFLOW, true)),
        }
    }
}

impl Model {
    fn add_to(&self, to: &mut Vec<Attribute>) {
        let named = [(key::MODEL_NAME, &self.name), (key::MODEL_PROVIDER, &self.provider)];
        to.extend(
            named
                .into_iter()
                .filter_map(|(key, it)| Some(Attribute::new(key, Arc::clone(it.as_ref()?)))),
        );
    }
}
