//! Turns and the stats windows of their callers.

use super::*;
use crate::session::AgentTraces::{Join, Link, Off};
use livekit_otel_model::event::{Counts, StreamStat, TrackSid};

impl Run {
    fn waiting(traces: AgentTraces) -> Self {
        let mut run = Self::with(traces);
        run.has_analytics = true;
        run
    }

    fn windows(&mut self, windows: Vec<StreamStat>, secs: i64) {
        self.apply(&Decoded::Stats(windows), secs);
    }

    fn has(&self, nth: u64) -> bool {
        self.by_id().contains_key(&id(nth))
    }
}

// Loss, round trip and jitter.
fn network(span: &ForeignSpan) -> [Option<f64>; 3] {
    let get = |key: &str| {
        let mut found = span.added.iter().filter(|it| it.key == key);
        let first = found.next();
        assert!(found.next().is_none(), "{key} twice");
        match first?.value {
            Value::Float(value) => Some(value),
            _ => panic!("{key} is no double"),
        }
    };
    [key::NETWORK_LOSS, key::NETWORK_ROUND_TRIP, key::NETWORK_JITTER].map(get)
}

const NONE: [Option<f64>; 3] = [None; 3];

#[test]
fn a_turn_waits_for_the_window_that_reaches_to_its_end() {
    let mut run = Run::waiting(Join);
    run.spans(job(), 5);
    // All but the turns, which are from 2 to 3 and from 3 to 4.
    assert_eq!(run.by_id().len(), 7);
    run.windows(vec![window("PA_ada", UP, (0, 2), 0, (9, 9))], 5);
    run.windows(vec![window("PA_ada", UP, (2, 30), 28, (20, 5))], 31);
    run.until(32);
    assert!(!run.has(5));
    run.until(33);
    assert_eq!(network(&run.get(5)), [Some(28.0 / 3000.0), Some(0.02), Some(0.009)]);
    assert!(!run.has(7));
    run.windows(vec![window("PA_ada", DOWN, (2, 30), 280, (0, 7))], 34);
    run.until(36);
    assert_eq!(network(&run.get(7)), [Some(0.1), Some(0.02), Some(0.007)]);
    assert_whole(&run);
}

#[test]
fn all_tracks_and_windows_around_a_turn_are_counted_and_no_others() {
    let mut run = Run::waiting(Join);
    let mut turn = of("PA_ada", span("user_turn", 5, 2, 20));
    turn.end = at(40);
    run.spans(vec![turn], 41);
    run.windows(vec![window("PA_ada", UP, (0, 10), 500, (500, 500))], 41);
    run.windows(vec![window("PA_ada", UP, (10, 30), 10, (30, 0))], 41);
    run.windows(vec![window("PA_bob", UP, (10, 50), 999, (900, 900))], 41);
    run.windows(vec![window("PA_ada", DOWN, (10, 50), 999, (70, 900))], 41);
    run.windows(vec![window("PA_ada", UP, (30, 50), 20, (40, 3))], 42);
    // Another track of the same flush.
    run.windows(vec![window("PA_ada", UP, (30, 50), 30, (60, 2))], 43);
    // Its next flush.
    run.windows(vec![window("PA_ada", UP, (51, 60), 500, (500, 500))], 43);
    run.until(44);
    assert_eq!(network(&run.get(5)), [Some(60.0 / 6000.0), Some(0.07), Some(0.003)]);
}

#[test]
fn what_was_not_measured_is_absent() {
    let mut run = Run::waiting(Join);
    run.spans(vec![of("PA_ada", span("user_turn", 5, 2, 20))], 21);
    let mut silent = window("PA_ada", UP, (10, 30), 0, (0, 4));
    silent.counts = Counts::default();
    run.windows(vec![silent], 31);
    run.until(33);
    assert_eq!(network(&run.get(5)), [None, None, Some(0.004)]);
}

#[test]
fn a_turn_without_a_window_waits_35_s() {
    let mut run = Run::waiting(Join);
    run.spans(job(), 5);
    // Neither signalling, nor another's windows, nor those before the turn's end count.
    let mut signalling = window("PA_ada", UP, (0, 30), 0, (1, 1));
    signalling.track = TrackSid::new("TR_SGx").unwrap();
    run.windows(vec![signalling, window("PA_agent", UP, (0, 30), 9, (9, 9))], 10);
    run.windows(vec![window("PA_ada", DOWN, (0, 3), 3, (0, 0))], 11);
    run.until(39);
    assert_eq!(run.by_id().len(), 7);
    run.until(40);
    assert_eq!(network(&run.get(5)), NONE);
    // What is known is added.
    assert_eq!(network(&run.get(7)), [Some(0.01), None, None]);
    assert_eq!(run.by_id().len(), 9);
}

#[test]
fn without_analytics_no_turn_waits() {
    let mut run = Run::with(Join);
    run.spans(job(), 5);
    assert_eq!(run.by_id().len(), 9);
    assert!(run.by_id().values().all(|span| network(span) == NONE));
}

