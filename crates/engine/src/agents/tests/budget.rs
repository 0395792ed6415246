//! Long sessions.

use super::*;

// The spans of the turn with that number, in the order in which they end.
fn turn(nth: u64) -> Vec<ForeignSpan> {
    let (first, secs) = (100 + nth * 10, i64::try_from(nth).unwrap());
    vec![
        span("llm_request_run", first + 3, first + 2, secs),
        span("llm_request", first + 2, first + 1, secs),
        span("llm_node", first + 1, first, secs),
        span("tts_node", first + 4, first, secs),
        of("PA_agent", span("agent_turn", first, 2, secs)),
    ]
}

fn settings() -> session::Settings {
    let agent_traces = Some(AgentTraces::Join);
    session::Settings { max_spans: 200, agent_traces, ..session::Settings::default() }
}

fn in_room(run: &Run) -> usize {
    let spans = run.by_id();
    spans.values().filter(|span| span.trace_id == room_link().trace_id).count()
}

#[test]
fn turns_that_no_longer_fit_have_traces_of_their_own() {
    let mut run = Run::call(settings());
    for nth in 0..60 {
        // A request may begin in the middle of a turn.
        for part in turn(nth).chunks(1 + usize::try_from(nth).unwrap() % 4) {
            run.spans(part.to_vec(), 5 + i64::try_from(nth).unwrap());
        }
        if nth == 40 {
            run.restart(5);
        }
    }
    run.spans(vec![span("agent_session", 2, 1, 0), span("job_entrypoint", 1, 0, 0)], 80);
    assert_eq!(run.by_id().len(), 302);
    assert!((80..=100).contains(&in_room(&run)), "{}", in_room(&run));
    assert_whole(&run);
    let last = run.get(100 + 590);
    assert_eq!((last.parent, last.trace_id), (None, ids::turn_trace(&room(), id(690))));
    let session = Link { trace_id: ids::trace(&room()), span_id: id(2) };
    assert_eq!(last.added_links, [session, participant_link("PA_agent")]);
    assert!(turn(59).iter().all(|it| run.by_id()[&it.span_id].trace_id == last.trace_id));
    // What comes late follows.
    run.spans(vec![span("tts_request", 9000, 694, 59)], 81);
    assert_eq!(run.get(9000).trace_id, last.trace_id);
    run.logs(vec![log(Some(694))], 81);
    assert_eq!(run.out.foreign.logs[0].context, Some((last.trace_id, id(694))));
    run.hang_up(90);
    run.until(200);
    assert_eq!(run.by_id().len(), 303);
}

#[test]
fn a_killed_job_releases_what_is_held() {
    let mut run = Run::call(settings());
    for nth in 0..60 {
        run.spans(turn(nth), 5);
    }
    run.spans(turn(60)[..4].to_vec(), 6);
    assert_eq!(run.by_id().len(), 300);
    run.hang_up(90);
    run.until(200);
    // The rest of the turn, which is inferred as the session is.
    assert_eq!(run.by_id().len(), 306);
    assert_eq!(run.get(700).trace_id, ids::turn_trace(&room(), id(700)));
    assert_eq!(run.get(700).added_links, [Link { span_id: id(2), ..room_link() }]);
    assert_eq!(run.get(2).parent, Some(ids::room(&room())));
    assert_whole(&run);
}

#[test]
fn a_turn_whose_first_spans_left_stays_in_the_rooms_trace() {
    let mut run = Run::call(settings());
    run.spans(turn(50)[..4].to_vec(), 5);
    for nth in 0..40 {
        run.spans(turn(nth), 6);
    }
    run.spans(turn(50)[4..].to_vec(), 7);
    assert_eq!(run.get(600).trace_id, room_link().trace_id);
    assert_whole_without_session(&run);
}

#[test]
fn a_second_job_shares_what_the_first_left() {
    let mut run = Run::call(settings());
    for nth in 0..30 {
        run.spans(turn(nth), 5);
    }
    let before = in_room(&run);
    for nth in 0..30 {
        let mut spans = turn(nth);
        for span in &mut spans {
            span.facts.job = Some("AJ_2".into());
            span.trace_id = [8; 16];
            span.span_id[0] = 1;
            span.parent =
                span.parent.map(|id| [1, id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
        }
        run.spans(spans, 6);
    }
    assert_eq!(in_room(&run), before);
    run.hang_up(90);
    run.until(200);
    // Its session, which only turns in traces of their own name.
    let session = &run.by_id()[&[1, 0, 0, 0, 0, 0, 0, 2]];
    assert_eq!((&*session.name, session.trace_id), ("agent_session", room_link().trace_id));
    assert_whole(&run);
}

#[test]
fn jobs_and_participants_share_a_trace() {
    let mut run = Run::call(settings());
    for nth in 0..60 {
        run.apply(&event(EventKind::ParticipantActive, 2, Some(&format!("PA_{nth}"))), 2);
    }
    for nth in 0..60 {
        run.spans(turn(nth), 5);
    }
    // A participant has two spans, and a room one.
    assert!(in_room(&run) < 200 - 2 * 62, "{}", in_room(&run));
    assert!(in_room(&run) > 45, "{}", in_room(&run));
    assert_whole_without_session(&run);
}

// As the session has not come yet.
fn assert_whole_without_session(run: &Run) {
    let spans = run.by_id();
    let parents = spans.values().filter_map(|span| span.parent).filter(|id| *id != self::id(2));
    for parent in parents {
        assert!(spans.contains_key(&parent));
    }
}

#[test]
fn spans_that_are_parents_of_each_other_end_too() {
    let mut run = Run::call(settings());
    for nth in 0..30 {
        run.spans(turn(nth), 5);
    }
    run.spans(
        vec![span("a", 8000, 8001, 1), span("b", 8001, 8000, 1), span("c", 8002, 8002, 1)],
        6,
    );
    run.hang_up(90);
    run.until(200);
    assert_eq!(run.by_id().len(), 154);
}
