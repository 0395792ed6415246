//! What a span of an agent is, by its name.

use livekit_otel_pipeline::AgentSpan;

pub(super) const SESSION_CLOSE: &str = "session_close";
pub(super) const ENTRYPOINT: &str = "job_entrypoint";

/// What a span is of a turn, by its name (livekit/protocol, `otel/model/agents/signals.yaml`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ui) enum Stage {
    /// All of what a person says, until the agent may answer.
    UserTurn,
    /// A part of it in which the person speaks.
    UserSpeaks,
    /// The wait for the decision that the turn is over.
    EndOfTurn,
    /// The application's `on_user_turn_completed`.
    Application,
    /// All of an answer.
    AgentTurn,
    /// A language model.
    Model,
    /// A tool.
    Tool,
    /// A speech model.
    Speech,
    /// The agent's audio.
    AgentSpeaks,
    /// A request to a language or speech model, with its attempts.
    Request,
}

impl Stage {
    pub(in crate::ui) fn of(span: &AgentSpan) -> Option<Self> {
        Some(match &*span.name {
            "user_turn" => Self::UserTurn,
            "user_speaking" => Self::UserSpeaks,
            "eou_wait" => Self::EndOfTurn,
            "on_user_turn_completed" => Self::Application,
            "agent_turn" => Self::AgentTurn,
            "llm_node" => Self::Model,
            "function_tool" => Self::Tool,
            "tts_node" => Self::Speech,
            "agent_speaking" => Self::AgentSpeaks,
            "llm_request" | "tts_request" => Self::Request,
            _ => return None,
        })
    }
}

/// Whether a span says that something failed. A tool's and a session's status are not errors.
pub(super) fn is_failed(span: &AgentSpan) -> bool {
    let measured = span.measured.as_deref();
    let has_error = measured.is_some_and(|it| it.error.is_some());
    span.failure.is_some()
        || match &*span.name {
            SESSION_CLOSE => measured.and_then(|it| it.close_reason.as_deref()) == Some("error"),
            _ => Stage::of(span) == Some(Stage::Tool) && has_error,
        }
}

/// Whether it is an attempt of a request.
pub(super) fn is_attempt(span: &AgentSpan) -> bool {
    matches!(&*span.name, "llm_request_run" | "tts_request_run")
}
