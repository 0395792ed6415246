//! What failed: the attributes of a failed span, and why participants leave.

use std::sync::Arc;

use livekit_otel_model::interned::Name;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Attribute;

/// The error type and message of a participant whose media never connected.
pub(super) const ABORTED: (&str, &str) =
    ("connection_aborted", "the media connection was never made");

/// The error type of a SIP call that failed without a SIP status, as LiveKit's analytics say.
pub(super) const CALL_FAILED: &str = "sip_call_failed";

/// The error types and messages of SIP calls, as far as their participants say why they failed.
pub(super) const CALL_REJECTED: (&str, &str) = ("user_rejected", "the callee rejected the call");
pub(super) const CALL_UNAVAILABLE: (&str, &str) =
    ("user_unavailable", "the callee did not answer, or was not found");
pub(super) const CALL_NOT_CONNECTED: (&str, &str) =
    ("sip_trunk_or_network", "the trunk or the network failed before the callee answered");
pub(super) const CALL_NOT_ANSWERED: (&str, &str) =
    ("sip_not_answered", "nobody in the room answered the call");
pub(super) const CALL_DROPPED: (&str, &str) =
    ("sip_call_dropped", "the call was cut off: its media timed out, or the SIP service shut down");

/// The error type of a job of which the agent says that it failed.
pub(super) const JOB_FAILED: &str = "agent_job_failed";

/// The error types and messages of dispatches without an agent.
pub(super) const DISPATCH_REJECTED: (&str, &str) =
    ("agent_dispatch_rejected", "the workers rejected the job");
pub(super) const DISPATCH_NOT_JOINED: (&str, &str) =
    ("agent_dispatch_not_joined", "a worker has the job, but its agent did not join in time");
pub(super) const DISPATCH_NO_WORKER: (&str, &str) =
    ("agent_dispatch_no_worker", "no worker took the job in time");

/// No reason, or one that is not in [`REASONS`], as in LiveKit's registry (protocol, otel/model/shared).
const UNKNOWN_REASON: &str = "UNKNOWN_REASON";

/// Why participants leave (livekit_models.proto, `DisconnectReason`), with a message if it is a failure.
/// Failures are the reasons that upstream does not call intentional (`IsIntentionalDisconnect` in livekit
/// pkg/rtc/types/interfaces.go), and `SIP_TRUNK_FAILURE`, but not the answers of a person who was called.
const REASONS: [(&str, Option<&str>); 16] = [
    ("CLIENT_INITIATED", None),
    ("DUPLICATE_IDENTITY", None),
    ("SERVER_SHUTDOWN", None),
    ("PARTICIPANT_REMOVED", None),
    ("ROOM_DELETED", None),
    ("STATE_MISMATCH", Some("the client resumed a session that the server does not know")),
    ("JOIN_FAILURE", Some("the client could not connect fully")),
    ("MIGRATION", None),
    ("SIGNAL_CLOSE", Some("the signal connection was closed unexpectedly")),
    ("ROOM_CLOSED", None),
    ("USER_UNAVAILABLE", None),
    ("USER_REJECTED", None),
    ("SIP_TRUNK_FAILURE", Some("the SIP trunk failed")),
    ("CONNECTION_TIMEOUT", Some("the server heard nothing of the client any more")),
    ("MEDIA_FAILURE", Some("the media connection was lost")),
    ("AGENT_ERROR", Some("the agent failed")),
];

fn find(reason: &str) -> Option<(Name, Option<&'static str>)> {
    REASONS.iter().find(|(known, _)| *known == reason).copied()
}

/// The error message of a disconnect reason, which is given by LiveKit's name; `None` if the reason is no
/// failure.
pub(super) fn message(reason: &str) -> Option<&'static str> {
    find(reason)?.1
}

/// The reason as one of a bounded number of names.
pub(super) fn known_reason(reason: Option<&str>) -> Name {
    reason.and_then(find).map_or(UNKNOWN_REASON, |(known, _)| known)
}

/// The error type and message of a participant that left for this reason, if that is a failure. The error
/// type is the reason in lower case, unless its media never connected.
pub(super) fn of_participant(
    aborted: bool,
    reason: Option<&str>,
) -> Option<(Arc<str>, &'static str)> {
    if aborted {
        let (error_type, message) = ABORTED;
        return Some((error_type.into(), message));
    }
    let (reason, message) = find(reason?)?;
    message.map(|message| (reason.to_ascii_lowercase().into(), message))
}

/// Adds the attributes that make a span a failed one.
pub(super) fn attributes(
    error_type: &Arc<str>,
    message: Option<Arc<str>>,
    to: &mut Vec<Attribute>,
) {
    to.push(Attribute::new(key::ERROR_TYPE, Arc::clone(error_type)));
    to.extend(message.map(|message| Attribute::new(key::ERROR, message)));
}
