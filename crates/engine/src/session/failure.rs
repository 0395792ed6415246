//! Disconnect reasons that are failures, as values of `error.type`.

/// Reasons that nobody asked for (livekit_models.proto, `DisconnectReason`), and their messages.
const DISCONNECTS: [(&str, &str); 6] = [
    ("state_mismatch", "the client resumed a session that the server does not know"),
    ("join_failure", "the client could not connect fully"),
    ("connection_timeout", "the server heard nothing of the client any more"),
    ("media_failure", "the media connection was lost"),
    ("sip_trunk_failure", "the SIP trunk failed"),
    ("agent_error", "the agent failed"),
];

/// Whether this reason, as LiveKit names it, is a failure.
pub(super) fn is_failure(reason: &str) -> bool {
    DISCONNECTS.iter().any(|(failure, _)| *failure == reason)
}

/// The message of such a reason.
pub(super) fn message(reason: &str) -> &'static str {
    DISCONNECTS.iter().find(|(failure, _)| *failure == reason).map_or("", |(_, message)| message)
}
