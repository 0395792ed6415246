//! Open spans, from log records: a span is sent when it ends, but the live view shows it before.

use livekit_otel_model::hex;
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, SpanId};
use livekit_otel_tools::labels::AttributeLookup;

/// The spans of operations: each has an id of its own, and may outlive its room or have none.
pub(super) const WORKS: [&str; 6] = [
    span::EGRESS,
    span::INGRESS,
    span::SIP_CALL,
    span::SIP_TRANSFER,
    span::AGENT_JOB,
    span::AGENT_DISPATCH,
];

/// The keys of their ids, in the same order.
pub(in crate::ui) const WORK_IDS: [&str; 6] = [
    key::EGRESS_ID,
    key::INGRESS_ID,
    key::SIP_CALL_ID,
    key::SIP_TRANSFER_ID,
    key::JOB_ID,
    key::DISPATCH_ID,
];

/// What identifies an open span: its name, a participant's SID and another id.
pub(super) type Subject = (&'static str, String, String);

/// What an event reports about a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It started. If it was known, the earlier start counts.
    Begins,
    /// It started, even if it had started before.
    BeginsAgain,
    /// It ended.
    Ends,
}

/// The steps that an event reports, with the names of their spans.
pub(super) fn steps(event: &str) -> &'static [(Step, &'static str)] {
    use Step::{Begins, BeginsAgain, Ends};
    match event {
        event::ROOM_CREATED | event::ROOM_MISSING => &[(Begins, span::ROOM)],
        event::ROOM_ENDED | event::ROOM_GONE => &[(Ends, span::ROOM)],
        event::PARTICIPANT_JOINED => {
            &[(Begins, span::PARTICIPANT), (Begins, span::PARTICIPANT_CONNECT)]
        }
        event::PARTICIPANT_MISSING => &[(Begins, span::PARTICIPANT)],
        event::PARTICIPANT_ACTIVE => {
            &[(Begins, span::PARTICIPANT), (Ends, span::PARTICIPANT_CONNECT)]
        }
        event::PARTICIPANT_LEFT | event::PARTICIPANT_GONE => &[(Ends, span::PARTICIPANT)],
        event::PARTICIPANT_CONNECTION_ABORTED => {
            &[(Ends, span::PARTICIPANT_CONNECT), (Ends, span::PARTICIPANT)]
        }
        event::TRACK_PUBLISH_REQUESTED => &[(Begins, span::TRACK_PUBLISH)],
        event::TRACK_PUBLISHED => &[(Ends, span::TRACK_PUBLISH), (Begins, span::TRACK)],
        event::TRACK_UNPUBLISHED => &[(Ends, span::TRACK)],
        event::TRACK_SUBSCRIBE_REQUESTED => &[(BeginsAgain, span::TRACK_SUBSCRIBE)],
        event::TRACK_SUBSCRIBED | event::TRACK_SUBSCRIBE_FAILED => &[(Ends, span::TRACK_SUBSCRIBE)],
        event::EGRESS_STARTED | event::EGRESS_UPDATED | event::EGRESS_STUCK => {
            &[(Begins, span::EGRESS)]
        }
        event::EGRESS_ENDED => &[(Ends, span::EGRESS)],
        event::INGRESS_STARTED | event::INGRESS_UPDATED => &[(Begins, span::INGRESS)],
        event::INGRESS_ENDED => &[(Ends, span::INGRESS)],
        event::SIP_PARTICIPANT_CREATED
        | event::SIP_CALL_INCOMING
        | event::SIP_CALL_STARTED
        | event::SIP_CALL_UPDATE => &[(Begins, span::SIP_CALL)],
        event::SIP_CALL_ENDED => &[(Ends, span::SIP_CALL)],
        event::SIP_TRANSFER_REQUESTED => &[(Begins, span::SIP_TRANSFER)],
        event::SIP_TRANSFER_COMPLETE => &[(Ends, span::SIP_TRANSFER)],
        event::AGENT_JOB_PENDING | event::AGENT_JOB_STARTED => &[(Begins, span::AGENT_JOB)],
        event::AGENT_JOB_ENDED => &[(Ends, span::AGENT_JOB)],
        event::AGENT_DISPATCH_FAILED => &[(Ends, span::AGENT_DISPATCH)],
        _ => &[],
    }
}

/// What identifies a span among those of a room, by its attributes and its id.
pub(super) fn subject(
    name: &'static str,
    attributes: &[Attribute],
    id: Option<SpanId>,
) -> Option<Subject> {
    let text = |key| attributes.text(key).map(str::to_owned);
    let none = || Some(String::new());
    let (participant, other) = match name {
        span::ROOM => (none(), none()),
        span::PARTICIPANT | span::PARTICIPANT_CONNECT => (text(key::PARTICIPANT_ID), none()),
        span::EGRESS => (none(), text(key::EGRESS_ID)),
        // An ingress has several sessions under its id, one after the other.
        span::INGRESS => (none(), id.map(|id| hex(&id)).or_else(|| text(key::INGRESS_ID))),
        span::SIP_CALL => (none(), text(key::SIP_CALL_ID)),
        span::SIP_TRANSFER => (none(), text(key::SIP_TRANSFER_ID)),
        span::AGENT_JOB => (none(), text(key::JOB_ID)),
        span::AGENT_DISPATCH => (none(), text(key::DISPATCH_ID)),
        _ => (text(key::PARTICIPANT_ID), text(key::TRACK_ID)),
    };
    participant.zip(other).map(|(participant, other)| (name, participant, other))
}

/// The error type of the span that this record ends, if it failed.
pub(super) fn failure(record: &LogRecord) -> Option<String> {
    if record.severity < Severity::Warn {
        return None;
    }
    let attributes = &record.attributes[..];
    let error_type = match &*record.event_name {
        event::PARTICIPANT_CONNECTION_ABORTED => "connection_aborted".to_owned(),
        event::TRACK_SUBSCRIBE_FAILED => "subscribe_failed".to_owned(),
        event::PARTICIPANT_LEFT => {
            attributes.text(key::DISCONNECT_REASON).unwrap_or("error").to_ascii_lowercase()
        }
        _ => attributes.text(key::ERROR_TYPE).unwrap_or("error").to_owned(),
    };
    Some(error_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_that_ends_can_start() {
        let all = [
            event::ROOM_CREATED,
            event::PARTICIPANT_JOINED,
            event::TRACK_PUBLISH_REQUESTED,
            event::TRACK_PUBLISHED,
            event::TRACK_SUBSCRIBE_REQUESTED,
            event::EGRESS_STARTED,
            event::INGRESS_STARTED,
            event::SIP_CALL_STARTED,
            event::SIP_TRANSFER_REQUESTED,
            event::AGENT_JOB_STARTED,
        ];
        let begun: Vec<_> = all.iter().flat_map(|event| steps(event)).collect();
        for end in [
            event::ROOM_ENDED,
            event::PARTICIPANT_LEFT,
            event::PARTICIPANT_ACTIVE,
            event::TRACK_UNPUBLISHED,
            event::TRACK_SUBSCRIBED,
            event::EGRESS_ENDED,
            event::INGRESS_ENDED,
            event::SIP_CALL_ENDED,
            event::SIP_TRANSFER_COMPLETE,
            event::AGENT_JOB_ENDED,
        ] {
            let ends = steps(end).iter().filter(|(step, _)| *step == Step::Ends);
            for (_, name) in ends {
                assert!(begun.iter().any(|(step, begun)| *step != Step::Ends && begun == name));
            }
        }
    }
}
