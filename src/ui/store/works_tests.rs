//! Operations in rooms and outside of them.

use super::*;
use crate::ui::tests::{at, called, played, reported, work};
use livekit_otel_model::semconv::event;
use livekit_otel_model::signal::Severity::{Error, Info, Warn};

const ROOM: (&str, &str) = (key::ROOM_ID, "RM_1");
const EGRESS: (&str, &str) = (key::EGRESS_ID, "EG_1");

fn names_of(room: &Room) -> Vec<(&'static str, bool)> {
    room.bars().map(|bar| (bar.name, bar.end.is_none())).collect()
}

#[test]
fn an_egress_that_outlives_its_room_stays_open_until_its_own_span() {
    let mut store = Store::new(Limits::default());
    store.add(reported(event::ROOM_CREATED, Info, 0, &[ROOM]));
    store.add(reported(event::EGRESS_STARTED, Info, 10, &[ROOM, EGRESS]));
    store.add(Passed::Spans(vec![work(span::ROOM, (0, 100), &[ROOM])]));
    let room = store.room("RM_1").unwrap();
    assert_eq!(names_of(room), [(span::ROOM, false), (span::EGRESS, true)]);
    assert_eq!((room.state(), room.failures()), (State::Over, 0));
    let reason = (key::EGRESS_STUCK_REASON, "room_ended");
    store.add(reported(event::EGRESS_STUCK, Warn, 200, &[ROOM, EGRESS, reason]));
    assert_eq!(store.room("RM_1").unwrap().failures(), 1);
    store.add(Passed::Spans(vec![work(span::EGRESS, (10, 300), &[ROOM, EGRESS, reason])]));
    let room = store.room("RM_1").unwrap();
    assert_eq!(names_of(room), [(span::ROOM, false), (span::EGRESS, false)]);
    // It ended after all.
    assert_eq!(room.failures(), 0);
}

#[test]
fn a_late_report_of_a_sent_operation_opens_nothing_but_a_second_session_does() {
    let mut store = Store::new(Limits::default());
    let ingress = (key::INGRESS_ID, "IN_1");
    let started = |store: &mut Store, millis, id| {
        let Passed::Logs(mut logs) =
            reported(event::INGRESS_STARTED, Info, millis, &[ROOM, ingress])
        else {
            return;
        };
        logs[0].context = Some(([1; 16], [id; 8]));
        store.add(Passed::Logs(logs));
    };
    started(&mut store, 1, 100);
    store.add(Passed::Spans(vec![work(span::INGRESS, (1, 100), &[ROOM, ingress])]));
    started(&mut store, 1, 100);
    assert_eq!(names_of(store.room("RM_1").unwrap()), [(span::INGRESS, false)]);
    started(&mut store, 200, 200);
    let all = [(span::INGRESS, false), (span::INGRESS, true)];
    assert_eq!(names_of(store.room("RM_1").unwrap()), all);
}

#[test]
fn a_late_update_does_not_reopen_what_has_ended() {
    let mut store = Store::new(Limits::default());
    let status = |status| [ROOM, EGRESS, (key::EGRESS_STATUS, status)];
    store.add(reported(event::EGRESS_STARTED, Info, 1, &status("EGRESS_STARTING")));
    store.add(reported(event::EGRESS_ENDED, Info, 5, &status("EGRESS_COMPLETE")));
    store.add(reported(event::EGRESS_UPDATED, Info, 6, &status("EGRESS_ACTIVE")));
    let bar = store.room("RM_1").unwrap().bars().next().unwrap();
    assert_eq!((bar.end, bar.text(key::EGRESS_STATUS)), (Some(at(5)), Some("EGRESS_COMPLETE")));
}

#[test]
fn an_egress_that_goes_on_is_stuck_no_more() {
    let mut store = Store::new(Limits::default());
    let failures = |store: &Store| store.room("RM_1").unwrap().failures();
    store.add(reported(event::EGRESS_STARTED, Info, 0, &[ROOM, EGRESS]));
    let reason = (key::EGRESS_STUCK_REASON, "starting");
    store.add(reported(event::EGRESS_STUCK, Warn, 90_000, &[ROOM, EGRESS, reason]));
    assert_eq!(failures(&store), 1);
    // The same status again changes nothing.
    store.add(reported(event::EGRESS_UPDATED, Info, 91_000, &[ROOM, EGRESS]));
    assert_eq!(failures(&store), 1);
    let active = (key::EGRESS_STATUS, "EGRESS_ACTIVE");
    store.add(reported(event::EGRESS_UPDATED, Info, 92_000, &[ROOM, EGRESS, active]));
    let bar = store.room("RM_1").unwrap().bars().next().unwrap();
    assert_eq!((failures(&store), bar.stuck(), bar.stuck_at), (0, None, None));
}

