//! What becomes of a job's records.

use super::*;
use crate::session::TraceScope;
use livekit_otel_model::foreign::Recording;
use livekit_otel_model::hex;

#[test]
fn a_job_joins_its_rooms_trace() {
    let mut run = Run::with(AgentTraces::Join);
    let mut spans = job();
    spans[4].links = vec![link((TRACE, id(7))), link(([9; 16], id(7)))];
    assert_eq!(run.spans(spans, 5), 0);
    let (trace, room_span) = (ids::trace(&room()), ids::room(&room()));
    assert!(run.out.foreign.spans.iter().all(|span| span.trace_id == trace));
    assert_eq!(run.get(9).links, [link((trace, id(7))), link(([9; 16], id(7)))]);
    let root = run.get(1);
    assert_eq!(root.parent, Some(room_span));
    assert_eq!(text(&root.added, key::ORIGINAL_TRACE_ID), Some(hex(&TRACE)));
    assert_eq!(root.added_links, [Link { trace_id: TRACE, span_id: id(1) }]);
    assert_eq!(run.get(5).added_links, [participant_link("PA_ada")]);
    assert_eq!(run.get(7).added_links, [participant_link("PA_agent")]);
    assert_eq!(run.get(9).parent, Some(id(8)));
    assert_whole(&run);
}

#[test]
fn turns_are_linked_to_a_participant_that_has_a_trace_of_its_own() {
    let mut run = Run::call(session::Settings {
        agent_traces: Some(AgentTraces::Join),
        scope: TraceScope::Participant,
        ..session::Settings::default()
    });
    run.spans(job(), 5);
    let trace_id = ids::participant_trace(&room(), &sid("PA_ada"));
    let expected = Link { trace_id, ..participant_link("PA_ada") };
    assert_eq!(run.get(5).added_links, [expected]);
    assert_eq!(run.get(5).trace_id, ids::trace(&room()));
}

#[test]
fn a_root_is_below_the_span_of_the_life_that_its_room_had_then() {
    let mut run = Run::call(session::Settings::default());
    run.hang_up(10);
    run.until(60);
    run.apply(&event(EventKind::RoomCreated, 100, None), 100);
    run.spans(vec![span("job_entrypoint", 1, 0, 5)], 101);
    let mut later = span("job_entrypoint", 2, 0, 105);
    later.facts.job = Some("AJ_2".into());
    later.trace_id = [8; 16];
    run.spans(vec![later], 120);
    assert_eq!(run.get(1).parent, Some(ids::room(&room())));
    assert_eq!(run.get(2).parent, Some(ids::room_again(&room(), at(100))));
}

#[test]
fn a_job_with_a_provider_of_its_own_keeps_its_ids_and_is_linked() {
    let mut run = Run::with(AgentTraces::Join);
    let mut spans = job();
    for span in &mut spans[..8] {
        span.origin = origin(false);
    }
    run.logs(vec![log(Some(7))], 1);
    run.spans(spans, 5);
    assert!(run.out.foreign.spans.iter().all(|span| span.trace_id == TRACE));
    assert_eq!(run.get(1).parent, None);
    assert_eq!(run.get(1).added_links, [room_link(), participant_link("PA_agent")]);
    assert_eq!(run.get(5).added_links, [participant_link("PA_ada")]);
    assert_eq!(run.out.foreign.logs[0].context, Some((TRACE, id(7))));
    // The spans of the room and the agent, which had not left, are linked to its session.
    run.hang_up(20);
    run.until(100);
    let back = Link { trace_id: TRACE, span_id: id(2) };
    let linked = |name: &str| {
        let spans = run.out.spans.iter().filter(|span| span.name == name);
        spans.filter(|span| span.links.contains(&back)).count()
    };
    assert_eq!((linked("room"), linked("participant")), (1, 1));
    assert_eq!(run.by_id().len(), 9);
}

#[test]
fn the_default_follows_the_scope_of_traces() {
    for (scope, joins) in [(TraceScope::Room, true), (TraceScope::Participant, false)] {
        let mut run = Run::call(session::Settings { scope, ..session::Settings::default() });
        run.spans(job(), 5);
        assert_eq!(run.get(1).trace_id != TRACE, joins);
    }
}

