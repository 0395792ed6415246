//! Why things fail: the values of `error.type`, which are few.

/// Reasons of a disconnect that are nobody's wish (livekit_models.proto, `DisconnectReason`), and what
/// each means.
const DISCONNECTS: [(&str, &str); 6] = [
    ("state_mismatch", "the client resumed a session that the server does not know"),
    ("join_failure", "the client could not connect fully"),
    ("connection_timeout", "the server heard nothing of the client any more"),
    ("media_failure", "the media connection was lost"),
    ("sip_trunk_failure", "the SIP trunk failed"),
    ("agent_error", "the agent failed"),
];

/// Whether a participant that left for this reason, as LiveKit names it, failed.
pub(super) fn is_failure(reason: &str) -> bool {
    DISCONNECTS.iter().any(|(failure, _)| *failure == reason)
}

/// What such a reason means.
pub(super) fn message(reason: &str) -> &'static str {
    DISCONNECTS.iter().find(|(failure, _)| *failure == reason).map_or("", |(_, message)| message)
}
