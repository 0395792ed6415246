//! What becomes of made-up dispatches: each outcome, in any order of messages, by clocks that differ, and when the API
//! is asked.

use std::time::Duration;

use livekit_otel_engine::session::Settings;
use livekit_otel_model::event::answer::Dispatch;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::Span;
use proptest::prelude::*;
use serde_json::json;

use super::super::value;
use super::made::{
    AGENT, Calls, REJECTED, RUNNING, agent, comes, dispatch, end, list, named, people, person, some,
};
use crate::messages::{analytics, at, webhook, with_track};

#[test]
fn each_dispatch_that_is_expected_has_an_outcome() {
    // The jobs in the lists, when the agent joins, when the room ends.
    for (jobs, joins, ends, expected) in [
        (&[][..], None, 60_000, some("no_worker", 15_000)),
        (&[RUNNING], None, 60_000, some("not_joined", 15_000)),
        (&[RUNNING], Some(300), 60_000, some("joined", 200)),
        (&[RUNNING], Some(15_100), 60_000, some("joined", 15_000)),
        // Too late.
        (&[RUNNING], Some(15_101), 60_000, some("not_joined", 15_000)),
        (&[REJECTED], None, 60_000, some("rejected", 200)),
        (&[REJECTED], None, 9000, some("rejected", 200)),
        (&[REJECTED, ("JS_RUNNING", Some("agent-AJ_2"))], None, 60_000, some("not_joined", 15_000)),
        (&[], None, 9000, some("room_ended", 8900)),
        (&[RUNNING], None, 9000, some("room_ended", 8900)),
        (&[RUNNING], Some(300), 9000, some("joined", 200)),
    ] {
        let mut calls = Calls::with_room(Settings::default(), 0);
        if let Some(joins) = joins.filter(|joins| *joins < 6000) {
            calls.apply(joins, &comes(joins));
        }
        calls.list(6000, &[named(jobs)]);
        if let Some(joins) = joins.filter(|joins| *joins > 6000) {
            calls.apply(joins, &comes(joins));
        }
        if ends > 16_000 {
            calls.list(16_000, &[named(jobs)]).people(16_000, joins);
        }
        calls.apply(ends, &end(ends)).pass(10_000_000);
        assert_eq!(calls.outcome(), expected, "{jobs:?} {joins:?} {ends}");
        let span = calls.span(span::AGENT_DISPATCH).unwrap();
        let room = calls.span(span::ROOM).unwrap();
        assert_eq!((span.parent, span.trace_id), (Some(room.span_id), room.trace_id));
        let latency = joins.map(|at| format!("{:.3}", (at - 100) as f64 / 1000.0));
        assert_eq!(value(span, key::DISPATCH_LATENCY), latency);
        assert_eq!(span.links.len(), usize::from(joins.is_some()));
    }
}

#[test]
fn of_a_room_that_was_open_before_nothing_is_claimed_of_earlier_dispatches() {
    for (first_heard, expected) in [(5000, 1), (5200, 0)] {
        let mut calls = Calls::new(Settings::default());
        let who = person("PA_1", "alice", first_heard);
        calls.apply(first_heard, &analytics("PARTICIPANT_JOINED", first_heard, who));
        let listed = [named(&[RUNNING]), dispatch(Some("late"), first_heard, &[])];
        calls.list(first_heard + 6000, &listed).list(first_heard + 16_000, &listed);
        calls.people(first_heard + 16_000, None);
        calls.pass(100_000);
        let spans = calls.out.spans.iter().filter(|span| span.name == span::AGENT_DISPATCH);
        assert_eq!(spans.count(), 1 + expected, "{first_heard}");
        assert_eq!(calls.failures(), 1 + expected);
    }
}

