//! How many operations run at a flush.

use livekit_otel_engine::session;
use livekit_otel_engine::stats::Settings;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, EventKind, SipCall, SipStatus};
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::Number;
use serde_json::json;

use super::sums;
use crate::fixtures;
use crate::messages::{ROOM, analytics, at, webhook};

// How many there are by the series, after each of these reports.
fn counts(reports: &[(i64, Decoded)], name: &str) -> Vec<Vec<(String, Option<Number>)>> {
    let mut engine = Engine::new(session::Settings::default(), Settings::default(), at(0));
    let mut flush = |(millis, decoded): &(i64, Decoded)| {
        let mut out = Batch::default();
        engine.apply(decoded, at(*millis), false, &mut out);
        engine.flush(at(millis + 1), &mut out);
        sums(&out.metrics, name).into_iter().collect()
    };
    reports.iter().map(&mut flush).collect()
}

fn of(labels: &str, counts: [i64; 3]) -> [Vec<(String, Option<Number>)>; 3] {
    counts.map(|count| vec![(labels.to_owned(), Some(Number::Int(count)))])
}

#[test]
fn an_egress_runs_from_its_first_report_until_one_says_that_it_is_over() {
    let info = |id: &str, status: &str| {
        json!({"room": null, "egressInfo": {"egressId": id, "roomId": ROOM, "status": status,
            "roomComposite": {}}})
    };
    let reports = [
        (1000, webhook("egress_started", 1000, info("EG_1", "EGRESS_STARTING"))),
        (2000, webhook("egress_started", 2000, info("EG_2", "EGRESS_STARTING"))),
        (9000, webhook("egress_ended", 9000, info("EG_1", "EGRESS_COMPLETE"))),
    ];
    let expected = of("lk.egress.type=room_composite", [1, 2, 1]);
    assert_eq!(counts(&reports, metric::EGRESS_COUNT), expected);
}

#[test]
fn an_ingress_runs_while_its_session_does() {
    let state = |status: &str| {
        json!({"ingress": {"ingressId": "IN_1", "state": {"resourceId": "WH_1", "roomId": ROOM,
            "status": status}}})
    };
    let reports = [
        (1000, analytics("INGRESS_STARTED", 1000, state("ENDPOINT_BUFFERING"))),
        (2000, analytics("INGRESS_UPDATED", 2000, state("ENDPOINT_PUBLISHING"))),
        (9000, analytics("INGRESS_ENDED", 9000, state("ENDPOINT_COMPLETE"))),
    ];
    assert_eq!(counts(&reports, metric::INGRESS_COUNT), of("", [1, 1, 0]));
}

#[test]
fn a_call_runs_while_its_participant_is_there() {
    let report = |millis: u64, kind| {
        let mut event = fixtures::event(kind, fixtures::at(millis), "RM_1", fixtures::at(0));
        let mut who = fixtures::participant("PA_1", fixtures::at(1000));
        who.sip = Some(Box::new(SipCall {
            id: "SCL_1".into(),
            trunk: Some("ST_1".into()),
            rule: None,
            status: Some(SipStatus::Active),
            number: None,
            trunk_number: None,
            invited: None,
            answered: None,
            has_tag: true,
        }));
        event.id = format!("AE_{millis}").into();
        event.participant = Some(who);
        (i64::try_from(millis).unwrap(), Decoded::Events(vec![event]))
    };
    let reports = [
        report(1000, EventKind::ParticipantJoined),
        report(2000, EventKind::ParticipantActive),
        report(9000, EventKind::ParticipantLeft),
    ];
    let labels = "lk.sip.call_direction=SCD_OUTBOUND lk.sip.trunk_id=ST_1";
    assert_eq!(counts(&reports, metric::SIP_CALL_COUNT), of(labels, [1, 1, 0]));
}

#[test]
fn a_job_runs_until_it_has_succeeded() {
    let job = |status: &str| json!({"job": {"id": "AJ_1", "agentName": "helper", "state": {"status": status}}});
    let reports = [
        (1000, webhook("agent_job_pending", 1000, job("JS_PENDING"))),
        (2000, webhook("agent_job_started", 2000, job("JS_RUNNING"))),
        (9000, webhook("agent_job_ended", 9000, job("JS_SUCCESS"))),
    ];
    assert_eq!(counts(&reports, metric::AGENT_JOB_COUNT), of("", [1, 1, 0]));
}
