//! The spans of a simulated agent's job, with the names and attributes of livekit-agents 1.8.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};

use super::jobs::Turn;
use super::random::Random;
use super::records::{JobOf, conversation, flag, number, said_for, text};

const ERROR: &str = "APIConnectionError";
// How much a turn adds to what each request repeats, and its limit, in bytes.
const REPEATED: usize = 300;
const MOST_REPEATED: usize = 6_000;

// Each of a job's spans follows from the job's seed, when its turn begins, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Entrypoint,
    Session,
    Start,
    Connect,
    Close,
    Shutdown,
    UserTurn,
    UserSpeaking,
    EndOfTurn,
    AgentTurn,
    Model,
    ModelRequest,
    ModelRun,
    Tool,
    Speech,
    SpeechRequest,
    SpeechRun,
    AgentSpeaking,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Entrypoint => "job_entrypoint",
            Self::Session => "agent_session",
            Self::Start => "session_start",
            Self::Connect => "room_connect",
            Self::Close => "session_close",
            Self::Shutdown => "job_shutdown",
            Self::UserTurn => "user_turn",
            Self::UserSpeaking => "user_speaking",
            Self::EndOfTurn => "eou_wait",
            Self::AgentTurn => "agent_turn",
            Self::Model => "llm_node",
            Self::ModelRequest => "llm_request",
            Self::ModelRun => "llm_request_run",
            Self::Tool => "function_tool",
            Self::Speech => "tts_node",
            Self::SpeechRequest => "tts_request",
            Self::SpeechRun => "tts_request_run",
            Self::AgentSpeaking => "agent_speaking",
        }
    }

    fn parent(self) -> Option<Self> {
        Some(match self {
            Self::Entrypoint => return None,
            Self::Session | Self::Shutdown => Self::Entrypoint,
            Self::Start | Self::Close | Self::UserTurn | Self::AgentTurn => Self::Session,
            Self::Connect => Self::Start,
            Self::UserSpeaking | Self::EndOfTurn => Self::UserTurn,
            Self::Model | Self::Tool | Self::Speech | Self::AgentSpeaking => Self::AgentTurn,
            Self::ModelRequest => Self::Model,
            Self::ModelRun => Self::ModelRequest,
            Self::SpeechRequest => Self::Speech,
            Self::SpeechRun => Self::SpeechRequest,
        })
    }

    // Whether there is one for each turn.
    fn is_of_turn(self) -> bool {
        !matches!(
            self,
            Self::Entrypoint
                | Self::Session
                | Self::Start
                | Self::Connect
                | Self::Close
                | Self::Shutdown
        )
    }
}

/// The spans of one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans<'a> {
    pub(super) of: JobOf<'a>,
}

