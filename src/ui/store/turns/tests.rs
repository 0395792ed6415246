use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::held::{Job, bytes};
use super::*;
use crate::ui::store::{Limits, Room, Store};
use crate::ui::tests::{agent_span, at, joined, measure, of_turn, played};
use livekit_otel_model::event::ParticipantSid;
use livekit_otel_model::foreign::Measure;
use livekit_otel_model::signal::SpanId;
use livekit_otel_pipeline::{AgentError, AgentSpan, Passed};

// A line for each turn: who, how many answers, the time of the answer and its longest part in milliseconds.
fn lines(agents: &Agents) -> String {
    let mut to = String::new();
    for turn in agents.turns() {
        let who = if turn.user.is_some() { "user" } else { "none" };
        let latency = turn.latency().map(|it| it.as_millis());
        let parts = turn.parts();
        let longest = Cause::ALL.map(|cause| {
            let of = parts.iter().filter(|part| part.cause == cause).map(Part::length);
            (of.sum::<Duration>().as_millis(), cause)
        });
        let (longest, cause) = longest.into_iter().max().unwrap();
        let mark = if turn.is_interrupted() { " interrupted" } else { "" };
        writeln!(to, "{who} {} {latency:?} {cause:?} {longest}{mark}", turn.answers.len()).unwrap();
    }
    to
}

fn lines_of(capture: &str) -> String {
    let store = joined(capture);
    lines(&store.rooms()[0].agents)
}

#[test]
fn a_call_has_its_turns_and_what_their_answers_waited_for() {
    let expected = "none 1 None Rest 140\n\
                    user 1 Some(923) EndOfTurn 404\n\
                    user 1 Some(960) Model 490 interrupted\n\
                    user 1 Some(583) EndOfTurn 401\n\
                    user 1 Some(724) EndOfTurn 403\n\
                    user 1 Some(698) EndOfTurn 405\n\
                    none 1 None Speech 52\n\
                    user 1 Some(584) EndOfTurn 404\n";
    assert_eq!(lines_of("ordinary"), expected);
}

#[test]
fn the_agents_turns_around_a_tool_are_one_answer_in_npm_too() {
    let expected = "user 2 Some(927) EndOfTurn 420\n\
                    user 1 Some(936) Model 471 interrupted\n\
                    user 1 Some(583) EndOfTurn 404\n\
                    user 2 Some(730) EndOfTurn 407\n\
                    user 1 Some(582) EndOfTurn 403\n";
    assert_eq!(lines_of("node-ordinary"), expected);
}

#[test]
fn a_turn_that_was_cut_off_by_a_kill_has_no_audio() {
    let store = joined("killed");
    let agents = &store.rooms()[0].agents;
    let turns = agents.turns();
    let last = turns.last().unwrap();
    assert_eq!((last.spoke(), last.latency(), last.answers.len()), (None, None, 1));
    assert!(last.parts().iter().any(|part| part.cause == Cause::Model));
}

fn held(spans: impl IntoIterator<Item = AgentSpan>, limits: &Limits) -> (Agents, isize) {
    let mut agents = Agents::default();
    let bytes = spans.into_iter().map(|span| agents.span(span, limits)).sum();
    (agents, bytes)
}

fn agents(spans: impl IntoIterator<Item = AgentSpan>) -> Agents {
    held(spans, &Limits::default()).0
}

#[test]
fn the_order_of_the_spans_changes_nothing() {
    let store = joined("ordinary");
    let room = &store.rooms()[0].agents;
    let mut spans: Vec<AgentSpan> = room.spans.iter().chain(&room.failed).cloned().collect();
    let expected = lines(room);
    spans.sort_by_key(|span| span.span_id);
    spans.dedup_by_key(|span| span.span_id);
    assert_eq!(lines(&agents(spans.clone())), expected);
    spans.reverse();
    assert_eq!(lines(&agents(spans)), expected);
}