#[test]
fn off_passes_records_on() {
    let mut run = Run::with(AgentTraces::Off);
    run.logs(vec![log(Some(7)), log(None)], 1);
    assert_eq!(run.out.foreign.logs, [log(Some(7)), log(None)]);
    run.spans(job()[..6].to_vec(), 5);
    assert_eq!(run.out.foreign.spans, job()[..6]);
    run.hang_up(10);
    run.until(10_000);
    assert_eq!(run.out.foreign.spans.len(), 6);
}

#[test]
fn each_span_leaves_once_by_whichever_way() {
    let mut run = Run::with(AgentTraces::Join);
    // A proxy passed one on without the job's ids, before the job was known.
    let mut stranger = span("llm_request", 9, 8, 3);
    stranger.facts = Facts::default();
    assert_eq!(run.spans(vec![stranger.clone(), stranger.clone()], 4), 1);
    run.restart(4);
    assert_eq!(run.spans(job(), 5), 1);
    run.restart(5);
    assert_eq!(run.spans(job(), 6), 9);
    assert_eq!(run.spans(vec![stranger], 7), 1);
    assert_eq!(run.by_id().len(), 9);
}

#[test]
fn a_span_without_ids_in_a_jobs_trace_joins_with_it() {
    let mut run = Run::with(AgentTraces::Join);
    run.spans(job(), 5);
    let mut tool = span("GET /weather", 20, 8, 3);
    tool.facts = Facts::default();
    run.spans(vec![tool], 6);
    assert_eq!(run.get(20).trace_id, ids::trace(&room()));
}

#[test]
fn logs_wait_for_the_first_span_and_join_after_10_s() {
    let mut run = Run::with(AgentTraces::Join);
    run.logs(vec![log(Some(7)), log(None)], 1);
    run.until(10);
    assert_eq!(run.out.foreign.logs.len(), 0);
    run.until(11);
    let contexts: Vec<_> = run.out.foreign.logs.iter().map(|log| log.context).collect();
    let place = (ids::trace(&room()), ids::room(&room()));
    assert_eq!(contexts, [Some((ids::trace(&room()), id(7))), Some(place)]);
    // Its first span decides all the same.
    let mut own = span("llm_node", 8, 7, 3);
    own.origin = origin(false);
    run.spans(vec![own], 12);
    run.logs(vec![log(Some(7))], 13);
    assert_eq!(run.out.foreign.logs[2].context, Some((TRACE, id(7))));
    assert_eq!(run.get(8).trace_id, TRACE);
}

#[test]
fn logs_that_are_too_many_to_wait_join() {
    let mut run = Run::with(AgentTraces::Join);
    let many = vec![log(Some(7)); 50_001];
    run.logs(many, 1);
    assert_eq!(run.out.foreign.logs.len(), 0);
    run.logs(vec![log(Some(7))], 2);
    assert_eq!(run.out.foreign.logs.len(), 50_002);
    assert!(run.out.foreign.logs.iter().all(|it| it.context == Some((ids::trace(&room()), id(7)))));
}

#[test]
fn plain_otlp_does_not_open_an_unknown_room() {
    let mut run = Run::new(session::Settings::default());
    let mut spans = job();
    for span in &mut spans {
        span.facts.is_plain = true;
    }
    run.spans(spans, 5);
    run.until(100);
    run.close(101);
    assert!(run.by_id().values().all(|span| span.trace_id == TRACE && rule(span).is_none()));
    assert_eq!(run.get(1).added_links, []);
}

#[test]
fn content_of_a_redacted_job_does_not_leave() {
    for traces in [AgentTraces::Join, AgentTraces::Link, AgentTraces::Off] {
        let mut run = Run::with(traces);
        let mut spans = job();
        for span in &mut spans {
            span.body.redacted = Some("redacted".into());
            span.links = vec![ForeignLink {
                to: (TRACE, id(1)),
                body: Body { sent: "plain".into(), redacted: Some(Bytes::new()) },
            }];
        }
        // The root does not say so.
        spans[6].facts.is_redacted = true;
        if traces == AgentTraces::Join {
            run.logs(vec![log(Some(7))], 1);
        }
        run.spans(spans, 5);
        run.logs(vec![log(Some(7))], 6);
        assert!(run.out.foreign.spans.iter().all(|span| span.body.sent == "redacted"));
        assert!(run.out.foreign.spans.iter().all(|span| span.links[0].body.sent.is_empty()));
        assert!(run.out.foreign.logs.iter().all(|log| log.body.sent == "log"));
    }
}

