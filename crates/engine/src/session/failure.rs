//! Disconnect reasons that are failures, and their values of `error.type`.

/// A disconnect reason that nobody asked for.
pub(super) struct Failure {
    reason: &'static str,
    /// The value of `error.type`.
    pub(super) error_type: &'static str,
    /// What it means.
    pub(super) message: &'static str,
}

const fn failure(reason: &'static str, error_type: &'static str, message: &'static str) -> Failure {
    Failure { reason, error_type, message }
}

/// Reasons that nobody asked for (livekit_models.proto, `DisconnectReason`).
const FAILURES: [Failure; 6] = [
    failure(
        "STATE_MISMATCH",
        "state_mismatch",
        "the client resumed a session that the server does not know",
    ),
    failure("JOIN_FAILURE", "join_failure", "the client could not connect fully"),
    failure(
        "CONNECTION_TIMEOUT",
        "connection_timeout",
        "the server heard nothing of the client any more",
    ),
    failure("MEDIA_FAILURE", "media_failure", "the media connection was lost"),
    failure("SIP_TRUNK_FAILURE", "sip_trunk_failure", "the SIP trunk failed"),
    failure("AGENT_ERROR", "agent_error", "the agent failed"),
];

/// The failure that this reason, as LiveKit names it, stands for.
pub(super) fn of(reason: &str) -> Option<&'static Failure> {
    FAILURES.iter().find(|failure| failure.reason == reason)
}
