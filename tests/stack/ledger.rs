//! Whether the ledger adds up, and is right.

use std::collections::BTreeSet;
use std::time::Duration;

use livekit_otel_ledger::Lost;
use livekit_otel_ledger::status::Status;
use livekit_otel_model::Signal;

use crate::otlp::Span;
use crate::report::Report;
use crate::stack::{Stack, within};

/// Once nothing waits any more, all that was accepted was delivered, and each span is in Jaeger, once.
pub(crate) async fn check(stack: &Stack, report: &Report) {
    let settled = within(Duration::from_mins(2), || settled(stack)).await;
    let (status, spans) = settled.unwrap_or_else(|| (stack.status(), stack.all_spans()));
    report.found("the ledger adds up, and nothing waits or was lost", &problems(&status));
    let (delivered, has) = (spans_of(&status), spans.len() as u64);
    let ids: BTreeSet<_> = spans.iter().map(|span| (&span.trace, &span.id)).collect();
    let is_equal = delivered == has && ids.len() == spans.len();
    let counts = format!("{delivered} were delivered, Jaeger has {has} with {} ids", ids.len());
    let what = format!("each of {delivered} spans that were delivered is in Jaeger, once");
    report.found(&what, if is_equal { &[] } else { std::slice::from_ref(&counts) });
}

fn spans_of(status: &Status) -> u64 {
    status.ledger.outputs[Signal::Traces as usize].delivered
}

// What Jaeger has is looked at in between: the ledger must not move meanwhile.
fn settled(stack: &Stack) -> Option<(Status, Vec<Span>)> {
    let before = spans_of(&stack.status());
    let spans = stack.all_spans();
    let status = stack.status();
    let waits = status.waiting.values().sum::<u64>()
        + status.ledger.inputs.iter().map(|input| input.waiting()).sum::<u64>();
    let is_there = before == spans_of(&status) && spans.len() as u64 >= before;
    (waits == 0 && is_there).then_some((status, spans))
}

fn problems(status: &Status) -> Vec<String> {
    let ledger = &status.ledger;
    let mut problems: Vec<_> = ledger.imbalances().map(|imbalance| imbalance.to_string()).collect();
    for output in &status.ledger.outputs {
        // A later point supersedes one that waited.
        let superseded = output.lost.iter().find(|(why, _)| *why == Lost::Superseded);
        let superseded = superseded.map_or(0, |(_, n)| *n);
        let is_right = output.accepted == output.delivered + superseded
            && (output.signal == Signal::Metrics || superseded == 0)
            && output.delivered > 0;
        if !is_right {
            problems.push(format!("{output:?}"));
        }
    }
    for input in &status.ledger.inputs {
        if input.accepted != input.processed {
            problems.push(format!("{input:?}"));
        }
    }
    let journal = [status.ledger.journal_damaged, status.ledger.journal_failures];
    if journal != [0, 0] || status.dead_letters != 0 {
        problems.push(format!("journal: {journal:?}, set aside: {}", status.dead_letters));
    }
    problems
}