#[test]
fn an_automatic_dispatch_without_an_agent_is_nothing_unless_agents_are_expected() {
    let automatic = |jobs| dispatch(None, 0, jobs);
    for (is_expected, jobs, joins, expected) in [
        (false, &[][..], false, None),
        (false, &[RUNNING], false, None),
        (false, &[REJECTED], false, None),
        (false, &[RUNNING], true, some("joined", 300)),
        (true, &[], false, some("no_worker", 15_050)),
        (true, &[RUNNING], false, some("not_joined", 15_050)),
        (true, &[RUNNING], true, some("joined", 300)),
        // Another dispatch brought the agent.
        (true, &[], true, None),
    ] {
        let settings = Settings { agents_expected: is_expected, ..Settings::default() };
        let mut calls = Calls::with_room(settings, 0);
        if joins {
            calls.apply(300, &comes(300));
        }
        calls.list(6000, &[automatic(jobs)]);
        calls.list(16_000, &[automatic(jobs)]).people(16_000, joins.then_some(300));
        calls.apply(60_000, &end(60_000)).pass(10_000_000);
        assert_eq!(calls.outcome(), expected, "{is_expected} {jobs:?} {joins}");
    }
}

#[test]
fn where_an_agent_is_dispatched_by_name_the_automatic_dispatch_needs_none() {
    for created in [100, 15_051] {
        let settings = Settings { agents_expected: true, ..Settings::default() };
        let mut calls = Calls::with_room(settings, 0);
        let dispatches = [dispatch(None, 0, &[]), dispatch(Some("helper"), created, &[])];
        let is_listed = |dispatch: &&Dispatch| dispatch.created <= Some(at(6000));
        let first: Vec<_> = dispatches.iter().filter(is_listed).cloned().collect();
        calls.list(6000, &first).list(16_000, &dispatches).list(31_000, &dispatches);
        calls.apply(60_000, &end(60_000)).pass(10_000_000);
        let failed = calls.out.spans.iter().filter(|span| span.name == span::AGENT_DISPATCH);
        let automatic = failed.filter_map(|span| value(span, key::DISPATCH_AUTOMATIC));
        let automatic: Vec<_> = automatic.collect();
        let expected = if created == 100 { &["false"][..] } else { &["true", "false"] };
        assert_eq!(automatic, expected, "{created}");
    }
}

#[test]
fn a_dispatch_that_is_no_longer_listed_was_deleted() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[named(&[])]).list(9000, &[]).pass(70_000);
    assert_eq!(calls.outcome(), some("deleted", 8900));
    // It had failed before.
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[named(&[])]).list(15_100, &[named(&[])]).list(16_000, &[]).pass(70_000);
    assert_eq!(calls.outcome(), some("no_worker", 15_000));
    // It says so itself.
    let mut calls = Calls::with_room(Settings::default(), 0);
    let deleted = Dispatch { deleted: Some(at(4100)), ..named(&[RUNNING]) };
    calls.list(6000, &[deleted]).pass(70_000);
    assert_eq!(calls.outcome(), some("deleted", 4000));
}

#[test]
fn a_failure_is_logged_at_the_deadline_whatever_the_clocks_say() {
    for ahead in [0, 90_000, -1500] {
        let mut calls = Calls::with_room(Settings::default(), ahead);
        calls.list(6000, &[named(&[])]);
        assert_eq!(calls.failures(), 0, "{ahead}");
        calls.list(15_100, &[named(&[])]);
        assert_eq!(calls.failures(), 1, "{ahead}");
        assert_eq!(calls.asked[0], 6000, "{ahead}");
        calls.pass(70_000);
        assert_eq!(calls.outcome(), some("no_worker", 15_000), "{ahead}");
    }
    // A clock that is further behind, or one event with a wrong time, is late but never early.
    for (ahead, wrong) in [(-90_000, None), (0, Some(600_000))] {
        let mut calls = Calls::with_room(Settings::default(), ahead);
        if let Some(wrong) = wrong {
            let who = person("PA_2", "bob", wrong);
            calls.apply(1000, &analytics("PARTICIPANT_JOINED", wrong, who));
        }
        calls.list(6000, &[named(&[])]).list(13_000, &[named(&[])]);
        assert_eq!(calls.failures(), 0, "{ahead}");
        calls.list(120_000, &[named(&[])]);
        assert_eq!(calls.failures(), 1, "{ahead}");
    }
}

