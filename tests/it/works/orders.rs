//! Random reports of one operation, in any order and repeated.

use proptest::prelude::*;

use super::*;
use crate::random::Random;

const EGRESS: [&str; 7] = [
    "EGRESS_STARTING",
    "EGRESS_ACTIVE",
    "EGRESS_ENDING",
    "EGRESS_COMPLETE",
    "EGRESS_FAILED",
    "EGRESS_ABORTED",
    "EGRESS_LIMIT_REACHED",
];
const INGRESS: [&str; 5] = [
    "ENDPOINT_INACTIVE",
    "ENDPOINT_BUFFERING",
    "ENDPOINT_PUBLISHING",
    "ENDPOINT_ERROR",
    "ENDPOINT_COMPLETE",
];
const SIP: [&str; 5] =
    ["SCS_CALL_INCOMING", "SCS_PARTICIPANT_JOINED", "SCS_ACTIVE", "SCS_DISCONNECTED", "SCS_ERROR"];
const JOB: [&str; 5] = ["JS_PENDING", "JS_RUNNING", "JS_SUCCESS", "JS_FAILED", "JS_CANCELLED"];

// Few times, so that many reports have the same.
fn time(random: &mut Random) -> i64 {
    1000 + 500 * i64::try_from(random.below(8)).unwrap()
}

// Some of the fields, each with a random value.
fn some(random: &mut Random, times: &[&str], texts: &[&str]) -> Json {
    let mut fields = json!({});
    for field in times {
        if random.below(3) == 0 {
            let at = time(random);
            merge(&mut fields, json!({*field: nanos(at)}));
        }
    }
    for field in texts {
        if random.below(2) == 0 {
            let text = random.of(&["one", "two"]);
            merge(&mut fields, json!({*field: text}));
        }
    }
    fields
}

// One report; `nth` makes its id unique.
fn report(random: &mut Random, kind: &str, nth: usize) -> Decoded {
    let millis = time(random);
    let common = ["startedAt", "endedAt", "updatedAt"];
    let id = json!({"id": format!("E_{nth}")});
    match kind {
        span::EGRESS => {
            let event = random.of(&["egress_started", "egress_updated", "egress_ended"]);
            let status = json!({"status": random.of(&EGRESS), "egressId": "EG_1", "roomId": ROOM});
            let more = some(random, &common, &["error"]);
            let info =
                with(with(status, more), json!({"fileResults": [some(random, &common[..2], &[])]}));
            webhook(event, millis, with(id, json!({"egressInfo": info})))
        }
        span::INGRESS => {
            let event = random.of(&["INGRESS_STARTED", "INGRESS_UPDATED", "INGRESS_ENDED"]);
            let state = json!({"status": random.of(&INGRESS), "resourceId": "WH_1"});
            let state = with(state, some(random, &common, &["error"]));
            let info = json!({"ingress": {"ingressId": "IN_1", "state": state}});
            analytics(event, millis, with(id, info))
        }
        span::SIP_CALL => {
            let event = random.of(&[
                "SIP_CALL_INCOMING",
                "SIP_CALL_STARTED",
                "SIP_CALL_UPDATE",
                "SIP_CALL_ENDED",
            ]);
            let info = json!({"callId": "SCL_1", "callStatus": random.of(&SIP)});
            let info =
                with(info, some(random, &["createdAtNs", "startedAtNs", "endedAtNs"], &["error"]));
            let more = some(random, &[], &["sipTrunkId", "nodeId"]);
            analytics(event, millis, with(with(id, more), json!({"sipCall": info})))
        }
        _ => {
            let event = random.of(&["agent_job_pending", "agent_job_started", "agent_job_ended"]);
            let times =
                ["startedAt", "endedAt", "updatedAt", "firstStartedAt", "acceptedAt", "assignedAt"];
            let state = json!({"status": random.of(&JOB), "reason": random.below(5)});
            let state = with(state, some(random, &times, &["error", "workerId", "agentId"]));
            let job = with(
                json!({"id": "AJ_1", "state": state}),
                some(random, &["createdAt"], &["agentName"]),
            );
            webhook(event, millis, with(id, json!({"job": job})))
        }
    }
}

// The reports in a random order, some of them twice.
fn shuffled(random: &mut Random, kind: &str, reports: &[u64]) -> Vec<Decoded> {
    let mut order: Vec<(u64, usize)> = Vec::new();
    for nth in 0..reports.len() {
        for _ in 0..=random.below(2) {
            order.push((random.next(), nth));
        }
    }
    order.sort_unstable();
    let made =
        |(id, (_, nth)): (usize, (u64, usize))| report(&mut Random::new(reports[nth]), kind, id);
    order.into_iter().enumerate().map(made).collect()
}

proptest! {
    #[test]
    fn the_order_and_the_number_of_reports_do_not_change_the_span(
        seed in any::<u64>(),
        kind in 0..4_usize,
        reports in proptest::collection::vec(any::<u64>(), 1..6),
    ) {
        let kind = [span::EGRESS, span::INGRESS, span::SIP_CALL, span::AGENT_JOB][kind];
        let mut random = Random::new(seed);
        let [one, other] = [(), ()].map(|()| play(&shuffled(&mut random, kind, &reports)));
        prop_assert_eq!(only(&one, kind), only(&other, kind));
    }

    #[test]
    fn no_report_of_a_running_operation_changes_what_its_end_says(
        seed in any::<u64>(),
        kind in 0..4_usize,
        reports in proptest::collection::vec(any::<u64>(), 1..6),
    ) {
        let kind = [span::EGRESS, span::INGRESS, span::SIP_CALL, span::AGENT_JOB][kind];
        let reports = shuffled(&mut Random::new(seed), kind, &reports);
        let is_end = |report: &&Decoded| match report {
            Decoded::Events(events) => events.iter().any(|event| event.work.as_ref().is_some_and(|work| work.is_over)),
            _ => false,
        };
        let ends: Vec<_> = reports.iter().filter(is_end).cloned().collect();
        prop_assume!(!ends.is_empty());
        let [all, ends] = [&reports, &ends].map(|reports| play(reports));
        let [all, ends] = [&all, &ends].map(|out| only(out, kind));
        prop_assert_eq!(all.failure(), ends.failure());
        // An end before the start is raised to it.
        let is_raised = [all, ends].iter().any(|span| span.end == span.start);
        prop_assert!(all.end == ends.end || is_raised, "{:?} {:?}", all, ends);
        // What another report says of the start changes these.
        let of_start =
            [key::START_INFERRED, key::SIP_ANSWER_LATENCY, key::EGRESS_FIRST_FRAME_LATENCY];
        for attribute in ends.attributes.iter().filter(|each| !of_start.contains(&each.key)) {
            prop_assert_eq!(value(&all.attributes, attribute.key), Some(&attribute.value));
        }
    }
}