#[test]
fn a_failed_dispatch_is_one_failure_before_and_after_its_span() {
    let mut store = Store::new(Limits::default());
    let failed = [ROOM, (key::DISPATCH_ID, "AD_1"), (key::ERROR_TYPE, "agent_dispatch_no_worker")];
    store.add(reported(event::AGENT_DISPATCH_FAILED, Warn, 15_000, &failed));
    let bars = |store: &Store| names_of(store.room("RM_1").unwrap());
    assert_eq!(bars(&store), [(span::AGENT_DISPATCH, false)]);
    assert_eq!(store.room("RM_1").unwrap().failures(), 1);
    let sent = || work(span::AGENT_DISPATCH, (0, 15_000), &failed);
    store.add(Passed::Spans(vec![sent()]));
    assert_eq!(store.room("RM_1").unwrap().failures(), 1);
    store.add(reported(event::AGENT_DISPATCH_FAILED, Warn, 15_000, &failed));
    assert_eq!(bars(&store).len(), 1);
}

#[test]
fn a_failed_operation_is_not_listed_again_for_its_log_record() {
    for (scenario, lines) in
        [("agent-job", 3), ("agent-job", 9), ("egress-failure", 7), ("egress-failure", 9)]
    {
        let store = played(scenario, lines);
        let room = store.room("RM_call").unwrap();
        assert_eq!(room.failures(), 1, "{scenario}, {lines} lines");
        assert_eq!(room.failed()[0].name, scenario.replace('-', " ").replace(" failure", ""));
    }
    // The record of a deletion repeats the error of the ingress.
    let mut store = Store::new(Limits::default());
    let failed = [ROOM, (key::INGRESS_ID, "IN_1"), (key::ERROR_TYPE, "ingress_failed")];
    store.add(Passed::Spans(vec![work(span::INGRESS, (1, 100), &failed)]));
    store.add(reported(event::INGRESS_DELETED, Error, 200, &failed));
    assert_eq!(store.room("RM_1").unwrap().failures(), 1);
    let other = [ROOM, (key::INGRESS_ID, "IN_2")];
    store.add(reported(event::INGRESS_DELETED, Error, 200, &other));
    assert_eq!(store.room("RM_1").unwrap().failures(), 2);
    // A failed model in a failed job is another failure.
    let job = [ROOM, (key::JOB_ID, "AJ_1"), (key::ERROR_TYPE, "agent_job_failed")];
    store.add(Passed::Spans(vec![work(span::AGENT_JOB, (1, 150), &job)]));
    store.add(reported(event::AGENT_SESSION_RECORDED, Error, 200, &job));
    assert_eq!(store.room("RM_1").unwrap().failures(), 4);
}

#[test]
fn a_participant_fails_once_with_its_call_or_connection() {
    let who = (key::PARTICIPANT_ID, "PA_1");
    let timeout = (key::ERROR_TYPE, "connection_timeout");
    let call = (key::SIP_CALL_ID, "SCL_1");
    let mut store = Store::new(Limits::default());
    store.add(Passed::Spans(vec![
        work(span::PARTICIPANT, (0, 10), &[ROOM, who, timeout]),
        work(span::SIP_CALL, (0, 10), &[ROOM, who, call, timeout]),
    ]));
    let names = |store: &Store| -> Vec<_> {
        store.room("RM_1").unwrap().failed().iter().map(|bar| bar.name).collect()
    };
    assert_eq!(names(&store), [span::SIP_CALL]);
    // Another participant is another failure. Another reason of the same one is not.
    let other = (key::PARTICIPANT_ID, "PA_2");
    let reason = (key::ERROR_TYPE, "media_failure");
    store.add(Passed::Spans(vec![
        work(span::PARTICIPANT, (0, 10), &[ROOM, other, timeout]),
        work(span::PARTICIPANT, (0, 10), &[ROOM, who, reason]),
    ]));
    assert_eq!(names(&store), [span::SIP_CALL, span::PARTICIPANT]);
    let store = played("aborted-join", usize::MAX);
    let failed = store.rooms()[0].failed();
    assert_eq!(failed.iter().map(|bar| bar.name).collect::<Vec<_>>(), [span::PARTICIPANT_CONNECT]);
}