#[test]
fn lists_are_asked_for_when_they_can_say_something_new() {
    let answered = |settings: Settings, jobs: &[(&str, Option<&str>)], joins: Option<i64>| {
        let mut calls = Calls::with_room(settings, 0);
        if let Some(joins) = joins {
            calls.apply(joins, &comes(joins));
        }
        for _ in 0..9 {
            let asked = calls.asked.len();
            let until = calls.engine.next_question();
            let Some(until) = until else { break };
            let nanos = until.since(at(0)).as_nanos();
            let millis = i64::try_from(nanos.div_ceil(1_000_000)).unwrap();
            calls.pass(millis);
            if calls.asked.len() > asked {
                calls.list(millis, &[named(jobs)]);
            }
            if std::mem::take(&mut calls.is_asked_who) {
                calls.people(millis, joins);
            }
        }
        calls.asked
    };
    let soon = Settings { dispatch_deadline: Duration::from_secs(2), ..Settings::default() };
    assert_eq!(answered(Settings::default(), &[RUNNING], Some(300)), [6000]);
    assert_eq!(answered(Settings::default(), &[RUNNING], None), [6000, 15_100]);
    assert_eq!(answered(Settings::default(), &[], None), [6000, 15_100]);
    // A job is listed up to 5 s late.
    assert_eq!(answered(soon, &[], None), [6000, 6100]);
    // The agent is of no dispatch.
    assert_eq!(answered(Settings::default(), &[], Some(3000)), [6000, 9000, 15_100]);
}

#[test]
fn later_dispatches_are_found_when_somebody_joins() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[]);
    for (nth, millis) in [(2, 30_000), (3, 70_000), (4, 71_000), (5, 140_000)] {
        let who = person(&format!("PA_{nth}"), &format!("bob-{nth}"), millis);
        calls.apply(millis, &analytics("PARTICIPANT_JOINED", millis, who)).pass(millis + 8000);
        calls.list(millis + 8000, &[]);
    }
    calls.pass(190_000);
    // After a restart, what has no answer is asked again.
    calls.asked.dedup();
    assert_eq!(calls.asked, [6000, 66_000, 126_000, 186_000]);
}

#[test]
fn without_an_answer_at_the_deadline_nothing_is_claimed_of_an_agent_that_may_be_the_one() {
    // The last list is of before the agent's job was listed.
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(2000, &[named(&[])]).apply(2500, &comes(2500));
    calls.apply(60_000, &end(60_000)).pass(10_000_000);
    assert_eq!(calls.outcome(), None);
    assert_eq!(calls.failures(), 0);
    // Without any agent it is certain.
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(2000, &[named(&[])]).pass(59_000);
    assert_eq!(calls.failures(), 0);
    calls.apply(60_000, &end(60_000)).pass(10_000_000);
    assert_eq!(calls.outcome(), some("no_worker", 15_000));
}

#[test]
fn an_agent_is_called_absent_only_if_a_list_of_participants_lacks_it() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[named(&[RUNNING])]).list(16_000, &[named(&[RUNNING])]).pass(59_000);
    assert_eq!(calls.failures(), 0);
    calls.people(60_000, None);
    assert_eq!((calls.failures(), calls.outcome()), (1, some("not_joined", 15_000)));
    // Its join was not reported.
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[named(&[RUNNING])]).list(16_000, &[named(&[RUNNING])]);
    calls.people(16_000, Some(300)).pass(100_000);
    assert_eq!(calls.outcome(), some("joined", 200));
    // The room ends before it is known.
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[named(&[RUNNING])]).list(16_000, &[named(&[RUNNING])]);
    calls.apply(17_000, &end(17_000)).pass(10_000_000);
    assert_eq!((calls.failures(), calls.outcome()), (0, None));
}

