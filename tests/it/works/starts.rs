//! Operations whose beginning was not reported, or not the room in which they ran.

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::{Engine, stats};

use super::*;

const ENDED: i64 = 9000;

#[test]
fn an_end_alone_has_the_start_that_the_operation_itself_reports() {
    let times = json!({"startedAt": nanos(2000), "endedAt": nanos(ENDED - 500)});
    let earlier = json!({"startedAt": nanos(2000)});
    let later = json!({"startedAt": nanos(4000)});
    let results = [
        json!({"startedAt": nanos(2000), "file": later}),
        json!({"file": times}),
        json!({"segments": times}),
        json!({"stream": {"info": [later, times]}}),
        json!({"fileResults": [later, times]}),
        json!({"segmentResults": [later, times]}),
        json!({"streamResults": [later, times]}),
        json!({"imageResults": [later, times]}),
        json!({"fileResults": [later], "imageResults": [earlier]}),
    ];
    let complete = json!({"status": "EGRESS_COMPLETE", "endedAt": nanos(ENDED)});
    let egresses = results
        .map(|more| (span::EGRESS, egress("egress_ended", ENDED, with(complete.clone(), more))));
    let call = |more| {
        let ended = json!({"callStatus": "SCS_DISCONNECTED", "endedAtNs": nanos(ENDED)});
        (span::SIP_CALL, sip_call("SIP_CALL_ENDED", ENDED, with(ended, more)))
    };
    let others = [
        (
            span::INGRESS,
            ingress(
                "INGRESS_ENDED",
                ENDED,
                with(earlier.clone(), json!({"endedAt": nanos(ENDED)})),
            ),
        ),
        call(json!({"createdAtNs": nanos(2000), "startedAtNs": nanos(4000)})),
        call(json!({"createdAt": nanos(2000), "startedAtNs": nanos(4000)})),
        call(json!({"startedAtNs": nanos(2000)})),
        call(json!({"startedAt": nanos(2000)})),
        (
            span::SIP_TRANSFER,
            sip_transfer(
                "SIP_TRANSFER_COMPLETE",
                ENDED,
                json!({"transferInitiatedAtNs": nanos(2000)}),
            ),
        ),
        (
            span::AGENT_JOB,
            job("agent_job_ended", ENDED, &with(earlier, json!({"status": "JS_SUCCESS"}))),
        ),
    ];
    for (name, report) in egresses.into_iter().chain(others) {
        let out = play(std::slice::from_ref(&report));
        let span = only(&out, name);
        let [start, end] = [span.start, span.end].map(|time| time.since(at(0)).as_millis());
        assert_eq!((start, end), (2000, 9000), "{report:?}");
        assert_eq!(text(&span.attributes, key::START_INFERRED), None, "{report:?}");
    }
}

#[test]
fn an_egress_ends_when_its_last_result_does_if_it_does_not_say() {
    let result = |from, to| json!({"startedAt": nanos(from), "endedAt": nanos(to)});
    let more = json!({
        "status": "EGRESS_COMPLETE", "fileResults": [result(2000, 7000)], "segmentResults": [result(3000, 8000)],
    });
    let out = play(&[egress("egress_ended", ENDED, more)]);
    assert_eq!(only(&out, span::EGRESS).end, at(8000));
}

#[test]
fn an_inferred_start_is_the_first_report_and_marked() {
    let ended = json!({"endedAt": nanos(8500)});
    for (name, report) in [
        (span::EGRESS, egress("egress_updated", ENDED, json!({"status": "EGRESS_ACTIVE"}))),
        (span::EGRESS, egress("egress_ended", ENDED, json!({"status": "EGRESS_COMPLETE"}))),
        (span::INGRESS, ingress("INGRESS_ENDED", ENDED, json!({}))),
        (span::SIP_CALL, sip_call("SIP_CALL_ENDED", ENDED, json!({}))),
        (span::SIP_TRANSFER, sip_transfer("SIP_TRANSFER_COMPLETE", ENDED, json!({}))),
        (span::AGENT_JOB, job("agent_job_ended", ENDED, &json!({}))),
    ] {
        let out = play(std::slice::from_ref(&report));
        let span = only(&out, name);
        assert_eq!(text(&span.attributes, key::START_INFERRED), Some("first_report"), "{report:?}");
        assert_eq!(span.start.since(at(0)).as_secs(), 9, "{report:?}");
    }
    // It is not after the reported end.
    let out =
        play(&[egress("egress_ended", ENDED, with(json!({"status": "EGRESS_COMPLETE"}), ended))]);
    let span = only(&out, span::EGRESS);
    assert_eq!((span.start, span.end), (at(8500), at(8500)));
}