#[test]
fn a_sip_call_that_only_its_participant_reports_is_one_failure() {
    for (capture, error_type) in [
        ("sip-out-busy", "user_rejected"),
        ("sip-out-no-answer", "user_unavailable"),
        ("sip-out-trunk-503", "sip_trunk_or_network"),
        ("sip-in-no-answer", "sip_not_answered"),
    ] {
        let store = called(capture);
        let failed: Vec<_> = store.rooms().iter().flat_map(|room| room.failed()).collect();
        let failed: Vec<_> = failed.iter().map(|bar| (bar.name, bar.error_type())).collect();
        assert_eq!(failed, [(span::SIP_CALL, error_type)], "{capture}");
        let counted: usize = store.rooms().iter().map(|room| room.failures()).sum();
        assert_eq!(counted, 1, "{capture}");
    }
    let store = called("sip-out-callee-hangs-up");
    assert!(store.rooms().iter().all(|room| room.failures() == 0));
}

fn apart(store: &Store) -> Vec<(&'static str, bool)> {
    store.apart().bars().map(|bar| (bar.name, bar.end.is_none())).collect()
}

#[test]
fn what_has_no_room_is_held_apart() {
    let mut store = Store::new(Limits::default());
    store.add(reported(event::EGRESS_STARTED, Info, 1, &[EGRESS]));
    assert_eq!(apart(&store), [(span::EGRESS, true)]);
    store.add(Passed::Spans(vec![
        work(span::EGRESS, (1, 100), &[EGRESS]),
        work(span::API_CALL, (1, 2), &[(key::ERROR_TYPE, "not_found")]),
        // Successful requests say nothing of a call.
        work(span::API_CALL, (1, 3), &[]),
    ]));
    store.add(reported(event::EGRESS_STARTED, Info, 1, &[EGRESS]));
    assert_eq!(apart(&store), [(span::EGRESS, false), (span::API_CALL, false)]);
    assert!(store.rooms().is_empty() && store.bytes() > 0);
}

#[test]
fn what_ran_before_its_room_was_known_moves_into_the_room() {
    let mut store = Store::new(Limits::default());
    let ingress = (key::INGRESS_ID, "IN_1");
    store.add(reported(event::INGRESS_STARTED, Info, 1, &[ingress]));
    store.add(reported(event::EGRESS_STARTED, Info, 2, &[EGRESS]));
    store.add(reported(event::INGRESS_UPDATED, Info, 5, &[ROOM, ingress]));
    let bar = store.room("RM_1").unwrap().bars().next().unwrap();
    assert_eq!((bar.name, bar.start, bar.end), (span::INGRESS, at(1), None));
    store.add(Passed::Spans(vec![work(span::EGRESS, (2, 9), &[ROOM, EGRESS])]));
    assert_eq!(apart(&store), []);
    assert_eq!(store.apart().bytes(), 0);
}

#[test]
fn what_is_held_apart_is_bounded() {
    let limits = Limits { apart: 10, apart_bytes: 100_000, ..Limits::default() };
    let mut store = Store::new(limits);
    let long = "x".repeat(4_000);
    for n in 0..100 {
        let id = format!("EG_{n}");
        let attributes = [(key::EGRESS_ID, &*id), (key::ERROR, &*long)];
        store.add(reported(event::EGRESS_STARTED, Info, n, &attributes));
        store.add(Passed::Spans(vec![work(span::API_CALL, (n, n), &[(key::ERROR_TYPE, &long)])]));
        assert!(store.bytes() <= 100_000 + 5_000, "{}", store.bytes());
        assert!(apart(&store).len() <= 20);
    }
    let before = store.apart().forgotten;
    for n in 0..100 {
        let id = format!("EG_{n}");
        store.add(Passed::Spans(vec![work(span::EGRESS, (n, n), &[(key::EGRESS_ID, &id)])]));
    }
    // Only the newest, and nothing runs any more.
    assert_eq!(apart(&store).iter().filter(|(name, _)| *name == span::EGRESS).count(), 10);
    assert!(apart(&store).iter().all(|(_, is_open)| !is_open) && store.apart().forgotten > before);
    let ids: Vec<_> = store.apart().bars().filter_map(Bar::work_id).collect();
    assert_eq!((ids.first(), ids.last()), (Some(&"EG_90"), Some(&"EG_99")));
}