#[test]
fn a_metric_point_redacts_its_job() {
    for is_redacted in [false, true] {
        let mut run = Run::with(AgentTraces::Join);
        let facts = Facts { is_redacted, ..facts() };
        run.apply(&Decoded::Upload(Upload::Metrics(vec![metric(facts)])), 4);
        let mut span = span("user_turn", 5, 2, 2);
        span.body.redacted = Some("redacted".into());
        run.spans(vec![span], 5);
        assert_eq!(run.get(5).body.sent == "redacted", is_redacted);
    }
}

#[test]
fn content_of_a_redacted_record_that_names_no_job_does_not_leave() {
    let mut run = Run::with(AgentTraces::Join);
    let facts = Facts { is_redacted: true, ..Facts::default() };
    let mut span = span("llm_node", 8, 7, 3);
    span.body.redacted = Some("redacted".into());
    span.facts = facts.clone();
    run.spans(vec![span], 5);
    run.logs(vec![ForeignLog { facts, context: None, ..log(None) }], 5);
    assert_eq!(run.get(8).body.sent, "redacted");
    assert_eq!(run.out.foreign.logs[0].body.sent, "log");
}

#[test]
fn a_recording_becomes_one_log_record_and_redacts_its_job() {
    let mut run = Run::with(AgentTraces::Join);
    let facts = Facts { is_redacted: true, ..facts() };
    let recording = Recording { facts, start: Some(at(1)), ..Recording::default() };
    let upload = Decoded::Upload(Upload::Recording(Box::new(recording)));
    run.out.logs.clear();
    assert_eq!(run.apply(&upload, 5).duplicates, 0);
    assert_eq!(run.apply(&upload, 500).duplicates, 1);
    let [record] = &run.out.logs[..] else { panic!("{:?}", run.out.logs) };
    assert_eq!(&*record.event_name, "lk.agent.session_recorded");
    assert_eq!(record.context, Some((room_link().trace_id, room_link().span_id)));
    assert_eq!(text(&record.attributes, key::JOB_ID).as_deref(), Some("AJ_1"));
    run.logs(vec![log(Some(7))], 501);
    run.spans(vec![span("llm_node", 8, 7, 3)], 502);
    assert_eq!(run.out.foreign.logs[0].body.sent, "log");
}

#[test]
fn an_exemplar_follows_its_span() {
    let mut run = Run::with(AgentTraces::Join);
    let context = (TRACE, id(7));
    let joined = (ids::trace(&room()), id(7));
    assert_eq!(run.engine.agents.exemplar(&facts(), context), joined);
    run.spans(job(), 5);
    assert_eq!(run.engine.agents.exemplar(&facts(), context), joined);
    assert_eq!(run.engine.agents.exemplar(&Facts::default(), context), joined);
    let mut linked = Run::with(AgentTraces::Join);
    let mut own = job();
    own[0].origin = origin(false);
    linked.spans(own, 5);
    linked.close(6);
    assert_eq!(linked.engine.agents.exemplar(&facts(), context), context);
}

#[test]
fn a_job_is_forgotten_an_hour_after_its_end() {
    let mut run = Run::with(AgentTraces::Join);
    run.spans(job(), 5);
    run.hang_up(6);
    run.until(3600);
    assert_eq!(run.spans(job(), 3600), 9);
    run.until(7240);
    assert_eq!((run.engine.agents.jobs.len(), run.engine.agents.weight), (0, 0));
    assert!(run.engine.agents.by_trace.is_empty() && run.engine.agents.deadlines.is_empty());
}

#[test]
fn of_too_many_spans_the_jobs_that_are_due_first_are_forgotten() {
    let mut run = Run::with(AgentTraces::Join);
    run.engine.agents.most = 391_000;
    for nth in 0..100 {
        let mut spans = job();
        for span in &mut spans {
            span.facts.job = Some(format!("AJ_{nth:03}").into());
            span.trace_id = [100 + nth; 16];
        }
        run.spans(spans, i64::from(nth));
        assert!(run.engine.agents.weight <= 391_000);
    }
    let kept: Vec<_> = run.engine.agents.jobs.keys().map(|key| &*key.job).collect();
    assert_eq!((kept.first(), kept.last()), (Some(&"AJ_039"), Some(&"AJ_099")));
}
