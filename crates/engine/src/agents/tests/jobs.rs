//! Jobs that ended are counted once, with how much of them was uploaded.

use super::*;
use livekit_otel_model::event::Identity;
use livekit_otel_model::foreign::{Measured, Recording};
use livekit_otel_model::semconv::{metric, span as name};

impl Run {
    // The labels of the jobs that a flush then counts, each with its number.
    fn jobs(&mut self, secs: i64) -> Vec<(String, f64)> {
        let totals = self.totals(secs).into_iter();
        let jobs = totals.filter(|((of, _), _)| *of == metric::AGENT_JOBS);
        jobs.map(|((_, labels), (_, sum))| (labels, sum)).collect()
    }
}

fn one(labels: &str) -> Vec<(String, f64)> {
    vec![(labels.to_owned(), 1.0)]
}

fn agent(kind: EventKind, secs: i64, participant: &str, identity: &str) -> Decoded {
    let Decoded::Events(mut events) = event(kind, secs, Some(participant)) else {
        panic!("events")
    };
    let who = events[0].participant.as_mut().unwrap();
    who.kind = Some("AGENT".into());
    who.identity = Identity::new(identity);
    Decoded::Events(events)
}

// A room with an agent that comes and leaves.
fn visited(identity: &str) -> Run {
    let mut run = Run::new(session::Settings::default());
    run.apply(&event(EventKind::RoomCreated, 0, None), 0);
    run.apply(&agent(EventKind::ParticipantActive, 1, "PA_agent", identity), 1);
    run.apply(&event(EventKind::ParticipantActive, 1, Some("PA_ada")), 1);
    run
}

fn leave(run: &mut Run, secs: i64) {
    run.apply(&agent(EventKind::ParticipantLeft, secs, "PA_agent", ""), secs);
}

fn closed(reason: &str, error: Option<&str>) -> ForeignSpan {
    let mut span = span("session_close", 90, 2, 6);
    span.facts.measured = Some(Box::new(Measured {
        close_reason: Some(reason.into()),
        error: error.map(Into::into),
        ..Measured::default()
    }));
    span
}

#[test]
fn a_job_is_counted_once_35_s_after_its_end() {
    let mut run = visited("agent-AJ_1");
    run.spans(job(), 5);
    run.until(39);
    assert_eq!(run.jobs(39), []);
    run.restart(39);
    run.until(40);
    assert_eq!(run.jobs(40), one("complete"));
    run.restart(41);
    // Late records, the agent's leaving, a drain.
    run.spans(vec![span("tts_node", 80, 7, 4)], 41);
    run.hang_up(42);
    run.until(200);
    run.close(201);
    assert_eq!(run.jobs(202), one("complete"));
}

#[test]
fn the_servers_span_of_a_job_has_the_agents_error_and_a_link_to_its_span() {
    for (failure, expected) in [(None, None), (Some("RuntimeError"), Some("agent_job_failed"))] {
        let mut run = visited("agent-AJ_1");
        let mut spans = job();
        spans[8].failure = failure.map(Into::into);
        run.spans(spans, 5);
        run.restart(5);
        run.hang_up(6);
        run.until(200);
        let jobs = run.out.spans.iter().filter(|span| span.name == name::AGENT_JOB);
        let [of_server] = jobs.collect::<Vec<_>>()[..] else { panic!("{:?}", run.out.spans) };
        assert_eq!(of_server.failure(), expected);
        assert_eq!(text(&of_server.attributes, key::ERROR).as_deref(), failure);
        let own = Link { trace_id: ids::trace(&room()), span_id: id(1) };
        assert_eq!(of_server.links, [own, participant_link("PA_agent")]);
    }
}

#[test]
fn a_killed_job_is_partial() {
    let mut run = visited("agent-AJ_1");
    run.spans(job()[..7].to_vec(), 5);
    leave(&mut run, 6);
    run.until(40);
    assert_eq!(run.jobs(40), []);
    run.until(90);
    assert_eq!(run.jobs(90), one("partial"));
}

#[test]
fn a_recording_and_a_sessions_close_are_an_end() {
    let header = Recording {
        facts: facts(),
        close_reason: Some("CR_USER_INITIATED".into()),
        ..Recording::default()
    };
    let recording = Decoded::Upload(Upload::Recording(Box::new(header)));
    let close = |reason, error| Decoded::Upload(Upload::Spans(vec![closed(reason, error)]));
    for (upload, labels) in [
        (recording, "user_initiated complete"),
        (close("participant_disconnected", None), "participant_disconnected complete"),
        (close("error", Some("LLMError")), "error LLMError complete"),
        (close("error", None), "error _OTHER complete"),
    ] {
        let mut run = visited("agent-AJ_1");
        run.spans(job()[..7].to_vec(), 5);
        run.apply(&upload, 6);
        leave(&mut run, 7);
        run.until(100);
        assert_eq!(run.jobs(100), one(labels));
    }
}