#[test]
fn a_worker_that_waits_for_somebody_or_a_track_has_its_time_from_then() {
    let mut calls = Calls::new(Settings::default());
    calls.apply(0, &analytics("ROOM_CREATED", 0, json!({})));
    calls.list(6000, &[named(&[])]).list(19_000, &[named(&[])]).pass(19_500);
    calls.apply(20_000, &analytics("PARTICIPANT_JOINED", 20_000, person("PA_1", "alice", 20_000)));
    let track = with_track("PA_1", "TR_1");
    calls.apply(22_000, &analytics("TRACK_PUBLISHED", 22_000, track));
    calls.list(36_000, &[named(&[])]);
    assert_eq!(calls.failures(), 0);
    calls.list(37_001, &[named(&[])]).pass(100_000);
    assert_eq!(calls.outcome(), some("no_worker", 36_900));
    // Nobody ever joined.
    let mut calls = Calls::new(Settings::default());
    calls.apply(0, &analytics("ROOM_CREATED", 0, json!({})));
    calls.list(6000, &[named(&[])]).list(30_000, &[named(&[])]);
    calls.apply(40_000, &end(40_000)).pass(10_000_000);
    assert_eq!(calls.outcome(), some("room_ended", 39_900));
}

#[test]
fn dispatches_of_the_next_room_of_the_name_are_not_the_rooms() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.list(6000, &[]).apply(20_000, &end(20_000));
    calls.list(21_000, &[dispatch(Some("helper"), 20_500, &[])]).pass(10_000_000);
    assert_eq!(calls.outcome(), None);
}

#[test]
fn a_room_of_many_dispatches_learns_of_more() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    let mut dispatches: Vec<_> =
        (100..1100).map(|created| dispatch(Some("helper"), created, &[])).collect();
    calls.list(6000, &dispatches).list(17_000, &dispatches).pass(55_000);
    dispatches.push(dispatch(Some("helper"), 56_000, &[]));
    calls.list(60_000, &dispatches).list(72_000, &dispatches).pass(200_000);
    assert_eq!(calls.failures(), 1001);
    let spans = calls.out.spans.iter().filter(|span| span.name == span::AGENT_DISPATCH);
    assert_eq!(spans.count(), 1001);
}

#[test]
fn a_job_has_one_span_however_late_a_list_names_it() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    calls.apply(300, &comes(300)).list(6000, &[named(&[RUNNING])]);
    let left = [("state", "DISCONNECTED"), ("disconnectReason", "CLIENT_INITIATED")];
    calls.apply(30_000, &analytics("PARTICIPANT_LEFT", 30_000, agent(AGENT, 300, &left)));
    calls.list(3_700_000, &[named(&[RUNNING])]).pass(4_000_000);
    assert!(calls.span(span::AGENT_JOB).is_some());
}

#[test]
fn a_list_that_names_an_identity_names_its_job() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    let helper = |millis, more: &[_]| agent("helper-7", millis, more);
    calls.apply(300, &analytics("PARTICIPANT_JOINED", 300, helper(300, &[])));
    calls.list(6000, &[named(&[("JS_RUNNING", Some("helper-7"))])]);
    let left = [("state", "DISCONNECTED"), ("disconnectReason", "CONNECTION_TIMEOUT")];
    calls.apply(30_000, &analytics("PARTICIPANT_LEFT", 30_000, helper(300, &left)));
    calls.apply(31_000, &end(31_000)).pass(10_000_000);
    assert_eq!(calls.outcome(), some("joined", 200));
    let job = calls.span(span::AGENT_JOB).unwrap();
    assert_eq!(job.failure(), Some("connection_timeout"));
    for (key, expected) in [
        (key::JOB_ID, "AJ_1"),
        (key::DISPATCH_ID, "AD_100"),
        (key::AGENT_NAME, "helper"),
        (key::JOB_WORKER_ID, "AW_1"),
        (key::DISCONNECT_REASON, "CONNECTION_TIMEOUT"),
    ] {
        assert_eq!(value(job, key).as_deref(), Some(expected));
    }
    let participants = calls.out.spans.iter().filter(|span| span.name == span::PARTICIPANT);
    let of_agent = |span: &&Span| value(span, key::PARTICIPANT_ID).as_deref() == Some("PA_agent");
    let agent = participants.clone().find(of_agent).unwrap();
    assert_eq!(job.links.iter().map(|link| link.span_id).collect::<Vec<_>>(), [agent.span_id]);
    assert_eq!((job.start, job.end, job.parent), (agent.start, agent.end, agent.parent));
}