#[test]
fn a_reported_beginning_is_no_inferred_start() {
    let mut seen = 0;
    for (name, report) in [
        (span::EGRESS, egress("egress_started", 1000, json!({}))),
        (span::INGRESS, ingress("INGRESS_STARTED", 1000, json!({}))),
        (span::SIP_CALL, sip_call("SIP_CALL_INCOMING", 1000, json!({}))),
        (span::SIP_CALL, sip_call("SIP_PARTICIPANT_CREATED", 1000, json!({}))),
        (span::SIP_TRANSFER, sip_transfer("SIP_TRANSFER_REQUESTED", 1000, json!({}))),
        (span::AGENT_JOB, job("agent_job_pending", 1000, &json!({}))),
        (span::AGENT_JOB, job("agent_job_started", 1000, &json!({}))),
        (span::API_CALL, analytics("API_CALL", 1000, json!({"apiCall": {"method": "DeleteRoom"}}))),
        (
            span::WEBHOOK_DELIVERY,
            analytics("WEBHOOK", 1000, json!({"webhook": {"eventId": "EV_1"}})),
        ),
    ] {
        let out = play(std::slice::from_ref(&report));
        let span = only(&out, name);
        assert_eq!(text(&span.attributes, key::START_INFERRED), None, "{report:?}");
        assert_eq!(span.start.since(at(0)).as_secs(), 1, "{report:?}");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

fn room(event: &str, sid: &str, millis: i64) -> Decoded {
    let created = at(millis).nanos() / 1_000_000;
    let info = json!({"sid": sid, "name": "test", "creationTimeMs": created.to_string()});
    webhook(event, millis, json!({"id": format!("EV_{event}_{sid}"), "room": info}))
}

fn ended(sid: &str, millis: i64) -> Decoded {
    let more = json!({"id": format!("EV_end_{sid}"), "room": {"sid": sid, "name": "test"}});
    webhook("room_finished", millis, more)
}

// Ends alone, with the room's name only, of operations that began at `started`.
fn named(started: i64) -> [(&'static str, Decoded); 4] {
    let bare = json!({"roomId": "", "room": null});
    let begun = json!({"startedAt": nanos(started)});
    let state = with(json!({"resourceId": "WH_1"}), begun.clone());
    let call = json!({"callId": "SCL_1", "roomName": "test", "createdAtNs": nanos(started)});
    let ingress = json!({"ingressId": "IN_1", "roomName": "test", "state": state});
    let job = json!({"id": "AJ_1", "room": {"name": "test"}, "state": begun});
    [
        (span::EGRESS, egress("egress_ended", ENDED, with(json!({"roomId": ""}), begun))),
        (
            span::INGRESS,
            analytics("INGRESS_ENDED", ENDED, with(bare.clone(), json!({"ingress": ingress}))),
        ),
        (span::SIP_CALL, analytics("SIP_CALL_ENDED", ENDED, with(bare, json!({"sipCall": call})))),
        (span::AGENT_JOB, webhook("agent_job_ended", ENDED, json!({"room": null, "job": job}))),
    ]
}

#[test]
fn an_operation_that_is_reported_with_a_rooms_name_belongs_to_the_open_room_of_that_name() {
    for (name, report) in named(2000) {
        let out = play(&[room("room_started", "RM_1", 0), report, ended("RM_1", 10_000)]);
        let (of_room, span) = (only(&out, span::ROOM), only(&out, name));
        assert_eq!(
            (span.trace_id, span.parent),
            (of_room.trace_id, Some(of_room.span_id)),
            "{name}"
        );
        assert_eq!(text(&span.attributes, key::ROOM_ID), Some("RM_1"));
        let log = out.logs.iter().find(|log| log.context == Some((span.trace_id, span.span_id)));
        assert_eq!(text(&log.unwrap().attributes, key::ROOM_ID), Some("RM_1"));
    }
}

#[test]
fn an_operation_belongs_to_its_room_even_if_its_end_is_reported_after_the_rooms() {
    for (name, report) in named(2000) {
        let out = play(&[room("room_started", "RM_1", 0), ended("RM_1", 8000), report]);
        assert_eq!(only(&out, name).parent, Some(only(&out, span::ROOM).span_id), "{name}");
    }
}

#[test]
fn a_room_of_that_name_that_was_not_open_when_the_operation_began_is_another() {
    let before = [room("room_started", "RM_1", 0), ended("RM_1", 1000)];
    let after = [room("room_started", "RM_1", 4 * 60_000), ended("RM_1", 5 * 60_000)];
    for rooms in [before, after] {
        for (name, report) in named(2000) {
            let out = play(&[&rooms[..], &[report]].concat());
            let span = only(&out, name);
            assert_eq!((span.parent, span.links.len()), (None, 0), "{name}");
            assert_eq!(text(&span.attributes, key::ROOM_ID), None);
        }
    }
}

#[test]
fn later_reports_by_name_stay_with_the_room_of_the_first() {
    let mut out = Batch::default();
    let mut engine = Engine::new(Settings::default(), stats::Settings::default(), at(0));
    let started = json!({"startedAt": nanos(1000)});
    for (millis, report) in [
        (0, room("room_started", "RM_1", 0)),
        (1000, egress("egress_started", 1000, with(started.clone(), json!({"roomId": "RM_1"})))),
        (5000, room("room_started", "RM_2", 5000)),
        (6000, egress("egress_updated", 6000, with(started, json!({"roomId": ""})))),
    ] {
        engine.apply(&report, at(millis), false, &mut out);
    }
    let updated = out.logs.last().unwrap();
    assert_eq!(text(&updated.attributes, key::ROOM_ID), Some("RM_1"));
    engine.close(at(7000), "shutdown", &mut out);
    assert_eq!(text(&only(&out, span::EGRESS).attributes, key::ROOM_ID), Some("RM_1"));
}
