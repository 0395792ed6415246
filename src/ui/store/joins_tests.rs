//! A participant that could not join is one failure, whoever reports it in whatever order.

use super::*;
use crate::ui::pages::Counted;
use crate::ui::tests::{agent_span, at, measure, play_lines, reported, work};
use livekit_otel_model::semconv::event;
use livekit_otel_model::signal::Severity;
use serde_json::{Value, json};

const ROOM: &str = "RM_call";

// Its start, its failure and its end, as analytics and as webhooks.
fn reports(kind: &str, identity: &str) -> Vec<Value> {
    let room = json!({"sid": ROOM, "name": "standup", "creationTime": "1795406960"});
    let of = |state: &str| {
        json!({"sid": "PA_1", "identity": identity, "kind": kind, "joinedAt": "1795406960",
               "joinedAtMs": "1795406960010", "state": state, "disconnectReason": "JOIN_FAILURE"})
    };
    let event = |kind: &str, secs: u32, state: &str| {
        let time = format!("2026-11-23T04:09:{secs}.010000001Z");
        let event = json!({"id": format!("AE_{kind}"), "type": kind, "timestamp": time, "roomId": ROOM,
            "room": room, "nodeId": "ND_one", "participantId": "PA_1", "participant": of(state)});
        json!({"kind": "events", "body": {"events": [event]}})
    };
    let webhook = |kind: &str, secs: u32, state: &str| {
        let body = json!({"event": kind, "id": format!("EV_{kind}"), "room": room,
            "createdAt": (1_795_406_940 + secs).to_string(), "participant": of(state)});
        json!({"kind": "webhook", "body": body})
    };
    vec![
        event("PARTICIPANT_JOINED", 20, "JOINING"),
        webhook("participant_joined", 20, "JOINING"),
        event("PARTICIPANT_CONNECTION_ABORTED", 35, "DISCONNECTED"),
        webhook("participant_connection_aborted", 35, "DISCONNECTED"),
        webhook("participant_left", 35, "DISCONNECTED"),
    ]
}

// All orders of `n` things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |all, next| {
        let with = |order: &Vec<usize>, place| {
            let mut order = order.clone();
            order.insert(place, next);
            order
        };
        all.iter().flat_map(|order| (0..=next).map(|place| with(order, place))).collect()
    })
}

#[test]
fn a_failed_join_is_one_failure_in_any_order_of_its_reports() {
    for (kind, identity) in [("STANDARD", "ann"), ("SIP", "sip_ann"), ("AGENT", "agent-AJ_1")] {
        let all = reports(kind, identity);
        for order in orders(all.len()) {
            let mut lines: Vec<Value> = order.iter().map(|place| all[*place].clone()).collect();
            for (nth, line) in lines.iter_mut().enumerate() {
                line["at"] = (at(15_000).nanos() / 1_000_000 + nth as u64).into();
            }
            for most in 1..=lines.len() {
                let mut store = Store::new(Limits::default());
                play_lines(&lines, most, &str::to_owned, &mut store);
                let counted = Counted::of(&store);
                let what = format!("{kind} {order:?} up to {most}: {counted:?}");
                assert!(counted.all().all(|n| n <= 1), "{what}");
                // A webhook may wait for its twin, but not for ever.
                assert!(most < lines.len() || counted.all().all(|n| n == 1), "{what}");
            }
        }
    }
}

#[test]
fn an_agent_that_failed_to_come_is_one_failure_in_its_own_words() {
    let room = (key::ROOM_ID, ROOM);
    let job = [room, (key::JOB_ID, "AJ_1")];
    let who = [(key::PARTICIPANT_ID, "PA_1"), (key::PARTICIPANT_IDENTITY, "agent-AJ_1")];
    let failed = |error| [(key::ERROR_TYPE, error)];
    let spans = vec![
        work(span::PARTICIPANT, (0, 9_000), &[&[room][..], &who, &failed("agent_error")].concat()),
        work(span::AGENT_JOB, (0, 9_000), &[&job[..], &who, &failed("agent_job_failed")].concat()),
        work(
            span::AGENT_DISPATCH,
            (0, 15_000),
            &[&job[..], &[(key::DISPATCH_ID, "AD_1")], &failed("agent_dispatch_not_joined")]
                .concat(),
        ),
    ];
    let mut store = Store::new(Limits::default());
    store.add(Passed::Spans(spans));
    let failed = |store: &Store| {
        let room = store.room(ROOM).unwrap();
        let bars: Vec<_> = room.failed().iter().map(|bar| bar.name).collect();
        (bars, Counted::of(store).all().collect::<Vec<_>>())
    };
    assert_eq!(failed(&store), (vec![span::AGENT_JOB], vec![1; 4]));
    // Then the agent's own spans come, which know more.
    let mut root = agent_span("job_entrypoint", 7);
    root.failure = Some("RuntimeError".into());
    store.add(Passed::Agents(vec![root], Vec::new()));
    assert_eq!(failed(&store), (vec![], vec![1; 4]));
}

#[test]
fn a_recordings_error_gives_way_to_the_failed_model_and_no_other() {
    let model = |name, job: &str| {
        let mut span = agent_span(name, 7);
        span.of.job = Some(job.into());
        span.failure = Some("APIStatusError".into());
        measure(&mut span, |it| it.model = Some("gpt-5".into()));
        span
    };
    for (name, job, kind, wanted) in [
        ("llm_request_run", "AJ_1", "llm", 1),
        ("tts_request_run", "AJ_1", "tts", 1),
        ("tts_request_run", "AJ_1", "llm", 2),
        ("llm_request_run", "AJ_1", "stt", 2),
        ("llm_request_run", "AJ_2", "llm", 2),
    ] {
        let mut store = Store::new(Limits::default());
        let recorded = [(key::ROOM_ID, ROOM), (key::JOB_ID, "AJ_1"), (key::ERROR_TYPE, kind)];
        store.add(reported(event::AGENT_SESSION_RECORDED, Severity::Error, 9_000, &recorded));
        assert_eq!(store.room(ROOM).unwrap().failures(), 1);
        store.add(Passed::Agents(vec![model(name, job)], Vec::new()));
        assert_eq!(store.room(ROOM).unwrap().failures(), wanted, "{name} {job} {kind}");
    }
}
