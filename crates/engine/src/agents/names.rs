//! The spans of LiveKit's agents by name (livekit/protocol, `otel/model/agents/signals.yaml`): which is whose parent,
//! in Python and in npm.

/// The root of a job in Python.
pub(super) const ENTRYPOINT: &str = "job_entrypoint";
/// A job's session; the root in npm.
pub(super) const SESSION: &str = "agent_session";
/// What a person says.
pub(super) const USER_TURN: &str = "user_turn";
/// What the agent answers.
pub(super) const AGENT_TURN: &str = "agent_turn";
/// The part of an agent's turn in which the language model answers.
pub(super) const LLM_NODE: &str = "llm_node";
/// An attempt of a request to a language model.
pub(super) const LLM_ATTEMPT: &str = "llm_request_run";
/// An attempt of a request to a speech model.
pub(super) const TTS_ATTEMPT: &str = "tts_request_run";
/// A tool's call.
pub(super) const TOOL: &str = "function_tool";
/// The end of a session.
pub(super) const SESSION_CLOSE: &str = "session_close";
/// A parent whose children say nothing of it.
const UNKNOWN: &str = "unknown";

// Parents and their children. The first parent of which there is a child is the one.
const PARENTS: [(&str, &[&str]); 11] = [
    (
        SESSION,
        &[
            USER_TURN,
            AGENT_TURN,
            "session_start",
            SESSION_CLOSE,
            "rpc_handler",
            "update_agent",
            "event_loop_blocked",
        ],
    ),
    (ENTRYPOINT, &[SESSION, "job_shutdown"]),
    (
        "job_shutdown",
        &["session_end_upload", "room_disconnect", "on_session_end", "shutdown_callback"],
    ),
    (
        "session_start",
        &["room_connect", "wait_for_participant", "wait_for_audio_track", "publish_audio_output"],
    ),
    (USER_TURN, &["user_speaking", "eou_wait", "on_user_turn_completed"]),
    (AGENT_TURN, &[LLM_NODE, TOOL, "tts_node", "agent_speaking"]),
    (LLM_NODE, &["llm_request"]),
    ("llm_request", &[LLM_ATTEMPT]),
    ("tts_node", &["tts_request"]),
    ("tts_request", &[TTS_ATTEMPT]),
    ("start_agent_activity", &["on_enter", "setup_toolsets"]),
];

/// How well a child's name says its parent's: the smaller, the better.
pub(super) fn rank(child: &str) -> usize {
    let place = PARENTS.iter().position(|(_, children)| children.contains(&child));
    place.unwrap_or(PARENTS.len())
}

/// The parent's name for the smallest [`rank`] of its children.
pub(super) fn parent(rank: usize) -> &'static str {
    PARENTS.get(rank).map_or(UNKNOWN, |(parent, _)| parent)
}

/// Whether its parent is the session.
pub(super) fn is_in_session(name: &str) -> bool {
    rank(name) == 0
}

/// Whether it begins a turn.
pub(super) fn is_turn(name: &str) -> bool {
    matches!(name, USER_TURN | AGENT_TURN)
}

/// Whether it ends last of its job. An application's own spans may be roots too.
pub(super) fn ends_job(name: &str, is_root: bool) -> bool {
    name == ENTRYPOINT || (name == SESSION && is_root)
}

/// Whether it is one of the few spans of a job that hold the others together.
pub(super) fn is_frame(name: &str) -> bool {
    matches!(name, ENTRYPOINT | SESSION | "session_start" | SESSION_CLOSE | "job_shutdown")
}

/// Whether its participant is the agent.
pub(super) fn is_of_agent(name: &str) -> bool {
    matches!(name, "room_connect" | AGENT_TURN | "agent_speaking")
}

/// A close reason of a recording's header as the spans spell it: `CR_USER_INITIATED` is `user_initiated`.
pub(super) fn close_reason(reason: &str) -> String {
    reason.strip_prefix("CR_").unwrap_or(reason).to_ascii_lowercase()
}