#[test]
fn analytics_that_were_not_heard_of_for_2_minutes_are_not_waited_for() {
    let mut run = Run::with(Join);
    run.windows(vec![window("PA_bob", UP, (0, 1), 0, (0, 0))], 5);
    run.restart(6);
    run.spans(vec![of("PA_ada", span("user_turn", 5, 2, 123))], 124);
    assert!(!run.has(5));
    run.spans(vec![of("PA_ada", span("user_turn", 6, 2, 124))], 125);
    assert!(run.has(6));
}

#[test]
fn a_turn_of_nobody_does_not_wait() {
    let mut run = Run::new(session::Settings::default());
    run.has_analytics = true;
    run.spans(vec![of("PA_agent", span("agent_turn", 7, 2, 3))], 5);
    assert!(run.has(7));
}

#[test]
fn a_turn_whose_window_came_before_it_does_not_wait() {
    let mut run = Run::waiting(Join);
    run.logs(vec![log(None)], 1);
    run.windows(vec![window("PA_ada", UP, (0, 9), 9, (0, 0))], 10);
    run.spans(vec![of("PA_ada", span("user_turn", 5, 2, 2))], 12);
    assert_eq!(network(&run.get(5)), [Some(0.01), None, None]);
    // Another track's window of that flush may still come.
    run.windows(vec![window("PA_ada", UP, (9, 19), 0, (0, 0))], 20);
    run.spans(vec![of("PA_ada", span("user_turn", 6, 2, 10))], 21);
    assert!(!run.has(6));
    run.until(22);
    assert_eq!(network(&run.get(6)), [Some(0.0), None, None]);
}

#[test]
fn a_linked_job_has_them_and_keeps_its_ids() {
    let mut run = Run::waiting(Link);
    run.spans(job(), 5);
    run.windows(vec![window("PA_ada", UP, (2, 30), 28, (20, 5))], 31);
    run.until(33);
    assert_eq!(network(&run.get(5)), [Some(0.01), Some(0.02), Some(0.005)]);
    assert_eq!((run.get(5).trace_id, run.get(5).parent), (TRACE, Some(id(2))));
}

#[test]
fn with_off_nothing_waits_and_nothing_is_added() {
    let mut run = Run::waiting(Off);
    run.logs(vec![log(None)], 1);
    let windows = [UP, DOWN].map(|way| window("PA_ada", way, (0, 9), 9, (1, 1)));
    run.windows(windows.to_vec(), 2);
    let spans = job();
    run.spans(spans.clone(), 5);
    assert_eq!(run.out.foreign.spans, spans);
}

#[test]
fn an_agent_speaks_to_the_one_who_spoke_before_it() {
    let mut run = Run::waiting(Join);
    let turn = |name: &str, nth: u64, secs: i64, who: &str| of(who, span(name, nth, 2, secs));
    run.spans(
        vec![
            // The first one, for the greeting.
            turn("agent_turn", 10, 0, "PA_agent"),
            turn("user_turn", 11, 2, "PA_ada"),
            turn("agent_turn", 12, 3, "PA_agent"),
            turn("user_turn", 13, 4, "PA_bob"),
            turn("agent_turn", 14, 5, "PA_agent"),
        ],
        6,
    );
    run.windows(vec![window("PA_bob", DOWN, (0, 30), 30, (0, 0))], 31);
    run.until(33);
    assert_eq!(network(&run.get(14)), [Some(0.01), None, None]);
    assert!(!run.has(10) && !run.has(12));
    run.windows(vec![window("PA_ada", DOWN, (0, 30), 60, (0, 0))], 34);
    run.until(36);
    assert_eq!([10, 12].map(|nth| network(&run.get(nth))), [[Some(0.02), None, None]; 2]);
}

#[test]
fn an_agent_that_nobody_answered_yet_speaks_to_the_only_other_participant() {
    let mut run = Run::waiting(Join);
    let mut join = |who: &str, kind: &str| {
        let mut event = event(EventKind::ParticipantActive, 1, Some(who));
        if let Decoded::Events(events) = &mut event {
            events[0].participant.as_mut().unwrap().kind = Some(kind.into());
        }
        run.apply(&event, 1);
    };
    join("PA_other", "AGENT");
    join("PA_recorder", "EGRESS");
    run.spans(vec![of("PA_agent", span("agent_turn", 7, 2, 3))], 5);
    assert!(!run.has(7));
    run.windows(vec![window("PA_ada", DOWN, (0, 30), 30, (0, 0))], 31);
    run.until(33);
    assert_eq!(network(&run.get(7)), [Some(0.01), None, None]);
    // One of two.
    run.apply(&event(EventKind::ParticipantActive, 34, Some("PA_bob")), 34);
    run.spans(vec![of("PA_agent", span("agent_turn", 8, 2, 34))], 35);
    assert_eq!(network(&run.get(8)), NONE);
}

#[test]
fn a_drain_releases_turns_at_once() {
    let mut run = Run::waiting(Join);
    run.spans(job(), 5);
    run.windows(vec![window("PA_ada", UP, (0, 3), 3, (0, 0))], 6);
    run.close(6);
    assert_eq!(run.by_id().len(), 9);
    assert_eq!(network(&run.get(5)), [Some(0.01), None, None]);
    assert_whole(&run);
}

