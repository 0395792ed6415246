//! Calls that both their participant and the analytics of LiveKit Cloud describe, in any order.

use proptest::prelude::*;

use livekit_otel_model::event::Decoded;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::Span;
use serde_json::{Value as Json, json};

use super::rules::{Direction, JOINED, LEFT, caller, leaving};
use super::{call, lines, value};
use crate::messages::{analytics, at, merge, participant, with_track};
use crate::run::Run;

// The analytics event `kind` of the call.
fn report(kind: &str, millis: i64, more: Json) -> Decoded {
    let mut info = json!({
        "callId": "SCL_1", "callDirection": "SCD_OUTBOUND",
        "createdAtNs": at(9900).nanos().to_string(),
    });
    merge(&mut info, more);
    let call = json!({"sipCallId": "SCL_1", "sipTrunkId": "ST_2", "sipCall": info});
    analytics(kind, millis, call)
}

fn nanos(millis: i64) -> Json {
    json!(at(millis).nanos().to_string())
}

// What participants and analytics say of an answered call.
fn answered() -> [Decoded; 6] {
    let caller = |status, more| caller("PA_1", Direction::Out, status, more);
    let left = caller("hangup", json!({"sip.callTag": "tag"}));
    let started = json!({"callStatus": "SCS_ACTIVE", "startedAtNs": nanos(14_010)});
    let ended = json!({
        "callStatus": "SCS_DISCONNECTED", "disconnectReason": "CLIENT_INITIATED",
        "startedAtNs": nanos(14_010), "endedAtNs": nanos(29_990),
    });
    [
        analytics("PARTICIPANT_JOINED", JOINED, caller("dialing", json!({}))),
        analytics("TRACK_SUBSCRIBE_REQUESTED", 14_000, with_track("PA_1", "TR_1")),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(left, "CLIENT_INITIATED")),
        report("SIP_PARTICIPANT_CREATED", 9900, json!({"callStatus": "SCS_PARTICIPANT_JOINED"})),
        report("SIP_CALL_STARTED", 14_010, started),
        report("SIP_CALL_ENDED", 29_990, ended),
    ]
}

// The call of these reports, which arrive one after the other.
fn made(reports: &[&Decoded]) -> Span {
    let mut run = Run::new();
    let room = analytics("ROOM_CREATED", 0, json!({}));
    run.apply(0, &room)
        .apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_2")))
        .apply(2000, &analytics("TRACK_PUBLISHED", 2000, with_track("PA_2", "TR_1")));
    for (report, millis) in reports.iter().zip(LEFT..) {
        run.apply(millis, report);
    }
    run.wait();
    call(&run.out).clone()
}

fn permutations<T: Copy>(of: &[T]) -> Vec<Vec<T>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for nth in 0..of.len() {
        let mut others = of.to_vec();
        let first = others.remove(nth);
        for mut rest in permutations(&others) {
            rest.insert(0, first);
            all.push(rest);
        }
    }
    all
}

#[test]
fn participants_and_analytics_make_one_span_in_any_order() {
    let reports = answered();
    let expected = made(&reports.iter().collect::<Vec<_>>());
    for (key, of_analytics) in [
        (key::SIP_CALL_STATUS, "SCS_DISCONNECTED"),
        (key::SIP_TRUNK_ID, "ST_2"),
        (key::SIP_DISCONNECT_REASON, "CLIENT_INITIATED"),
        (key::SIP_ANSWER_LATENCY, "4.110"),
    ] {
        assert_eq!(value(&expected, key).as_deref(), Some(of_analytics), "{key}");
    }
    for (key, of_participant) in [
        (key::PARTICIPANT_ID, "PA_1"),
        (key::SIP_PHONE_NUMBER, "+15550100"),
        (key::SIP_LAST_STATUS, "hangup"),
    ] {
        assert_eq!(value(&expected, key).as_deref(), Some(of_participant), "{key}");
    }
    let times = [expected.start, expected.end].map(|time| time.since(at(0)).as_millis());
    assert_eq!(times, [9900, 29_990]);
    for order in permutations(&reports.iter().collect::<Vec<_>>()) {
        assert_eq!(made(&order), expected);
    }
}

// A call of a rejected callee, as both say it.
fn rejected(code: Json) -> [Decoded; 4] {
    let caller = |status| caller("PA_1", Direction::Out, status, json!({}));
    let mut ended = json!({
        "callStatus": "SCS_DISCONNECTED", "disconnectReason": "USER_REJECTED",
        "endedAtNs": nanos(29_990),
    });
    merge(&mut ended, code);
    [
        analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("ringing"), "USER_REJECTED")),
        report("SIP_PARTICIPANT_CREATED", 9900, json!({"callStatus": "SCS_PARTICIPANT_JOINED"})),
        report("SIP_CALL_ENDED", 29_990, ended),
    ]
}

#[test]
fn a_rejected_call_fails_by_either_source() {
    let busy = json!({"callStatusCode": {"code": "SIP_STATUS_BUSY_HERE"}});
    for (code, expected, alone) in [
        (busy, Some("sip_busy_here"), Some("sip_busy_here")),
        (json!({}), Some("user_rejected"), None),
    ] {
        let reports = rejected(code);
        for order in permutations(&reports.iter().collect::<Vec<_>>()) {
            let call = made(&order);
            assert_eq!(call.failure(), expected);
            assert_eq!(value(&call, key::SIP_ANSWER).as_deref(), Some("unanswered"));
        }
        assert_eq!(made(&[&reports[0], &reports[1]]).failure(), Some("user_rejected"));
        assert_eq!(made(&[&reports[2], &reports[3]]).failure(), alone);
    }
}

