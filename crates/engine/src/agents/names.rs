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
            "session_close",
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
    (AGENT_TURN, &["llm_node", "function_tool", "tts_node", "agent_speaking"]),
    ("llm_node", &["llm_request"]),
    ("llm_request", &["llm_request_run"]),
    ("tts_node", &["tts_request"]),
    ("tts_request", &["tts_request_run"]),
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
    matches!(name, ENTRYPOINT | SESSION | "session_start" | "session_close" | "job_shutdown")
}

/// Whether its participant is the agent.
pub(super) fn is_of_agent(name: &str) -> bool {
    matches!(name, "room_connect" | AGENT_TURN | "agent_speaking")
}
