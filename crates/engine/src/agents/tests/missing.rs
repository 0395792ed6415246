//! Parents that never come.

use super::*;
use crate::session::AgentTraces::{Join, Link};

// A job that was killed: neither its root nor its session came, nor one of its turns.
fn killed() -> Vec<ForeignSpan> {
    let of_it = |span: &ForeignSpan| !matches!(span.span_id[7], 1 | 2 | 7);
    job().into_iter().filter(of_it).collect()
}

#[test]
fn the_parents_of_a_killed_job_are_inferred_35_s_after_its_agent_left() {
    let mut run = Run::with(Join);
    run.spans(killed(), 5);
    run.until(3000);
    assert_eq!(run.by_id().len(), 6);
    run.apply(&event(EventKind::ParticipantLeft, 3000, Some("PA_agent")), 3010);
    run.until(3044);
    assert_eq!(run.by_id().len(), 6);
    run.until(3045);
    let (session, turn) = (run.get(2), run.get(7));
    assert_eq!((&*session.name, &*turn.name), ("agent_session", "agent_turn"));
    assert_eq!((session.start, session.end), (at(1), at(3)));
    assert_eq!((turn.start, turn.end), (at(3), at(4)));
    assert_eq!(session.parent, Some(ids::room(&room())));
    assert_eq!(turn.parent, Some(id(2)));
    assert_eq!(rule(&session).as_deref(), Some("participant_left"));
    assert_eq!(text(&turn.added, key::ROOM_ID).as_deref(), Some("RM_1"));
    assert_eq!(text(&turn.added, key::JOB_ID).as_deref(), Some("AJ_1"));
    assert!(turn.body.sent.is_empty());
    assert_whole(&run);
    // Its original comes all the same: a copy.
    assert_eq!(run.spans(job(), 3050), 8);
}

#[test]
fn a_span_that_only_names_a_missing_parent_late_has_it_inferred_too() {
    let mut run = Run::with(Join);
    run.spans(job(), 5);
    run.hang_up(6);
    run.until(60);
    run.spans(vec![span("tts_request", 20, 21, 4)], 61);
    run.until(95);
    assert_eq!(run.by_id().len(), 10);
    run.until(96);
    assert_eq!(&*run.get(21).name, "tts_node");
    assert_eq!(rule(&run.get(21)).as_deref(), Some("job_ended"));
    assert_whole(&run);
}

#[test]
fn the_same_ids_are_inferred_in_a_trace_of_its_own() {
    let mut run = Run::with(Link);
    run.spans(killed(), 5);
    run.hang_up(6);
    run.until(100);
    let (session, turn) = (run.get(2), run.get(7));
    assert_eq!((session.trace_id, session.parent), (TRACE, None));
    assert_eq!(session.added_links, [room_link()]);
    assert_eq!((turn.trace_id, turn.parent), (TRACE, Some(id(2))));
    assert_whole(&run);
}

#[test]
fn a_drain_infers_them_at_once() {
    let mut run = Run::with(Join);
    run.spans(killed(), 5);
    run.logs(vec![log(Some(7))], 5);
    run.close(6);
    assert_eq!(rule(&run.get(2)).as_deref(), Some("shutdown"));
    assert_eq!(run.out.foreign.logs.len(), 1);
    assert_whole(&run);
}

#[test]
fn a_room_that_the_server_never_reported_is_inferred() {
    let mut run = Run::new(session::Settings::default());
    run.spans(killed(), 5);
    run.until(3600);
    assert_eq!(run.by_id().len(), 6);
    // An hour of silence, and the grace.
    run.until(3640);
    let span = run.by_id()[&ids::room(&room())].clone();
    assert_eq!((&*span.name, span.trace_id, span.parent), ("room", ids::trace(&room()), None));
    assert_eq!((span.start, span.end), (at(1), at(4)));
    assert_eq!(rule(&span).as_deref(), Some("silence"));
    assert_eq!(text(&span.added, key::JOB_ID), None);
    assert_whole(&run);
    run.restart(3645);
    // The server reports it all the same: its span is a copy, its participants' are not.
    run.apply(&event(EventKind::RoomCreated, 0, None), 3650);
    run.apply(&event(EventKind::ParticipantActive, 1, Some("PA_ada")), 3650);
    run.hang_up(3660);
    run.until(4000);
    let names: Vec<_> = run.out.spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["participant", "participant"]);
}

#[test]
fn a_room_that_the_server_reports_after_its_job_is_not_inferred() {
    let mut run = Run::new(session::Settings::default());
    run.spans(job(), 5);
    run.apply(&event(EventKind::RoomCreated, 0, None), 20);
    run.apply(&event(EventKind::ParticipantActive, 1, Some("PA_agent")), 20);
    run.until(1000);
    run.hang_up(1000);
    run.until(2000);
    assert_eq!(run.by_id().len(), 9);
    let rooms: Vec<_> = run.out.spans.iter().filter(|span| span.name == "room").collect();
    assert_eq!(rooms.iter().map(|room| room.span_id).collect::<Vec<_>>(), [ids::room(&room())]);
    assert_eq!(run.get(1).parent, Some(rooms[0].span_id));
}

#[test]
fn a_job_goes_on_while_one_of_its_participants_is_there() {
    let mut run = Run::with(Join);
    run.spans(killed(), 5);
    run.apply(&event(EventKind::ParticipantLeft, 6, Some("PA_agent")), 6);
    run.apply(&event(EventKind::ParticipantActive, 7, Some("PA_again")), 7);
    // It has ended by now.
    run.spans(vec![span("tts_node", 22, 21, 8)], 8);
    run.spans(vec![of("PA_again", span("agent_speaking", 20, 21, 8))], 9);
    run.until(20_000);
    assert_eq!(run.by_id().len(), 8);
}

#[test]
fn an_applications_root_does_not_end_a_job() {
    let mut run = Run::with(Join);
    run.spans(killed(), 5);
    run.spans(vec![span("warm up", 30, 0, 5)], 6);
    run.until(3000);
    assert_eq!(run.by_id().len(), 7);
    assert_eq!(run.get(30).parent, Some(ids::room(&room())));
}

#[test]
fn a_missing_span_is_named_by_the_child_that_says_most() {
    // As in npm, where speech may be directly below the session.
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let children = ["on_exit", "tts_node", "user_turn"];
        let mut run = Run::with(Join);
        for nth in order {
            run.spans(vec![span(children[nth], 10 + nth as u64, 2, 1)], 5);
        }
        run.hang_up(6);
        run.until(100);
        assert_eq!(&*run.get(2).name, "agent_session");
    }
}

#[test]
fn a_span_below_the_root_of_another_program_has_an_unknown_parent() {
    let mut run = Run::with(Join);
    let mut spans = job();
    spans[8].parent = Some(id(50));
    run.spans(spans, 5);
    run.hang_up(6);
    run.until(100);
    assert_eq!(&*run.get(50).name, "unknown");
    assert_eq!(run.get(50).parent, Some(ids::room(&room())));
    assert_whole(&run);
}