#[test]
fn a_call_that_was_given_up_did_not_fail_whatever_the_sip_service_says_of_the_callee() {
    let caller = |status| caller("PA_1", Direction::Out, status, json!({}));
    let ended = |more| {
        let mut ended = json!({
            "callStatus": "SCS_DISCONNECTED", "disconnectReason": "USER_UNAVAILABLE",
            "endedAtNs": nanos(29_990),
        });
        merge(&mut ended, more);
        report("SIP_CALL_ENDED", 29_990, ended)
    };
    let cancelled = json!({"callStatusCode": {"code": "SIP_STATUS_REQUEST_TERMINATED"}});
    for reason in ["PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED"] {
        for more in [json!({}), cancelled.clone()] {
            let reports = [
                analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")),
                analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("ringing"), reason)),
                ended(more),
            ];
            for order in permutations(&reports.iter().collect::<Vec<_>>()) {
                let call = made(&order);
                assert_eq!(call.failure(), None, "{call:?}");
                for key in [key::DISCONNECT_REASON, key::SIP_DISCONNECT_REASON] {
                    assert_eq!(value(&call, key).as_deref(), Some(reason), "{key}");
                }
                assert_eq!(value(&call, key::SIP_ANSWER).as_deref(), Some("unanswered"));
            }
        }
    }
    // A callee that did not answer is another matter, and so is one whose answer ended the call.
    let reports = [
        analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("ringing"), "USER_UNAVAILABLE")),
        ended(json!({})),
    ];
    let call = made(&reports.iter().collect::<Vec<_>>());
    assert_eq!(call.failure(), Some("user_unavailable"));
    assert_eq!(value(&call, key::SIP_DISCONNECT_REASON).as_deref(), Some("USER_UNAVAILABLE"));
    let busy = ended(json!({"callStatusCode": {"code": "SIP_STATUS_BUSY_HERE"}}));
    let left =
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("ringing"), "PARTICIPANT_REMOVED"));
    assert_eq!(made(&[&reports[0], &left, &busy]).failure(), Some("sip_busy_here"));
}

#[test]
fn a_call_that_the_analytics_ended_well_is_not_failed_by_its_participant() {
    let caller = |status| caller("PA_1", Direction::Out, status, json!({"sip.callTag": "tag"}));
    let ended = json!({"callStatus": "SCS_DISCONNECTED", "startedAtNs": nanos(14_010)});
    let reports = [
        analytics("PARTICIPANT_JOINED", JOINED, caller("active")),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("active"), "CONNECTION_TIMEOUT")),
        report("SIP_CALL_ENDED", 29_990, ended),
    ];
    for order in permutations(&reports.iter().collect::<Vec<_>>()) {
        assert_eq!(made(&order).failure(), None);
    }
    assert_eq!(made(&[&reports[0], &reports[1]]).failure(), Some("connection_timeout"));
}

#[test]
fn an_inbound_call_that_was_reported_before_its_room_keeps_its_trace() {
    let incoming = json!({
        "roomId": "", "room": null, "sipCallId": "SCL_1",
        "sipCall": {"callId": "SCL_1", "callDirection": "SCD_INBOUND", "createdAtNs": nanos(9900)},
    });
    let incoming = analytics("SIP_CALL_INCOMING", 9900, incoming);
    let caller = caller("PA_1", Direction::In, "active", json!({}));
    let joined = analytics("PARTICIPANT_JOINED", JOINED, caller.clone());
    let left = analytics("PARTICIPANT_LEFT", LEFT, leaving(caller, "PARTICIPANT_REMOVED"));
    let [apart, within] =
        [[&incoming, &joined, &left], [&joined, &incoming, &left]].map(|order| made(&order));
    assert_eq!(apart.span_id, within.span_id);
    assert!(apart.parent.is_none() && within.parent.is_some());
    assert_eq!((apart.start, apart.end), (within.start, within.end));
    assert_eq!(apart.attributes, within.attributes);
    // Only one that is in no room's trace is linked to the room.
    assert_eq!(apart.links[1..], within.links[..]);
    assert_eq!(Some(apart.links[0].span_id), within.parent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // Messages of a real call in any order, some of them twice, with a restart. The stats are last: with them
    // participants are complete, and later messages change nothing.
    #[test]
    fn the_messages_of_a_recorded_call_make_the_same_span_in_any_order(
        name in 0..super::CAPTURES.len(),
        places in proptest::collection::vec(any::<u16>(), 200),
        restart in 0..60_usize,
    ) {
        let name = super::CAPTURES[name];
        let expected = super::batch(name, false);
        let mut lines: Vec<_> = lines(name).into_iter().zip(places).collect();
        let end = lines.iter().map(|(line, _)| line.at).max().unwrap();
        lines.sort_by_key(|(line, place)| (line.kind == "stats", *place));
        let mut run = Run::new();
        run.engine = livekit_otel_engine::Engine::new(
            livekit_otel_engine::session::Settings::default(),
            livekit_otel_engine::stats::Settings::default(),
            end,
        );
        for (nth, (line, place)) in lines.iter().enumerate() {
            if nth == restart {
                run.restart();
            }
            for _ in 0..=(place % 2) {
                run.engine.apply(&line.decoded, end, true, &mut run.out);
            }
        }
        run.wait();
        prop_assert_eq!(call(&run.out), call(&expected));
    }
}