impl Spans<'_> {
    /// The trace and the span of a turn's log records.
    pub(super) fn context(&self, turn: &Turn) -> (Vec<u8>, Vec<u8>) {
        (self.trace_id(), self.id(Kind::AgentTurn, turn.begin))
    }

    /// The spans that end soon after the job's start.
    pub(super) fn of_start(&self) -> Vec<Span> {
        let (join, active) = (self.of.visit.join, self.of.visit.active);
        let who = text("lk.participant_id", &self.of.visit.sid);
        let room = text("lk.room_sid", &self.of.plan.sid);
        vec![
            self.span(Kind::Connect, Duration::ZERO, (join, active), vec![who, room]),
            self.span(Kind::Start, Duration::ZERO, (join, active), Vec::new()),
        ]
    }

    /// The spans that end with the job.
    pub(super) fn of_end(&self) -> Vec<Span> {
        let (join, leave) = (self.of.visit.join, self.of.visit.leave);
        let reason = vec![text("lk.close_reason", self.of.close_reason())];
        let ids = vec![text("lk.room_sid", &self.of.plan.sid), text("lk.job_id", &self.of.job.id)];
        let span =
            |kind, from, attributes| self.span(kind, Duration::ZERO, (from, leave), attributes);
        vec![
            span(Kind::Close, leave, reason),
            span(Kind::Session, join, ids.clone()),
            span(Kind::Shutdown, leave, Vec::new()),
            span(Kind::Entrypoint, join, ids),
        ]
    }

    /// The spans of a turn, which end with it at the latest.
    pub(super) fn of_turn(&self, turn: &Turn) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut push = |kind, times, attributes| {
            let span = self.span(kind, turn.begin, times, attributes);
            spans.push(if turn.is_failed { failed(kind, span) } else { span });
        };
        let (handed, end) = (turn.handed(), turn.end());
        if !turn.is_greeting() {
            push(Kind::UserSpeaking, (turn.begin, turn.spoken()), self.caller());
            push(Kind::EndOfTurn, (turn.spoken(), handed), Vec::new());
            push(Kind::UserTurn, (turn.begin, handed), self.user_turn(turn));
            let used = handed + turn.tool.unwrap_or_default();
            let first = used + turn.model.0;
            // It speaks before the model's last token.
            let last = if turn.is_failed { first } else { (first + turn.model.1).min(end) };
            push(Kind::ModelRun, (used, last), model());
            push(Kind::ModelRequest, (used, last), self.model_request(turn));
            push(Kind::Model, (used, last), self.model_node(turn));
            if let Some(took) = turn.tool {
                let what = vec![text("gen_ai.tool.name", "look_up")];
                push(Kind::Tool, (handed, handed + took), what);
            }
        }
        if !turn.is_failed {
            let times = (turn.heard().saturating_sub(turn.speech), turn.heard());
            push(Kind::SpeechRun, times, speech());
            push(Kind::SpeechRequest, times, speech_request(turn));
            let first = number("lk.response.ttfb", turn.speech.as_secs_f64());
            push(Kind::Speech, times, [speech(), vec![first]].concat());
            push(Kind::AgentSpeaking, (turn.heard(), end), self.agent());
        }
        push(Kind::AgentTurn, (handed, end), self.agent_turn(turn));
        spans
    }

    fn caller(&self) -> Vec<KeyValue> {
        let caller = &self.of.job.caller;
        if caller.is_empty() { Vec::new() } else { vec![text("lk.participant_id", caller)] }
    }

    fn agent(&self) -> Vec<KeyValue> {
        vec![text("lk.participant_id", &self.of.visit.sid)]
    }

    fn user_turn(&self, turn: &Turn) -> Vec<KeyValue> {
        let mut attributes = self.caller();
        attributes.extend([
            text("gen_ai.provider.name", "made-up"),
            text("gen_ai.request.model", "simulated-stt"),
            text("lk.pii.user_transcript", said_for(turn.speaks)),
            number("lk.transcription_delay", turn.waits.as_secs_f64() * 0.9),
            number("lk.end_of_turn_delay", turn.waits.as_secs_f64()),
        ]);
        attributes
    }

    fn agent_turn(&self, turn: &Turn) -> Vec<KeyValue> {
        let mut attributes = self.agent();
        let speech = Random::of(&[self.of.job.seed, self.of.nanos(turn.begin)]).next();
        attributes.push(text("lk.speech_id", &format!("speech_{:012x}", speech >> 16)));
        attributes.push(flag("lk.interrupted", turn.is_interrupted));
        attributes.push(text("lk.pii.response.text", said_for(turn.answers)));
        if !turn.is_greeting() && !turn.is_failed {
            attributes.extend([
                number("lk.e2e_latency", turn.latency().as_secs_f64()),
                number("lk.end_of_turn_delay", turn.waits.as_secs_f64()),
                number("lk.on_user_turn_completed_delay", 0.0002),
            ]);
        }
        attributes
    }

    fn model_node(&self, turn: &Turn) -> Vec<KeyValue> {
        let mut attributes = model();
        if !turn.is_failed {
            attributes.push(number("lk.response.ttft", turn.model.0.as_secs_f64()));
        }
        // Each request repeats the conversation so far.
        let before = self.of.job.turns.partition_point(|other| other.begin < turn.begin);
        let bytes = (before * REPEATED).min(MOST_REPEATED);
        attributes.push(text("lk.pii.chat_ctx", &conversation(bytes)));
        attributes
    }

    fn model_request(&self, turn: &Turn) -> Vec<KeyValue> {
        let mut attributes = model();
        let before = self.of.job.turns.partition_point(|other| other.begin < turn.begin);
        let bytes = (before * REPEATED).min(MOST_REPEATED);
        attributes.push(text("gen_ai.input.messages", &conversation(bytes)));
        if !turn.is_failed {
            attributes.push(text("lk.llm_metrics", "{\"type\":\"llm_metrics\"}"));
            attributes.push(number("gen_ai.usage.input_tokens", 60.0 + bytes as f64 / 4.0));
            attributes.push(number("gen_ai.usage.output_tokens", turn.tokens()));
        }
        attributes
    }

    fn span(
        &self,
        kind: Kind,
        turn: Duration,
        (from, to): (Duration, Duration),
        attributes: Vec<KeyValue>,
    ) -> Span {
        let parent = kind.parent();
        Span {
            trace_id: self.trace_id(),
            span_id: self.id(kind, turn),
            parent_span_id: parent.map(|parent| self.id(parent, turn)).unwrap_or_default(),
            name: kind.name().to_owned(),
            kind: SpanKind::Internal as i32,
            start_time_unix_nano: self.of.nanos(from),
            end_time_unix_nano: self.of.nanos(to),
            attributes: [self.of.ids(), attributes].concat(),
            ..Span::default()
        }
    }

    fn trace_id(&self) -> Vec<u8> {
        let mut random = Random::of(&[self.of.job.seed]);
        [random.next().to_be_bytes(), random.next().to_be_bytes()].concat()
    }

    fn id(&self, kind: Kind, turn: Duration) -> Vec<u8> {
        let turn = if kind.is_of_turn() { self.of.nanos(turn) } else { 0 };
        Random::of(&[self.of.job.seed, turn, kind as u64 + 1]).next().to_be_bytes().to_vec()
    }
}

// A model that fails marks all above it up to the turn.
fn failed(kind: Kind, span: Span) -> Span {
    let is_failed =
        matches!(kind, Kind::ModelRun | Kind::ModelRequest | Kind::Model | Kind::AgentTurn);
    if !is_failed {
        return span;
    }
    let status = Some(Status { code: StatusCode::Error as i32, message: "made up".to_owned() });
    let attributes = [span.attributes, vec![text("error.type", ERROR)]].concat();
    Span { status, attributes, ..span }
}

fn speech_request(turn: &Turn) -> Vec<KeyValue> {
    let metrics = serde_json::json!({
        "type": "tts_metrics",
        "characters_count": turn.characters(),
        "audio_duration": turn.answers.as_secs_f64(),
    });
    [speech(), vec![text("lk.tts_metrics", &metrics.to_string())]].concat()
}

fn model() -> Vec<KeyValue> {
    of_model("simulated-llm")
}

fn speech() -> Vec<KeyValue> {
    of_model("simulated-tts")
}

fn of_model(name: &str) -> Vec<KeyValue> {
    vec![text("gen_ai.provider.name", "made-up"), text("gen_ai.request.model", name)]
}