#[test]
fn a_turn_that_nobody_answered_and_an_answer_to_nobody_are_turns() {
    let late = of_turn("agent_turn", 3, None, 60_000, 61_000);
    let agents = agents([of_turn("user_turn", 1, None, 0, 1000), late]);
    let turns = agents.turns();
    assert_eq!(turns.iter().map(|turn| turn.answers.len()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(turns.iter().filter(|turn| turn.user.is_some()).count(), 1);
}

#[test]
fn what_an_agent_says_after_its_answer_is_a_turn_of_its_own() {
    let spans = [
        of_turn("user_turn", 1, None, 0, 1000),
        of_turn("agent_turn", 2, None, 1000, 2000),
        of_turn("agent_speaking", 3, Some(2), 1500, 2000),
        of_turn("agent_turn", 4, None, 2000, 3000),
    ];
    let agents = agents(spans);
    let turns = agents.turns();
    assert_eq!(turns.iter().map(|turn| turn.answers.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_an_agent_says_around_a_tool_is_one_answer() {
    let mut first = of_turn("agent_turn", 2, None, 1000, 2000);
    let mut second = of_turn("agent_turn", 4, None, 2000, 3000);
    for span in [&mut first, &mut second] {
        measure(span, |it| it.speech = Some("speech_1".into()));
    }
    let speaks = of_turn("agent_speaking", 3, Some(2), 1500, 2000);
    let agents = agents([of_turn("user_turn", 1, None, 0, 1000), first, speaks, second]);
    let turns = agents.turns();
    assert_eq!(turns.iter().map(|turn| turn.answers.len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_answer_that_began_anew_before_it_was_heard_belongs_to_its_turn() {
    let spans = [
        of_turn("user_turn", 1, None, 0, 1000),
        of_turn("agent_turn", 2, None, 900, 950),
        of_turn("agent_turn", 4, None, 1000, 3000),
        of_turn("agent_speaking", 5, Some(4), 1500, 2000),
    ];
    let agents = agents(spans);
    assert_eq!(agents.turns().len(), 1);
    assert_eq!(agents.turns()[0].latency(), Some(Duration::from_millis(500)));
}

#[test]
fn agents_of_one_room_answer_their_own_turns() {
    let of = |job: &str, span: AgentSpan| {
        let mut span = span;
        span.of.job = Some(job.into());
        span
    };
    let spans = [
        of("AJ_1", of_turn("user_turn", 1, None, 0, 1000)),
        of("AJ_2", of_turn("agent_turn", 2, None, 1000, 2000)),
        of("AJ_1", of_turn("agent_turn", 3, None, 1001, 2000)),
    ];
    let agents = agents(spans);
    let turns = agents.turns();
    let seen: Vec<_> = turns.iter().map(|it| (it.job, it.user.is_some())).collect();
    assert_eq!(seen, [(Some("AJ_1"), true), (Some("AJ_2"), false)]);
}

fn parts_of(spans: impl IntoIterator<Item = AgentSpan>) -> Vec<(Cause, u128)> {
    let agents = agents(spans);
    let turns = agents.turns();
    let parts = turns[0].parts();
    parts.iter().map(|part| (part.cause, part.length().as_millis())).collect()
}

// A person speaks for a second, the turn is over at 1,300 ms, and the agent is heard at 2 s.
fn answered(more: [AgentSpan; 2]) -> Vec<AgentSpan> {
    let spans = [
        of_turn("user_turn", 1, None, 0, 1300),
        of_turn("user_speaking", 2, Some(1), 0, 1000),
        of_turn("eou_wait", 3, Some(1), 1000, 1300),
        of_turn("agent_turn", 4, None, 1200, 3000),
        of_turn("agent_speaking", 5, Some(4), 2000, 3000),
    ];
    spans.into_iter().chain(more).collect()
}

#[test]
fn a_model_that_answers_early_still_waits_for_the_end_of_the_turn() {
    let model = of_turn("llm_node", 6, Some(4), 1200, 1600);
    let speech = of_turn("tts_node", 7, Some(4), 1700, 2100);
    let parts =
        [(Cause::EndOfTurn, 300), (Cause::Model, 300), (Cause::Rest, 100), (Cause::Speech, 300)];
    assert_eq!(parts_of(answered([model, speech])), parts);
}

#[test]
fn speech_waits_for_a_model_that_ends_before_it_and_not_for_one_that_goes_on() {
    for (end, expected) in [(1900, [600, 100]), (2500, [100, 600])] {
        let model = of_turn("llm_node", 6, Some(4), 1300, end);
        let speech = of_turn("tts_node", 7, Some(4), 1400, 2100);
        let parts = parts_of(answered([model, speech]));
        let [model, speech] = expected;
        assert_eq!(parts[1..], [(Cause::Model, model), (Cause::Speech, speech)], "{end}");
    }
}

#[test]
fn the_parts_are_the_whole_time_of_an_answer() {
    for capture in ["ordinary", "node-ordinary", "redaction", "own-provider"] {
        let store = joined(capture);
        for turn in store.rooms()[0].agents.turns() {
            let parts: Duration = turn.parts().iter().map(Part::length).sum();
            let Some((heard, spoke)) = turn.heard().zip(turn.spoke()) else { continue };
            assert_eq!(parts, spoke.since(heard), "{capture}");
            let measured = turn.latency().unwrap();
            assert!(parts.abs_diff(measured) < Duration::from_millis(20), "{parts:?} {measured:?}");
        }
    }
}

fn failed(name: &str, id: u64, parent: Option<u64>, end: i64) -> AgentSpan {
    let mut span = of_turn(name, id, parent, 0, end);
    span.failure = Some("APIStatusError".into());
    span
}

// All of a turn fails with its model, which was tried twice.
fn failed_model() -> Vec<AgentSpan> {
    let mut spans = vec![
        failed("llm_request_run", 5, Some(3), 10),
        failed("llm_request_run", 6, Some(3), 20),
        failed("llm_request", 3, Some(2), 21),
        failed("llm_node", 2, Some(1), 22),
        failed("agent_turn", 1, Some(9), 23),
    ];
    for span in &mut spans {
        measure(span, |it| {
            it.model = Some("gpt".into());
            it.provider = Some("openai".into());
        });
    }
    spans
}

#[test]
fn a_failed_model_is_one_failure_with_its_attempts() {
    let agents = agents(failed_model());
    let all = agents.failed();
    assert_eq!((all.len(), agents.failures(), agents.has_failed()), (1, 1, true));
    assert_eq!(all[0].what, What::Model(Some("gpt"), Some("openai")));
    assert_eq!((all[0].error, all[0].attempts, all[0].is_mended), ("APIStatusError", 2, false));
    assert!(agents.turns()[0].has(&all[0]));
}

#[test]
fn an_attempt_whose_request_went_well_is_mended() {
    // npm's attempts do not say their model.
    let mut request = of_turn("tts_request", 3, Some(2), 0, 30);
    measure(&mut request, |it| it.model = Some("sonic".into()));
    let agents = agents([failed("tts_request_run", 5, Some(3), 10), request]);
    let all = agents.failed();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].what, What::Speech(Some("sonic"), None));
    assert!(all[0].is_mended);
}

#[test]
fn a_tool_a_job_and_a_session_that_failed_are_failures_of_their_own() {
    let mut tool = of_turn("function_tool", 7, Some(1), 0, 5);
    measure(&mut tool, |it| {
        it.tool = Some("charge_card".into());
        it.error = Some("tool_error".into());
    });
    let mut close = of_turn("session_close", 8, Some(9), 0, 30);
    measure(&mut close, |it| it.close_reason = Some("error".into()));
    let root = failed("job_entrypoint", 10, None, 40);
    let inner = failed("agent_session", 9, Some(10), 39);
    let spans = failed_model().into_iter().chain([tool, close, root, inner]);
    let agents = agents(spans);
    let what: Vec<_> = agents.failed().iter().map(|failure| failure.what).collect();
    let tool = What::Tool(Some("charge_card"));
    assert_eq!(what, [tool, What::Model(Some("gpt"), Some("openai")), What::Session, What::Job]);
    assert_eq!(agents.failures(), what.len());
    // A session that closed for another reason did not fail, whatever its error was.
    let mut close = of_turn("session_close", 8, Some(9), 0, 30);
    measure(&mut close, |it| it.close_reason = Some("user_initiated".into()));
    assert!(!self::agents([close]).has_failed());
}

#[test]
fn a_job_that_failed_before_its_first_span_is_a_failure_until_a_span_comes() {
    let store = joined("crash");
    let room = store.rooms()[0];
    let failed = room.agents.failed();
    assert_eq!((failed.len(), room.failures()), (1, 1));
    assert_eq!((failed[0].what, failed[0].error), (What::Job, "RuntimeError"));
    let mut agents = Agents::default();
    let span = of_turn("session_start", 1, None, 0, 10);
    let error = AgentError { of: span.of.clone(), time: at(1), error: "E".into() };
    agents.error(&error, &Limits::default());
    assert_eq!((agents.failures(), agents.has_failed()), (1, true));
    agents.span(span, &Limits::default());
    assert_eq!((agents.failures(), agents.has_failed()), (0, false));
}

#[test]
fn the_newest_spans_are_held_and_the_bytes_are_theirs() {
    let limits = Limits { agent_spans: 10, agent_failures: 5, jobs: 2, ..Limits::default() };
    let spans = (0..100).map(|n| {
        let mut span = failed("agent_turn", n + 1, None, 10);
        span.of.job = Some(format!("AJ_{n}").into());
        span
    });
    let (agents, change) = held(spans, &limits);
    assert_eq!((agents.spans.len(), agents.failed.len(), agents.jobs.len()), (10, 5, 2));
    assert_eq!((agents.turns_forgotten, agents.failed_forgotten), (90, 95));
    let newest: SpanId = 100_u64.to_be_bytes();
    assert_eq!(agents.spans.back().unwrap().span_id, newest);
    let spans: usize = agents.spans.iter().chain(&agents.failed).map(bytes).sum();
    let jobs = 2 * (size_of::<Job>() + size_of::<Arc<str>>() + "AJ_0".len());
    assert_eq!(change, (spans + jobs).cast_signed());
}

#[test]
fn plain_otlp_opens_no_room() {
    let mut span = agent_span("agent_turn", 1);
    span.of.is_plain = true;
    let mut store = Store::new(Limits::default());
    store.add(Passed::Agents(vec![span.clone()], Vec::new()));
    assert!(store.rooms().is_empty());
    span.of.is_plain = false;
    store.add(Passed::Agents(vec![span], Vec::new()));
    assert_eq!(store.rooms().len(), 1);
}

#[test]
fn a_room_that_only_its_agent_reported_has_the_times_of_its_turns() {
    let mut store = Store::new(Limits::default());
    let spans =
        vec![of_turn("agent_turn", 1, None, 5000, 9000), of_turn("user_turn", 2, None, 0, 5000)];
    store.add(Passed::Agents(spans, Vec::new()));
    let room: &Room = store.rooms()[0];
    assert_eq!((room.start(), room.end(room.observed)), (at(0), at(9000)));
    // The clocks of agents do not move a room that the server reported.
    let mut store = played("lost-client", 5);
    let end = store.rooms()[0].end(at(0));
    store.add(Passed::Agents(vec![of_turn("agent_turn", 1, None, 0, 1_000_000_000)], Vec::new()));
    assert_eq!((store.rooms().len(), store.rooms()[0].end(at(0))), (1, end));
}

#[test]
fn the_agent_of_a_job_is_the_participant_that_speaks_for_it() {
    let mut user = of_turn("user_turn", 1, None, 0, 10);
    user.participant = ParticipantSid::new("PA_caller");
    let mut speaks = of_turn("agent_speaking", 2, None, 0, 10);
    speaks.participant = ParticipantSid::new("PA_agent");
    let agents = agents([user, speaks]);
    assert_eq!(agents.agent(Some("AJ_1")), Some("PA_agent"));
    assert_eq!(agents.agent(None), None);
    assert_eq!(agents.turns()[0].number(Measure::EndToEnd), None);
}
