//! Agents' jobs as servers of protocol 1.54 report them. No open-source server sends these fields, so
//! the messages are made up.

use livekit_otel_livekit as livekit;
use livekit_otel_model::event::Unknown;
use livekit_otel_model::semconv::event as name;
use livekit_otel_model::signal::Severity;

use super::*;
use crate::run::Run;

// A webhook of a job, with the fields of its state.
fn body(event: &str, millis: i64, state: Json) -> Json {
    let mut body = json!({
        "event": event,
        "id": format!("EV_{event}_{millis}"),
        "createdAt": (at(millis).nanos() / 1_000_000_000).to_string(),
        "job": {
            "id": "AJ_1", "dispatchId": "AD_1", "type": "JT_ROOM", "agentName": "helper",
            "room": {"sid": ROOM, "name": "test"}, "createdAt": nanos(1000), "threadId": "AT_1",
        },
    });
    body["job"]["state"] = state;
    body
}

fn read(event: &str, millis: i64, state: Json) -> Decoded {
    let read = livekit::webhook(body(event, millis, state).to_string().as_bytes()).unwrap();
    assert_eq!(read.unknown, Unknown::default(), "{event}");
    read.decoded
}

#[test]
fn a_job_that_waited_and_was_tried_again_is_one_span_from_its_creation() {
    let running = |attempts, started| {
        json!({
            "status": "JS_RUNNING", "startedAt": nanos(started), "firstStartedAt": nanos(3000),
            "updatedAt": nanos(started), "acceptedAt": nanos(started - 700),
            "assignedAt": nanos(started - 200), "attempts": attempts, "workersAsked": 2,
            "workerId": format!("AW_{attempts}"), "agentId": "A_1",
        })
    };
    let pending = |reason, millis| json!({"status": "JS_PENDING", "reason": reason, "updatedAt": nanos(millis)});
    let ended = with(
        running(2, 6000),
        json!({
            "status": "JS_SUCCESS", "updatedAt": nanos(9000), "endedAt": nanos(9000),
            "agentFailedAttemptsNs": "2000000000",
        }),
    );
    let out = play(&[
        read("agent_job_pending", 1000, pending("JSR_NO_CAPACITY", 1000)),
        read("agent_job_started", 3000, running(1, 3000)),
        read("agent_job_pending", 5000, pending("JSR_RETRYING", 5000)),
        read("agent_job_started", 6000, running(2, 6000)),
        read("agent_job_ended", 9000, ended),
    ]);
    let span = only(&out, span::AGENT_JOB);
    assert_eq!((span.start, span.end), (at(1000), at(9000)));
    assert_eq!((span.failure(), text(&span.attributes, key::START_INFERRED)), (None, None));
    for (key, expected) in [
        (key::JOB_ID, "AJ_1"),
        (key::DISPATCH_ID, "AD_1"),
        (key::JOB_WORKER_ID, "AW_2"),
        (key::JOB_AGENT_ID, "A_1"),
        (key::JOB_STATUS, "JS_SUCCESS"),
        (key::JOB_REASON, "JSR_RETRYING"),
    ] {
        assert_eq!(text(&span.attributes, key), Some(expected), "{key}");
    }
    assert_eq!(value(&span.attributes, key::JOB_ATTEMPTS), Some(&Value::Int(2)));
    assert_eq!(value(&span.attributes, key::JOB_START_LATENCY), Some(&Value::Float(2.0)));
    assert_eq!(value(&span.attributes, key::JOB_ASSIGNMENT_LATENCY), Some(&Value::Float(0.5)));
    let pending = &out.logs[0];
    assert_eq!((&*pending.event_name, pending.severity), (name::AGENT_JOB_PENDING, Severity::Info));
    assert_eq!(text(&pending.attributes, key::JOB_REASON), Some("JSR_NO_CAPACITY"));
    assert_eq!(pending.context, Some((span.trace_id, span.span_id)));
}

