//! The order of uploads and stats windows has no effect, nor have copies and restarts.

use super::*;
use proptest::prelude::*;

// Two jobs: one killed, one whole.
fn uploads() -> Vec<ForeignSpan> {
    let mut spans: Vec<_> = job().into_iter().filter(|it| it.span_id[7] > 2).collect();
    for mut span in job() {
        span.facts.job = Some("AJ_2".into());
        span.trace_id = [8; 16];
        span.span_id[0] = 1;
        span.parent = span.parent.map(|mut id| {
            id[0] = 1;
            id
        });
        spans.push(span);
    }
    spans
}

fn released(order: &[usize], restart: usize, is_known: bool) -> BTreeMap<SpanId, ForeignSpan> {
    let spans = uploads();
    let mut run = if is_known {
        Run::call(session::Settings::default())
    } else {
        Run::new(session::Settings::default())
    };
    for (nth, index) in order.iter().enumerate() {
        if nth == restart {
            run.restart(5);
        }
        run.spans(vec![spans[index % spans.len()].clone()], 5);
    }
    run.spans(spans, 6);
    if is_known {
        run.hang_up(7);
    }
    run.until(10_000);
    assert_whole(&run);
    run.by_id()
}

// Spans and windows in this order, within the seconds in which a turn waits at least; the rest after it.
fn with_windows(order: &[usize], restart: usize) -> BTreeMap<SpanId, ForeignSpan> {
    let spans = uploads();
    let mut inputs: Vec<_> =
        spans.iter().map(|it| Upload::Spans(vec![it.clone()])).map(Decoded::Upload).collect();
    for (nth, who) in ["PA_ada", "PA_agent"].into_iter().enumerate() {
        for way in [UP, DOWN] {
            for second in 1..5 {
                let lost = 1 + u64::try_from(second).unwrap() * 3;
                let measured = (10 * lost + nth as u64, lost);
                inputs.push(Decoded::Stats(vec![window(
                    who,
                    way,
                    (second, second + 1),
                    lost,
                    measured,
                )]));
            }
        }
    }
    let mut run = Run::call(session::Settings::default());
    run.has_analytics = true;
    // So that the jobs are known.
    for job in ["AJ_1", "AJ_2"] {
        let mut first = log(None);
        first.facts.job = Some(job.into());
        run.logs(vec![first], 1);
    }
    let rest: Vec<_> = (0..inputs.len()).collect();
    for (nth, index) in order.iter().chain(&rest).enumerate() {
        if nth == restart {
            run.restart(5);
        }
        run.apply(&inputs[index % inputs.len()], 5);
    }
    run.hang_up(7);
    run.until(10_000);
    assert_whole(&run);
    run.by_id()
}

proptest! {
    #[test]
    fn any_order_with_any_copies_gives_the_same_spans(
        order in proptest::collection::vec(0usize..100, 0..60),
        restart in 0usize..60,
        is_known: bool,
    ) {
        prop_assert_eq!(released(&order, restart, is_known), released(&[], 1, is_known));
    }

    #[test]
    fn each_turn_leaves_once_with_its_network_in_any_order(
        order in proptest::collection::vec(0usize..100, 0..60),
        restart in 0usize..100,
    ) {
        prop_assert_eq!(with_windows(&order, restart), with_windows(&[], 1));
    }
}

#[test]
fn an_inferred_span_does_not_depend_on_the_order_of_its_children() {
    let order: Vec<_> = (0..16).rev().collect();
    let spans = released(&order, 8, true);
    assert_eq!(spans, released(&[], 1, true));
    // The session of the killed job.
    assert_eq!(spans.values().filter(|span| rule(span).is_some()).count(), 1);
}

#[test]
fn all_turns_have_their_network() {
    let spans = with_windows(&[], 1);
    let turns = spans.values().filter(|span| span.name.ends_with("_turn"));
    assert!(turns.clone().all(|span| text(&span.added, key::NETWORK_LOSS).is_some()));
    assert_eq!(turns.count(), 4);
}
