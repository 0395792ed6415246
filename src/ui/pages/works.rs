//! Egresses, ingresses, SIP calls and transfers, agents' jobs and dispatches, and requests, in words.

use crate::ui::store::{Bar, WORK_IDS};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, Value};
use livekit_otel_tools::labels::{AttributeLookup, seconds, spoken};

/// The label of an operation or a request; `None` for other spans.
pub(super) fn label(bar: &Bar) -> Option<String> {
    let text = |key| bar.text(key);
    let with = |more: Option<String>| match more {
        Some(more) => format!("{} {more}", bar.name),
        None => bar.name.to_owned(),
    };
    match bar.name {
        span::EGRESS => Some(with(text(key::EGRESS_TYPE).map(spoken))),
        span::SIP_CALL => Some(with(other_end(bar))),
        span::AGENT_JOB => Some(with(text(key::AGENT_NAME).map(str::to_owned))),
        span::AGENT_DISPATCH => {
            let automatic = is_automatic(bar).then(|| "(automatic)".to_owned());
            Some(with(text(key::AGENT_NAME).map(str::to_owned).or(automatic)))
        }
        span::API_CALL => Some(with(text(key::RPC_METHOD).map(str::to_owned))),
        span::WEBHOOK_DELIVERY => Some(with(text(key::WEBHOOK_EVENT).map(str::to_owned))),
        span::INGRESS | span::SIP_TRANSFER => Some(bar.name.to_owned()),
        _ => None,
    }
}

// "from +15550100", "to +15550100", or the direction alone.
fn other_end(bar: &Bar) -> Option<String> {
    let number = bar.text(key::SIP_PHONE_NUMBER);
    let (inbound, outbound) = ("SCD_INBOUND", "SCD_OUTBOUND");
    Some(match (bar.text(key::SIP_CALL_DIRECTION)?, number) {
        (direction, Some(number)) if direction == inbound => format!("from {number}"),
        (direction, Some(number)) if direction == outbound => format!("to {number}"),
        (direction, _) => format!("({})", plain(direction)),
    })
}

fn is_automatic(bar: &Bar) -> bool {
    let is_true = |value: &Value| *value == Value::Bool(true);
    bar.attributes.iter().any(|it| it.key == key::DISPATCH_AUTOMATIC && is_true(&it.value))
}

/// Remarks about an operation, for what its label lacks.
pub(super) fn remarks(bar: &Bar) -> Vec<String> {
    let mut remarks = Vec::new();
    let after = |what: &str, key| {
        let latency = bar.attributes[..].number(key).and_then(seconds);
        latency.map(|latency| format!("{what} after {latency}"))
    };
    // What failed has its error type instead.
    let status = |key| bar.text(key).filter(|_| !bar.failed()).map(plain);
    match bar.name {
        span::EGRESS => {
            remarks.extend(bar.stuck().map(|reason| format!("stuck: {}", stuck(reason))));
            remarks.extend(status(key::EGRESS_STATUS));
            remarks.extend(after("first frame", key::EGRESS_FIRST_FRAME_LATENCY));
        }
        span::INGRESS => remarks.extend(status(key::INGRESS_STATUS)),
        span::SIP_CALL => remarks.extend(match bar.text(key::SIP_ANSWER) {
            Some("answered") => {
                Some(after("answered", key::SIP_ANSWER_LATENCY).unwrap_or("answered".to_owned()))
            }
            Some("unanswered") => Some("not answered".to_owned()),
            Some(_) => Some("not known whether it was answered".to_owned()),
            None => status(key::SIP_CALL_STATUS),
        }),
        span::AGENT_JOB => remarks.extend(status(key::JOB_STATUS)),
        span::AGENT_DISPATCH => remarks.extend(match bar.text(key::DISPATCH_OUTCOME) {
            Some("joined") => Some(
                after("the agent joined", key::DISPATCH_LATENCY)
                    .unwrap_or("the agent joined".to_owned()),
            ),
            Some(_) if bar.failed() => None,
            outcome => outcome.map(because),
        }),
        _ => {}
    }
    remarks
}

/// Why an operation failed, where no error says it; `None` if that is unknown.
pub(super) fn why(bar: &Bar) -> Option<String> {
    let outcome = bar.text(key::DISPATCH_OUTCOME).filter(|_| bar.name == span::AGENT_DISPATCH);
    bar.stuck().map(stuck).or_else(|| outcome.map(because))
}

/// What the log record of an operation says of it: its id, and why it is stuck or nobody came.
pub(super) fn noted(attributes: &[Attribute]) -> Vec<String> {
    let text = |key| attributes.text(key);
    let id = WORK_IDS.iter().find_map(|key| text(key)).map(str::to_owned);
    let why = text(key::EGRESS_STUCK_REASON).map(stuck);
    let outcome = text(key::DISPATCH_OUTCOME).map(because);
    id.into_iter().chain(why).chain(outcome).collect()
}

/// What became of a dispatch.
pub(super) fn outcome(bar: &Bar) -> Option<String> {
    let remark = || remarks(bar).into_iter().next();
    why(bar).filter(|_| bar.failed()).or_else(remark)
}

