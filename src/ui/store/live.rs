//! What goes on, from log records: a span leaves when it is over, and people look before that.

use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::{LogRecord, Severity};
use livekit_otel_tools::labels::AttributeLookup;

/// What an event says of a thing that has a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It began; where it is known, at the earlier time.
    Begins,
    /// It began, however often it did before.
    BeginsAgain,
    /// It ended.
    Ends,
}

/// What a record says of which things, by the names of their spans.
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
        event::EGRESS_STARTED => &[(Begins, span::EGRESS)],
        event::EGRESS_ENDED => &[(Ends, span::EGRESS)],
        event::INGRESS_STARTED => &[(Begins, span::INGRESS)],
        event::INGRESS_ENDED => &[(Ends, span::INGRESS)],
        event::SIP_CALL_INCOMING | event::SIP_CALL_STARTED => &[(Begins, span::SIP_CALL)],
        event::SIP_CALL_ENDED => &[(Ends, span::SIP_CALL)],
        event::AGENT_JOB_STARTED => &[(Begins, span::AGENT_JOB)],
        event::AGENT_JOB_ENDED => &[(Ends, span::AGENT_JOB)],
        _ => &[],
    }
}

/// What tells the things of one name in a room apart: the participant's SID and another.
pub(super) fn subject<T: AttributeLookup + ?Sized>(
    name: &str,
    told: &T,
) -> Option<(String, String)> {
    let text = |key| told.text(key).map(str::to_owned);
    let none = || Some(String::new());
    let (participant, other) = match name {
        span::ROOM => (none(), none()),
        span::PARTICIPANT | span::PARTICIPANT_CONNECT => (text(key::PARTICIPANT_SID), none()),
        span::EGRESS => (none(), text(key::EGRESS_ID)),
        span::INGRESS => (none(), text(key::INGRESS_ID)),
        span::SIP_CALL => (none(), text(key::SIP_CALL_ID)),
        span::AGENT_JOB => (none(), text(key::AGENT_JOB_ID)),
        _ => (text(key::PARTICIPANT_SID), text(key::TRACK_SID)),
    };
    participant.zip(other)
}

/// Why what ends with this record failed, where it did: its kind and what is said of it.
pub(super) fn failure(record: &LogRecord) -> Option<(String, String)> {
    if record.severity < Severity::Warn {
        return None;
    }
    let told = &record.attributes[..];
    let kind = match &*record.event_name {
        event::PARTICIPANT_CONNECTION_ABORTED => "connection_aborted",
        event::TRACK_SUBSCRIBE_FAILED => "subscribe_failed",
        event::PARTICIPANT_LEFT => told.text(key::PARTICIPANT_DISCONNECT_REASON).unwrap_or("error"),
        _ => told.text(key::ERROR_TYPE).unwrap_or("error"),
    };
    Some((kind.to_owned(), told.text(key::ERROR_MESSAGE).unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_ends_also_begins() {
        let all = [
            event::ROOM_CREATED,
            event::PARTICIPANT_JOINED,
            event::TRACK_PUBLISH_REQUESTED,
            event::TRACK_PUBLISHED,
            event::TRACK_SUBSCRIBE_REQUESTED,
            event::EGRESS_STARTED,
            event::INGRESS_STARTED,
            event::SIP_CALL_STARTED,
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
            event::AGENT_JOB_ENDED,
        ] {
            let ends = steps(end).iter().filter(|(step, _)| *step == Step::Ends);
            for (_, name) in ends {
                assert!(begun.iter().any(|(step, begun)| *step != Step::Ends && begun == name));
            }
        }
    }
}