#[test]
fn a_job_names_what_failed() {
    let mut failed = job();
    failed[8].failure = Some("RuntimeError".into());
    let mut run = visited("agent-AJ_1");
    run.spans(failed, 5);
    run.until(100);
    assert_eq!(run.jobs(100), one("RuntimeError complete"));
    // It failed before its first span, and its agent never joined.
    let mut run = Run::call(session::Settings::default());
    let mut raised = log(None);
    raised.failure = Some("ValueError".into());
    run.logs(vec![log(None), raised], 5);
    run.hang_up(6);
    run.until(100);
    assert_eq!(run.jobs(100), one("ValueError partial"));
    // With spans, a logged error may be of anything.
    let mut run = Run::call(session::Settings::default());
    let mut raised = log(None);
    raised.failure = Some("ValueError".into());
    run.logs(vec![raised], 5);
    run.spans(job(), 5);
    run.until(100);
    assert_eq!(run.jobs(100), one("complete"));
}

#[test]
fn an_agent_of_whose_job_nothing_came_is_counted_once() {
    for identity in ["agent-AJ_1", "helper"] {
        let mut run = visited(identity);
        leave(&mut run, 6);
        // Released after its linger, and then the grace.
        run.until(75);
        run.restart(75);
        assert_eq!(run.jobs(75), [], "{identity}");
        run.until(80);
        assert_eq!(run.jobs(80), one("none"), "{identity}");
        run.restart(80);
        run.hang_up(81);
        run.until(300);
        assert_eq!(run.jobs(300), one("none"), "{identity}");
    }
    let mut run = visited("agent-AJ_1");
    leave(&mut run, 6);
    run.until(80);
    // It reconnects as another participant, and its records come late.
    run.apply(&agent(EventKind::ParticipantActive, 81, "PA_again", "agent-AJ_1"), 81);
    run.apply(&agent(EventKind::ParticipantLeft, 82, "PA_again", ""), 82);
    run.until(200);
    run.restart(200);
    run.spans(job(), 201);
    run.until(300);
    assert_eq!(run.jobs(300), one("none"));
}

#[test]
fn an_agent_whose_job_has_records_is_not_counted_apart() {
    for (identity, spans) in [("agent-AJ_1", job()), ("helper", job())] {
        let mut run = visited(identity);
        run.spans(spans, 5);
        leave(&mut run, 6);
        run.until(300);
        assert_eq!(run.jobs(300), one("complete"), "{identity}");
    }
    // Only log records, which do not name the participant.
    let mut run = visited("helper");
    run.logs(vec![log(None)], 5);
    leave(&mut run, 6);
    run.hang_up(7);
    run.until(300);
    assert_eq!(run.jobs(300), one("partial"));
    // Another job's records say nothing of this one.
    let mut run = visited("agent-AJ_2");
    run.spans(job(), 5);
    leave(&mut run, 6);
    run.until(300);
    assert_eq!(run.jobs(300), [("complete".to_owned(), 1.0), ("none".to_owned(), 1.0)]);
}

#[test]
fn people_and_agents_that_stay_are_no_jobs() {
    let mut run = visited("agent-AJ_1");
    run.apply(&event(EventKind::ParticipantLeft, 6, Some("PA_ada")), 6);
    run.until(300);
    run.close(301);
    assert_eq!(run.jobs(301), []);
}

#[test]
fn a_drain_counts_the_jobs_that_have_ended() {
    let mut run = visited("agent-AJ_1");
    run.spans(job(), 5);
    run.close(6);
    assert_eq!(run.jobs(6), one("complete"));
    let mut run = visited("agent-AJ_1");
    run.spans(job()[..7].to_vec(), 5);
    run.close(6);
    assert_eq!(run.jobs(6), []);
}

#[test]
fn a_library_counts_no_agents_as_it_receives_no_uploads() {
    let stats = stats::Settings {
        node_streams: stats::NodeStreamSource::Reports,
        ..stats::Settings::default()
    };
    let mut run = Run::measuring(session::Settings::default(), stats);
    run.apply(&event(EventKind::RoomCreated, 0, None), 0);
    run.apply(&agent(EventKind::ParticipantActive, 1, "PA_agent", "agent-AJ_1"), 1);
    leave(&mut run, 6);
    run.until(300);
    assert_eq!(run.jobs(300), []);
}
