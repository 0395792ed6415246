//! Operations beside a room's media (egresses, ingresses, SIP calls and transfers, agents' jobs) whose
//! reports are late, missing, repeated or of a newer server.

mod frames;
mod jobs;
mod lists;
mod orders;
mod starts;
mod stuck;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::Decoded;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Attribute, Span, Value};
use serde_json::{Value as Json, json};

use crate::messages::{ROOM, analytics, at, merge, webhook};

/// When the first report of [`play`] arrives.
const ARRIVAL: i64 = 20_000;

/// The output of reports that arrive one after the other, and of the time that passes after them.
fn play(reports: &[Decoded]) -> Batch {
    let mut out = Batch::default();
    let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
    for (report, millis) in reports.iter().zip(ARRIVAL..) {
        engine.apply(report, at(millis), false, &mut out);
    }
    engine.tick(at(2 * 60_000), &mut out);
    engine.close(at(2 * 60_000), "shutdown", &mut out);
    out
}

/// The only span of that name.
fn only<'a>(out: &'a Batch, name: &str) -> &'a Span {
    let spans: Vec<_> = out.spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(spans.len(), 1, "{name}: {:?}", out.spans);
    spans[0]
}

fn value<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|each| each.key == key).map(|each| &each.value)
}

fn text<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    match value(attributes, key) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// Unix nanoseconds, as LiveKit writes them in JSON.
fn nanos(millis: i64) -> Json {
    json!(at(millis).nanos().to_string())
}

fn with(mut fields: Json, more: Json) -> Json {
    merge(&mut fields, more);
    fields
}

/// The webhook `event` of an egress.
fn egress(event: &str, millis: i64, more: Json) -> Decoded {
    let info = json!({"egressId": "EG_1", "roomId": ROOM, "roomName": "test"});
    webhook(event, millis, json!({"room": null, "egressInfo": with(info, more)}))
}

/// The analytics event `kind` of an ingress, with more fields of its state.
fn ingress(kind: &str, millis: i64, more: Json) -> Decoded {
    let state = with(json!({"resourceId": "WH_1", "roomId": ROOM}), more);
    analytics(kind, millis, json!({"ingress": {"ingressId": "IN_1", "state": state}}))
}

/// The analytics event `kind` of a SIP call.
fn sip_call(kind: &str, millis: i64, more: Json) -> Decoded {
    let info = with(json!({"callId": "SCL_1", "roomId": ROOM}), more);
    analytics(kind, millis, json!({"sipCallId": "SCL_1", "sipCall": info}))
}

/// The analytics event `kind` of a SIP transfer.
fn sip_transfer(kind: &str, millis: i64, more: Json) -> Decoded {
    let info = with(json!({"transferId": "STR_1", "callId": "SCL_1"}), more);
    analytics(kind, millis, json!({"sipCallId": "SCL_1", "sipTransfer": info}))
}

/// The webhook `event` of an agent's job, with more fields of its state.
fn job(event: &str, millis: i64, more: &Json) -> Decoded {
    webhook(event, millis, json!({"job": {"id": "AJ_1", "agentName": "helper", "state": more}}))
}

fn permutations<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (nth, first) in of.iter().enumerate() {
        let mut others = of.to_vec();
        others.remove(nth);
        for mut rest in permutations(&others) {
            rest.insert(0, first.clone());
            all.push(rest);
        }
    }
    all
}

