//! What failed: the attributes of a failed span, and the disconnect reasons that are failures.

use std::sync::Arc;

use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

/// Reasons that nobody asked for (livekit_models.proto, `DisconnectReason`), and their messages.
const DISCONNECTS: [(&str, &str); 6] = [
    ("STATE_MISMATCH", "the client resumed a session that the server does not know"),
    ("JOIN_FAILURE", "the client could not connect fully"),
    ("CONNECTION_TIMEOUT", "the server heard nothing of the client any more"),
    ("MEDIA_FAILURE", "the media connection was lost"),
    ("SIP_TRUNK_FAILURE", "the SIP trunk failed"),
    ("AGENT_ERROR", "the agent failed"),
];

/// The message of this reason, as LiveKit names it, if it is a failure. Its `error.type` is the reason in
/// lower case.
pub(super) fn message(reason: &str) -> Option<&'static str> {
    DISCONNECTS.iter().find(|(failure, _)| *failure == reason).map(|(_, message)| *message)
}

/// Adds the attributes of a failed span.
pub(super) fn attributes(
    error_type: &Arc<str>,
    message: Option<Arc<str>>,
    to: &mut Vec<Attribute>,
) {
    to.push(Attribute::new(key::ERROR_TYPE, Arc::clone(error_type)));
    to.extend(message.map(|message| Attribute::new(key::ERROR, message)));
}