#[test]
fn a_turn_that_waits_is_no_missing_parent_and_an_inferred_one_has_its_callers_network() {
    let mut run = Run::waiting(Join);
    // Killed in the second turn of the agent.
    let spans = job().into_iter().filter(|it| !matches!(it.span_id[7], 1 | 2));
    run.spans(spans.chain([span("llm_node", 20, 21, 6)]).collect(), 7);
    run.hang_up(8);
    run.windows(vec![window("PA_ada", DOWN, (0, 8), 80, (0, 0))], 30);
    run.until(100);
    assert_eq!(run.by_id().len(), 10);
    assert_eq!(rule(&run.get(7)), None);
    assert_eq!(rule(&run.get(21)).as_deref(), Some("participant_left"));
    assert_eq!([7, 21].map(|nth| network(&run.get(nth))), [[Some(0.1), None, None]; 2]);
    assert_eq!(network(&run.get(2)), NONE);
    assert_whole(&run);
}

#[test]
fn a_copy_of_a_turn_that_waits_is_a_copy() {
    let mut run = Run::waiting(Join);
    run.spans(job(), 5);
    assert_eq!(run.spans(job(), 6), 9);
    run.until(100);
    assert_eq!(run.by_id().len(), 9);
}

#[test]
fn a_turn_that_waits_survives_a_restart_and_leaves_once() {
    let ends = [None, Some(6), Some(32)].map(|restart| {
        let mut run = Run::waiting(Join);
        run.spans(job(), 5);
        run.windows(vec![window("PA_ada", UP, (0, 3), 3, (0, 0))], 5);
        if restart == Some(6) {
            run.restart(6);
        }
        run.windows(vec![window("PA_ada", DOWN, (0, 30), 30, (2, 1))], 31);
        if restart == Some(32) {
            run.restart(32);
        }
        run.until(32);
        assert_eq!(run.by_id().len(), 8);
        run.until(33);
        assert_eq!(run.by_id().len(), 9);
        run.by_id()
    });
    assert_eq!(network(&ends[0][&id(7)]), [Some(0.01), Some(0.002), Some(0.001)]);
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
}

#[test]
fn a_job_that_is_redacted_while_its_turn_waits_keeps_no_content_of_it() {
    let mut run = Run::waiting(Join);
    let mut turn = of("PA_ada", span("user_turn", 5, 2, 2));
    turn.body = Body { sent: "plain".into(), redacted: Some("none".into()) };
    run.spans(vec![turn], 5);
    let mut log = log(None);
    log.facts.is_redacted = true;
    run.logs(vec![log], 6);
    run.until(40);
    assert_eq!(run.get(5).body.sent, "none");
}

#[test]
fn turns_beyond_64_mib_do_not_wait() {
    let mut run = Run::waiting(Join);
    let sent = Bytes::from(vec![0; 8 << 20]);
    for nth in 0..9 {
        let mut turn = of("PA_ada", span("user_turn", 10 + nth, 2, 2));
        turn.body.sent = sent.clone();
        turn.facts.job = Some(format!("AJ_{}", nth % 3).into());
        run.spans(vec![turn], 5);
        let left = if nth < 7 { 0 } else { 3 };
        assert_eq!(run.by_id().len(), left, "{nth}");
    }
    run.until(100);
    assert_eq!(run.by_id().len(), 9);
}

#[test]
fn windows_of_rooms_without_a_job_are_not_kept() {
    let mut run = Run::waiting(Join);
    let windows = || vec![window("PA_ada", UP, (0, 9), 9, (1, 1))];
    run.windows(windows(), 10);
    assert_eq!(run.engine.agents.windows.parts().count(), 0);
    let mut elsewhere = log(None);
    elsewhere.facts.room = RoomSid::new("RM_2");
    run.logs(vec![elsewhere], 11);
    run.windows(vec![window("PA_ada", UP, (9, 19), 9, (1, 1))], 20);
    assert_eq!(run.engine.agents.windows.parts().count(), 0);
    run.logs(vec![log(None)], 21);
    run.windows(vec![window("PA_ada", UP, (19, 29), 9, (1, 1))], 30);
    assert_eq!(run.engine.agents.windows.parts().count(), 1);
}

#[test]
fn the_links_of_turns_that_wait_are_bounded() {
    let mut run = Run::waiting(Join);
    for nth in 10..110 {
        let mut turn = of("PA_ada", span("user_turn", nth, 2, 2));
        turn.links = vec![link(([9; 16], id(1))); 10_000];
        run.spans(vec![turn], 5);
    }
    // Each has about 900 KB: 64 MiB wait at most.
    assert!((10..109).any(|nth| run.has(nth)));
}

#[test]
fn a_job_has_at_most_1000_turns_that_wait() {
    let mut run = Run::waiting(Join);
    run.spans((10..1010).map(|nth| of("PA_ada", span("user_turn", nth, 2, 2))).collect(), 5);
    assert!(!run.has(10));
    run.spans(vec![of("PA_ada", span("user_turn", 2000, 2, 2))], 6);
    assert!(run.has(10) && run.has(2000));
}