fn because(outcome: &str) -> String {
    match outcome {
        "rejected" => "the worker rejected the job".to_owned(),
        "not_joined" => "a worker took the job, but no agent joined by the deadline".to_owned(),
        "no_worker" => "no worker took the job by the deadline".to_owned(),
        "room_ended" => "the room ended before the deadline".to_owned(),
        "deleted" => "it was deleted before an agent joined".to_owned(),
        other => other.replace('_', " "),
    }
}

fn stuck(reason: &str) -> String {
    match reason {
        "starting" => "it has not begun to record".to_owned(),
        "ending" => "it began to end, and has not ended".to_owned(),
        "room_ended" => "it is active, but its room has ended".to_owned(),
        "participant_left" => "it is active, but its participant has left the room".to_owned(),
        other => other.replace('_', " "),
    }
}

// A status in words, without the name of its enum.
fn plain(value: &str) -> String {
    const PREFIXES: [&str; 5] = ["EGRESS_", "ENDPOINT_", "SCS_", "SCD_", "JS_"];
    let of_enum = PREFIXES.iter().find_map(|prefix| value.strip_prefix(prefix));
    spoken(of_enum.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::tests::at;

    fn bar(name: &'static str, attributes: &[(&'static str, &str)]) -> Bar {
        let attributes = attributes.iter().map(|(key, value)| Attribute::new(key, *value));
        Bar {
            name,
            sent: None,
            start: at(0),
            end: None,
            attributes: attributes.collect(),
            stuck_at: None,
        }
    }

    #[test]
    fn operations_are_labelled_by_what_distinguishes_them() {
        let number = (key::SIP_PHONE_NUMBER, "+15550100");
        let inbound = (key::SIP_CALL_DIRECTION, "SCD_INBOUND");
        let outbound = (key::SIP_CALL_DIRECTION, "SCD_OUTBOUND");
        for (name, attributes, wanted) in [
            (span::EGRESS, &[(key::EGRESS_TYPE, "room_composite")][..], "egress room composite"),
            (span::EGRESS, &[], "egress"),
            (span::SIP_CALL, &[number, inbound], "SIP call from +15550100"),
            (span::SIP_CALL, &[number, outbound], "SIP call to +15550100"),
            (span::SIP_CALL, &[outbound], "SIP call (outbound)"),
            (span::SIP_CALL, &[number], "SIP call"),
            (span::AGENT_DISPATCH, &[(key::AGENT_NAME, "tutor")], "agent dispatch tutor"),
            (span::AGENT_JOB, &[(key::AGENT_NAME, "tutor")], "agent job tutor"),
            (span::API_CALL, &[(key::RPC_METHOD, "A/B")], "API call A/B"),
        ] {
            assert_eq!(label(&bar(name, attributes)).as_deref(), Some(wanted));
        }
        let mut automatic = bar(span::AGENT_DISPATCH, &[]);
        automatic.attributes.push(Attribute::new(key::DISPATCH_AUTOMATIC, true));
        assert_eq!(label(&automatic).as_deref(), Some("agent dispatch (automatic)"));
        assert_eq!(label(&bar(span::TRACK, &[])), None);
    }

    #[test]
    fn remarks_say_what_became_of_an_operation() {
        let call = |answer| bar(span::SIP_CALL, &[(key::SIP_ANSWER, answer)]);
        let mut answered = call("answered");
        answered.attributes.push(Attribute::new(key::SIP_ANSWER_LATENCY, 2.5));
        assert_eq!(remarks(&answered), ["answered after 2.5 s"]);
        assert_eq!(remarks(&call("answered")), ["answered"]);
        assert_eq!(remarks(&call("unanswered")), ["not answered"]);
        assert_eq!(remarks(&call("unknown")), ["not known whether it was answered"]);
        let status = (key::EGRESS_STATUS, "EGRESS_ACTIVE");
        let mut egress = bar(span::EGRESS, &[status, (key::EGRESS_STUCK_REASON, "room_ended")]);
        assert_eq!(remarks(&egress), ["stuck: it is active, but its room has ended", "active"]);
        // What has ended is not stuck.
        egress.end = Some(at(1));
        assert_eq!((remarks(&egress), why(&egress)), (vec!["active".to_owned()], None));
        egress.attributes.push(Attribute::new(key::ERROR_TYPE, "egress_failed"));
        assert_eq!(remarks(&egress), [""; 0]);
    }

    #[test]
    fn a_dispatch_says_whether_the_agent_came() {
        let dispatch = |outcome| bar(span::AGENT_DISPATCH, &[(key::DISPATCH_OUTCOME, outcome)]);
        let mut came = dispatch("joined");
        came.attributes.push(Attribute::new(key::DISPATCH_LATENCY, 0.3));
        assert_eq!(outcome(&came).as_deref(), Some("the agent joined after 300 ms"));
        let mut nobody = dispatch("no_worker");
        nobody.attributes.push(Attribute::new(key::ERROR_TYPE, "agent_dispatch_no_worker"));
        let text = "no worker took the job by the deadline";
        assert_eq!(
            (outcome(&nobody).as_deref(), why(&nobody).as_deref()),
            (Some(text), Some(text))
        );
        assert_eq!(remarks(&nobody), [""; 0]);
        let text = "the room ended before the deadline";
        assert_eq!(outcome(&dispatch("room_ended")).as_deref(), Some(text));
        assert_eq!(outcome(&bar(span::AGENT_DISPATCH, &[])), None);
    }
}
