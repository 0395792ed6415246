//! The order of uploads has no effect, nor have copies and restarts.

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

proptest! {
    #[test]
    fn any_order_with_any_copies_gives_the_same_spans(
        order in proptest::collection::vec(0usize..100, 0..60),
        restart in 0usize..60,
        is_known: bool,
    ) {
        prop_assert_eq!(released(&order, restart, is_known), released(&[], 1, is_known));
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
