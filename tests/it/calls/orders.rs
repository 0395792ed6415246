//! Calls that both their participant and the analytics of LiveKit Cloud describe, in any order.

use proptest::prelude::*;

use std::collections::BTreeSet;

use livekit_otel_model::event::Decoded;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::semconv::{event, key, span as name};
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
    call(&ran(reports).out).clone()
}

fn ran(reports: &[&Decoded]) -> Run {
    let mut run = Run::new();
    let room = analytics("ROOM_CREATED", 0, json!({}));
    run.apply(0, &room)
        .apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_2")))
        .apply(2000, &analytics("TRACK_PUBLISHED", 2000, with_track("PA_2", "TR_1")));
    for (report, millis) in reports.iter().zip(LEFT..) {
        run.apply(millis, report);
    }
    run.wait();
    run
}

// An event of an inbound call that has no room yet.
fn roomless(kind: &str, millis: i64, more: Json) -> Decoded {
    let mut info = json!({
        "callId": "SCL_1", "callDirection": "SCD_INBOUND", "trunkId": "ST_2",
        "createdAtNs": nanos(9900),
        "fromUri": {"user": "+15550100"}, "toUri": {"user": "+15550001"},
    });
    merge(&mut info, more);
    let call = json!({"roomId": "", "room": null, "sipCallId": "SCL_1", "sipCall": info});
    analytics(kind, millis, call)
}

// The join and the leave of an inbound call's participant.
fn inbound() -> [Decoded; 2] {
    let caller = caller("PA_1", Direction::In, "active", json!({}));
    [
        analytics("PARTICIPANT_JOINED", JOINED, caller.clone()),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller, "PARTICIPANT_REMOVED")),
    ]
}

#[test]
fn a_call_that_is_rejected_before_it_has_a_room_is_reported_at_once() {
    let ended = json!({
        "callStatus": "SCS_ERROR", "endedAtNs": nanos(9910),
        "error": "no trunk configuration for call",
    });
    let incoming = roomless("SIP_CALL_INCOMING", 9900, json!({}));
    let ended = roomless("SIP_CALL_ENDED", 9910, ended);
    for order in [[&incoming, &ended], [&ended, &incoming]] {
        let mut run = Run::new();
        run.apply(9910, order[0]).apply(9911, order[1]);
        let logged: BTreeSet<_> = run.out.logs.iter().map(|log| &*log.event_name).collect();
        assert_eq!(logged, BTreeSet::from([event::SIP_CALL_INCOMING, event::SIP_CALL_ENDED]));
        run.wait();
        let call = call(&run.out);
        assert!(call.parent.is_none() && call.links.is_empty());
        assert_eq!(call.failure(), Some("sip_call_failed"));
        for (key, expected) in [
            (key::ERROR, "no trunk configuration for call"),
            (key::SIP_ANSWER, "unanswered"),
            (key::SIP_TRUNK_ID, "ST_2"),
            (key::SIP_PHONE_NUMBER, "+15550100"),
            (key::SIP_TRUNK_PHONE_NUMBER, "+15550001"),
        ] {
            assert_eq!(value(call, key).as_deref(), Some(expected), "{key}");
        }
        run.out.spans.iter_mut().for_each(|span| Privacy::Drop.redact_span(span));
        run.out.logs.iter_mut().for_each(|log| Privacy::Drop.redact_log(log));
        assert!(!format!("{:?} {:?}", run.out.spans, run.out.logs).contains("1555"));
    }
}