// A start, a failed end and an update that is as late as its end, or later.
fn failed(late: i64) -> [(&'static str, &'static str, &'static str, [Decoded; 3]); 5] {
    let error = json!("disk");
    let ended = |status: (&str, &str)| json!({status.0: status.1, "error": error});
    [
        (
            span::EGRESS,
            key::EGRESS_STATUS,
            "EGRESS_FAILED",
            [
                egress("egress_started", 1000, json!({"startedAt": nanos(1000)})),
                egress("egress_ended", 9000, ended(("status", "EGRESS_FAILED"))),
                egress("egress_updated", late, json!({"status": "EGRESS_ACTIVE"})),
            ],
        ),
        (
            span::INGRESS,
            key::INGRESS_STATUS,
            "ENDPOINT_ERROR",
            [
                ingress("INGRESS_STARTED", 1000, json!({"status": "ENDPOINT_PUBLISHING"})),
                ingress("INGRESS_ENDED", 9000, ended(("status", "ENDPOINT_ERROR"))),
                ingress("INGRESS_UPDATED", late, json!({"status": "ENDPOINT_BUFFERING"})),
            ],
        ),
        (
            span::SIP_CALL,
            key::SIP_CALL_STATUS,
            "SCS_ERROR",
            [
                sip_call("SIP_CALL_INCOMING", 1000, json!({})),
                sip_call("SIP_CALL_ENDED", 9000, ended(("callStatus", "SCS_ERROR"))),
                sip_call("SIP_CALL_UPDATE", late, json!({"callStatus": "SCS_ACTIVE"})),
            ],
        ),
        (
            span::SIP_TRANSFER,
            key::SIP_TRANSFER_ID,
            "STR_1",
            [
                sip_transfer("SIP_TRANSFER_REQUESTED", 1000, json!({})),
                sip_transfer(
                    "SIP_TRANSFER_COMPLETE",
                    9000,
                    ended(("transferStatus", "STS_TRANSFER_FAILED")),
                ),
                sip_transfer("SIP_TRANSFER_REQUESTED", late, json!({})),
            ],
        ),
        (
            span::AGENT_JOB,
            key::JOB_STATUS,
            "JS_FAILED",
            [
                job("agent_job_started", 1000, &json!({"status": "JS_RUNNING"})),
                job("agent_job_ended", 9000, &ended(("status", "JS_FAILED"))),
                job("agent_job_started", late, &json!({"status": "JS_RUNNING"})),
            ],
        ),
    ]
}

#[test]
fn an_update_after_the_end_changes_neither_the_status_nor_the_error_nor_the_end() {
    for late in [9000, 15_000] {
        for (name, key, status, reports) in failed(late) {
            for reports in permutations(&reports) {
                let out = play(&reports);
                let span = only(&out, name);
                assert_eq!(text(&span.attributes, key), Some(status), "{span:?}");
                assert_eq!(text(&span.attributes, key::ERROR), Some("disk"), "{span:?}");
                assert_eq!(text(&span.attributes, key::END_INFERRED), None);
                let (start, end) = (span.start.since(at(0)), span.end.since(at(0)));
                assert_eq!((start.as_secs(), end.as_secs()), (1, 9), "{span:?}");
            }
        }
    }
}

#[test]
fn a_second_end_does_not_replace_the_first() {
    let reports = [
        egress("egress_ended", 9000, json!({"status": "EGRESS_FAILED", "error": "disk"})),
        egress("egress_ended", 12_000, json!({"status": "EGRESS_COMPLETE"})),
    ];
    for reports in permutations(&reports) {
        let out = play(&reports);
        let span = only(&out, span::EGRESS);
        assert_eq!(text(&span.attributes, key::EGRESS_STATUS), Some("EGRESS_FAILED"));
        assert_eq!(text(&span.attributes, key::ERROR), Some("disk"));
        assert_eq!(span.end.since(at(0)).as_secs(), 9);
    }
}

#[test]
fn an_end_without_a_description_is_no_success() {
    let bare = analytics("EGRESS_ENDED", 8000, json!({"egressId": "EG_1"}));
    let failed = egress("egress_ended", 9000, json!({"status": "EGRESS_FAILED", "error": "disk"}));
    for reports in permutations(&[bare, failed]) {
        let out = play(&reports);
        let span = only(&out, span::EGRESS);
        assert_eq!(text(&span.attributes, key::EGRESS_STATUS), Some("EGRESS_FAILED"));
        assert_eq!(text(&span.attributes, key::ERROR_TYPE), Some("egress_failed"));
    }
}

#[test]
fn of_two_updates_the_one_that_was_made_later_counts() {
    // The event of the older state is the later one, as updates are sent by several workers.
    let older = json!({"status": "EGRESS_ACTIVE", "updatedAt": nanos(4000)});
    let newer = json!({"status": "EGRESS_ENDING", "updatedAt": nanos(5000)});
    let egresses = [egress("egress_updated", 8000, older), egress("egress_updated", 7000, newer)];
    // A retry makes a job pending again.
    let older = json!({"status": "JS_RUNNING", "updatedAt": nanos(4000), "workerId": "AW_1"});
    let newer = json!({"status": "JS_PENDING", "updatedAt": nanos(5000), "workerId": "AW_2"});
    let jobs = [job("agent_job_started", 8000, &older), job("agent_job_pending", 7000, &newer)];
    // Without a time of its own, that of the event counts.
    let older = sip_call("SIP_CALL_STARTED", 7000, json!({"callStatus": "SCS_ACTIVE"}));
    let newer = sip_call("SIP_CALL_UPDATE", 8000, json!({"callStatus": "SCS_PARTICIPANT_JOINED"}));
    for (name, key, expected, reports) in [
        (span::EGRESS, key::EGRESS_STATUS, "EGRESS_ENDING", egresses),
        (span::AGENT_JOB, key::JOB_STATUS, "JS_PENDING", jobs.clone()),
        (span::AGENT_JOB, key::JOB_WORKER_ID, "AW_2", jobs),
        (span::SIP_CALL, key::SIP_CALL_STATUS, "SCS_PARTICIPANT_JOINED", [older, newer]),
    ] {
        for reports in permutations(&reports) {
            let out = play(&reports);
            assert_eq!(text(&only(&out, name).attributes, key), Some(expected));
        }
    }
}

#[test]
fn at_the_same_time_the_status_that_is_further_on_counts() {
    let reports = [
        egress("egress_started", 3000, json!({"status": "EGRESS_STARTING"})),
        egress("egress_updated", 3000, json!({"status": "EGRESS_ACTIVE"})),
    ];
    for reports in permutations(&reports) {
        let out = play(&reports);
        let span = only(&out, span::EGRESS);
        assert_eq!(text(&span.attributes, key::EGRESS_STATUS), Some("EGRESS_ACTIVE"));
    }
}