#[test]
fn an_agents_identity_names_its_job_without_any_list() {
    for (identity, expected) in [
        (AGENT, Some("AJ_1")),
        ("agent-AJ_", None),
        ("agent-7", None),
        ("agent-AJ_a/b", None),
        ("AJ_1", None),
    ] {
        let mut calls = Calls::with_room(Settings::default(), 0);
        calls.apply(300, &analytics("PARTICIPANT_JOINED", 300, agent(identity, 300, &[])));
        calls.apply(30_000, &end(30_000)).pass(10_000_000);
        let job = calls.span(span::AGENT_JOB);
        assert_eq!(job.and_then(|job| value(job, key::JOB_ID)).as_deref(), expected, "{identity}");
        let rule = job.and_then(|job| value(job, key::END_INFERRED));
        assert_eq!(rule.as_deref(), expected.map(|_| "room_ended"));
    }
}

#[test]
fn what_webhooks_report_of_a_job_wins_over_its_participant() {
    let mut calls = Calls::with_room(Settings::default(), 0);
    let job = |status: &str, ended: &str| {
        json!({"job": {"id": "AJ_1", "agentName": "cloud", "state": {
            "status": status, "startedAt": at(250).nanos().to_string(), "endedAt": ended,
        }}})
    };
    calls.apply(300, &comes(300));
    calls.apply(400, &webhook("agent_job_started", 400, job("JS_RUNNING", "0")));
    let left = [("state", "DISCONNECTED"), ("disconnectReason", "CONNECTION_TIMEOUT")];
    calls.apply(30_000, &analytics("PARTICIPANT_LEFT", 30_000, agent(AGENT, 300, &left)));
    let ended = at(29_000).nanos().to_string();
    calls.apply(30_100, &webhook("agent_job_ended", 30_100, job("JS_SUCCESS", &ended)));
    calls.apply(31_000, &end(31_000)).pass(10_000_000);
    let job = calls.span(span::AGENT_JOB).unwrap();
    assert_eq!((job.start, job.end, job.failure()), (at(250), at(29_000), None));
    assert_eq!(job.links.len(), 1);
}

proptest! {
    // The messages of one dispatch, which all arrive within half a minute.
    #[test]
    fn a_dispatch_is_the_same_in_any_order(
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        joins in 200_i64..20_000,
        ends in 3000_i64..20_000,
        copies in any::<bool>(),
    ) {
        let lists = || [list(6000, &[named(&[RUNNING])]), list(15_100, &[named(&[RUNNING])])];
        let messages = || {
            let [first, second] = lists();
            let left = [("state", "DISCONNECTED"), ("disconnectReason", "CLIENT_INITIATED")];
            let left = analytics("PARTICIPANT_LEFT", 40_000, agent(AGENT, joins, &left));
            let active = analytics("PARTICIPANT_ACTIVE", joins + 50, agent(AGENT, joins, &[]));
            let who = people(15_100, Some(joins).filter(|joins| *joins <= 15_100));
            [first, second, comes(joins), active, left, end(joins.max(ends)), who]
        };
        let run = |order: &[usize]| {
            let mut calls = Calls::with_room(Settings::default(), 0);
            for (nth, of) in (0..).zip(order) {
                calls.apply(20_000 + nth, &messages()[*of]);
                if copies {
                    calls.apply(20_000 + nth, &messages()[*of]);
                }
            }
            calls.pass(10_000_000);
            let spans = [span::AGENT_DISPATCH, span::AGENT_JOB].map(|name| calls.span(name).cloned());
            (spans, calls.failures())
        };
        let (expected, failures) = run(&[0, 1, 2, 3, 4, 5, 6]);
        let (spans, _) = run(&order);
        prop_assert!(failures <= 1);
        prop_assert_eq!(spans, expected);
    }
}