#[test]
fn the_uris_of_a_call_with_a_room_are_not_read() {
    // Its rule may hide the number, which the attributes of its participant then lack.
    let incoming = roomless("SIP_CALL_INCOMING", 9900, json!({}));
    let ended =
        json!({"callStatus": "SCS_DISCONNECTED", "endedAtNs": nanos(9910), "roomName": "standup"});
    let ended = roomless("SIP_CALL_ENDED", 9910, ended);
    let out = ran(&[&incoming, &ended]).out;
    call(&out);
    assert!(!format!("{out:?}").contains("1555"));
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
fn an_inbound_call_that_is_reported_before_its_room_becomes_part_of_it() {
    let incoming = roomless("SIP_CALL_INCOMING", 9900, json!({}));
    let [joined, left] = inbound();
    let [before, after] =
        [[&incoming, &joined, &left], [&joined, &incoming, &left]].map(|order| made(&order));
    assert!(before.parent.is_some());
    assert_eq!(before, after);
}

#[test]
fn an_inbound_call_waits_half_a_minute_for_its_room() {
    let incoming = roomless("SIP_CALL_INCOMING", 9900, json!({}));
    let [joined, left] = inbound();
    let made = |later: i64| {
        let mut run = Run::new();
        run.apply(0, &analytics("ROOM_CREATED", 0, json!({}))).apply(9900, &incoming).restart();
        assert_eq!(
            run.out.logs.iter().filter(|log| &*log.event_name == event::SIP_CALL_INCOMING).count(),
            0
        );
        run.apply(9900 + later, &joined).apply(60_000, &left).wait();
        assert_eq!(
            run.out.logs.iter().filter(|log| &*log.event_name == event::SIP_CALL_INCOMING).count(),
            1
        );
        call(&run.out).clone()
    };
    let [within, apart] = [29_999, 30_000].map(made);
    assert_eq!(apart.span_id, within.span_id);
    assert!(apart.parent.is_none() && within.parent.is_some());
    assert_eq!((apart.start, apart.end), (within.start, within.end));
    assert_eq!(apart.attributes, within.attributes);
    // Only one that is in no room's trace is linked to the room.
    assert_eq!(apart.links[1..], within.links[..]);
    assert_eq!(Some(apart.links[0].span_id), within.parent);
}

#[test]
fn a_transfer_is_part_of_its_call_in_any_order() {
    let transfer = |kind, more| {
        let mut info = json!({
            "transferId": "STR_1", "callId": "SCL_1", "transferTo": "tel:+15557777",
            "transferInitiatedAtNs": nanos(20_000),
        });
        merge(&mut info, more);
        let named = json!({"roomId": "", "room": null, "sipCallId": "SCL_1", "sipTransfer": info});
        analytics(kind, 20_000, named)
    };
    let done = json!({"transferStatus": "STS_TRANSFER_SUCCESSFUL", "transferCompletedAtNs": nanos(21_000)});
    let [joined, left] = inbound();
    let requested = transfer("SIP_TRANSFER_REQUESTED", json!({}));
    let complete = transfer("SIP_TRANSFER_COMPLETE", done);
    for order in permutations(&[&joined, &left, &requested, &complete]) {
        let run = ran(&order);
        let [transfer, call] = [name::SIP_TRANSFER, name::SIP_CALL].map(|name| run.span(name));
        assert_eq!((transfer.parent, transfer.trace_id), (Some(call.span_id), call.trace_id));
        let room = run.span(name::ROOM);
        assert_eq!(value(transfer, key::ROOM_ID), value(room, key::ROOM_ID));
        assert!(!format!("{:?}", run.out).contains("5557777"));
    }
}

#[test]
fn an_error_without_a_status_fails_a_call_as_its_participant_says() {
    let caller = |status| caller("PA_1", Direction::In, status, json!({}));
    let error = json!({
        "callStatus": "SCS_ERROR", "callDirection": "SCD_INBOUND", "endedAtNs": nanos(29_990),
        "error": "room subscription timed out",
    });
    let reports = [
        analytics("PARTICIPANT_JOINED", JOINED, caller("ringing")),
        analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("ringing"), "CLIENT_INITIATED")),
        report("SIP_CALL_ENDED", 29_990, error),
    ];
    for order in permutations(&reports.iter().collect::<Vec<_>>()) {
        let call = made(&order);
        assert_eq!(call.failure(), Some("sip_not_answered"));
        assert_eq!(value(&call, key::ERROR).as_deref(), Some("room subscription timed out"));
    }
    assert_eq!(made(&[&reports[2]]).failure(), Some("sip_call_failed"));
}

const MANY: i64 = 12;

// The join and the leave of the participants of a call that is connected again and again. Two begin at a time.
fn many() -> Vec<Decoded> {
    let of = |nth: i64| {
        let begins = JOINED + nth / 2 * 1000;
        let mut caller = caller(&format!("PA_{nth:02}"), Direction::In, "active", json!({}));
        caller["participant"]["joinedAtMs"] = json!((1_795_406_960_000 + begins).to_string());
        let left = leaving(caller.clone(), "PARTICIPANT_REMOVED");
        [
            analytics("PARTICIPANT_JOINED", begins + nth, caller),
            analytics("PARTICIPANT_LEFT", LEFT + nth * 100, left),
        ]
    };
    (0..MANY).flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // Messages of a real call in any order, some of them twice, with a restart. The stats are last: with them
    // participants are complete, and later messages change nothing.
    #[test]
    fn the_messages_of_a_recorded_call_make_the_same_span_in_any_order(
        name in 0..super::CAPTURES.len(),
        has_bus in any::<bool>(),
        places in proptest::collection::vec(any::<u16>(), 200),
        restart in 0..60_usize,
    ) {
        let name = super::CAPTURES[name];
        let (lines, expected) = if has_bus {
            (super::lines_with_bus(name), super::batch_with_bus(name))
        } else {
            (lines(name), super::batch(name, false))
        };
        let mut lines: Vec<_> = lines.into_iter().zip(places).collect();
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

    // The first of them and the newest ones count.
    #[test]
    fn a_call_of_many_participants_is_the_same_span_in_any_order(
        places in proptest::collection::vec(any::<u16>(), 24),
        restart in 0..24_usize,
    ) {
        let mut messages: Vec<_> = many().into_iter().zip(places).collect();
        messages.sort_by_key(|(_, place)| *place);
        let end = LEFT + MANY * 100;
        let mut run = Run::new();
        for (nth, (message, _)) in messages.iter().enumerate() {
            if nth == restart {
                run.restart();
            }
            run.apply(end, message);
        }
        run.wait();
        let call = call(&run.out);
        let times = [call.start, call.end].map(|time| time.since(at(0)).as_millis());
        let last = end - 100;
        prop_assert_eq!(times.map(|millis| i64::try_from(millis).unwrap()), [JOINED, last]);
        let participants = run.spans(name::PARTICIPANT);
        let is_linked = |span: &&&Span| call.links.iter().any(|it| it.span_id == span.span_id);
        let mut linked: Vec<_> = participants.iter().filter(is_linked).filter_map(|span| value(span, key::PARTICIPANT_ID)).collect();
        linked.sort_unstable();
        let newest = MANY - 7..MANY;
        let expected: Vec<_> = [0].into_iter().chain(newest).map(|nth| format!("PA_{nth:02}")).collect();
        prop_assert_eq!(linked, expected);
    }
}