#[test]
fn a_cancelled_job_is_over_and_has_failed_only_without_an_agent() {
    for (reason, error_type, severity) in [
        ("JSR_NO_CAPACITY", Some("agent_job_no_capacity"), Severity::Error),
        ("JSR_ROOM_CLOSED", None, Severity::Info),
        ("JSR_DISPATCH_DELETED", None, Severity::Info),
    ] {
        let state = json!({"status": "JS_CANCELLED", "reason": reason, "endedAt": nanos(4000)});
        // The status itself ends it, whatever the event is.
        for event in ["agent_job_ended", "agent_job_pending"] {
            let out = play(&[read(event, 5000, state.clone())]);
            let span = only(&out, span::AGENT_JOB);
            assert_eq!((span.start, span.end), (at(1000), at(4000)));
            assert_eq!(text(&span.attributes, key::ERROR_TYPE), error_type);
            assert_eq!(text(&span.attributes, key::JOB_STATUS), Some("JS_CANCELLED"));
            assert_eq!(text(&span.attributes, key::JOB_REASON), Some(reason));
            assert_eq!(text(&span.attributes, key::END_INFERRED), None);
            assert_eq!(out.logs[0].severity, severity);
        }
    }
}

#[test]
fn a_job_of_an_older_server_begins_at_its_start() {
    let out =
        play(&[job("agent_job_started", 2000, &json!({"status": 1, "startedAt": nanos(1500)}))]);
    let span = only(&out, span::AGENT_JOB);
    assert_eq!(span.start, at(1500));
    for key in [key::JOB_REASON, key::JOB_ATTEMPTS, key::JOB_START_LATENCY, key::DISPATCH_ID] {
        assert_eq!(value(&span.attributes, key), None, "{key}");
    }
}

#[test]
fn every_reason_for_which_protocol_1_54_ends_a_room_is_on_its_span() {
    let reasons = ["API_DELETE", "IDLE_TIMEOUT", "SERVER_SHUTDOWN", "SUPERSEDED", "OPEN_FAILED"];
    for (number, reason) in (1..).zip(reasons) {
        let long = format!("ROOM_END_{reason}");
        let reports = [
            webhook("room_finished", 5000, json!({"roomEndReason": long})),
            webhook("room_finished", 5000, json!({"roomEndReason": number})),
            analytics("ROOM_ENDED", 5000, json!({"roomEndReason": long})),
        ];
        for report in reports {
            let out = play(&[report]);
            let of = [&only(&out, span::ROOM).attributes, &out.logs[0].attributes];
            assert_eq!(of.map(|of| text(of, key::ROOM_END_REASON)), [Some(&*long); 2]);
        }
    }
}

#[test]
fn an_agent_of_another_room_changes_no_job_whatever_its_name_is() {
    let agent = |event: &str, millis: i64, room: &str, sid: &str| {
        let info = json!({"sid": sid, "identity": "agent-AJ_1", "kind": "AGENT"});
        let room = json!({"roomId": room, "room": {"sid": room, "name": room}});
        let who = json!({"participantId": sid, "participant": info});
        analytics(event, millis, with(who, room))
    };
    let mut run = Run::new();
    run.apply(1000, &agent("PARTICIPANT_JOINED", 1000, ROOM, "PA_1"))
        .apply(2000, &agent("PARTICIPANT_JOINED", 2000, "RM_other", "PA_2"))
        .apply(9000, &agent("PARTICIPANT_LEFT", 9000, ROOM, "PA_1"))
        .apply(15_000, &agent("PARTICIPANT_LEFT", 15_000, "RM_other", "PA_2"))
        .wait();
    let span = run.span(span::AGENT_JOB);
    let times = [span.start, span.end].map(|time| time.since(at(0)).as_millis());
    assert_eq!(times, [1000, 9000]);
    assert_eq!(text(&span.attributes, key::ROOM_ID), Some(ROOM));
    assert_eq!(text(&span.attributes, key::PARTICIPANT_ID), Some("PA_1"));
    assert_eq!(span.links.len(), 1, "{span:?}");
}
