//! What does not work now, above every page: the health that `/readyz` and `/status` report too.

use std::time::Duration;

use maud::{Markup, html};

use super::context::Context;
use super::outside::{name, sentence};
use super::time::utc;
use livekit_otel_ledger::Refused;
use livekit_otel_ledger::health::{
    Delivering, Failing, NotReady, Paused, RefusedRecords, RefusedRequests, Warning,
};
use livekit_otel_ledger::report::grouped;
use livekit_otel_model::event::Time;
use livekit_otel_model::{Signal, Source};
use livekit_otel_tools::labels::count;

#[cfg(test)]
mod tests;

// How long a refusal is shown after the last one.
const RECENT: Duration = Duration::from_mins(10);
// A refusal that asks to retry is over with its cause, as senders retry within seconds.
const RECENT_BUSY: Duration = Duration::from_secs(30);
// The most lines.
const MOST: usize = 8;

/// What does not work; nothing if all works.
pub(super) fn banner(context: &Context) -> Markup {
    let all: Vec<Markup> = paused(context)
        .into_iter()
        .chain(undelivered(context))
        .chain(imbalances(context))
        .chain(refused_records(context))
        .chain(warnings(context))
        .chain(refused_requests(context))
        .collect();
    let more = all.len().saturating_sub(MOST);
    html! {
        @if !all.is_empty() {
            section.banner aria-label="What does not work" {
                ul {
                    @for line in all.iter().take(MOST) { li { (line) } }
                    @if more > 0 { li { "… and " (count(more, "more problem")) "." } }
                }
            }
        }
    }
}

fn paused(context: &Context) -> Option<Markup> {
    let Paused { reason, since, text } = context.health.intake.as_ref()?;
    Some(html! {
        @if *reason == NotReady::Draining {
            strong { "◐ The server stops, and accepts nothing more" } " since " (utc(*since)) "."
        } @else {
            strong.bad { "✗ Nothing is accepted" } " since " (utc(*since)) ": "
            code { (reason.as_str()) } ", " (sentence(text))
        }
    })
}

// Signals that fail alike are one line.
fn undelivered(context: &Context) -> Vec<Markup> {
    let mut lines: Vec<(Vec<Signal>, Time, &Delivering, &Failing)> = Vec::new();
    for delivering in &context.health.delivery {
        let Some(failing) = &delivering.failing else { continue };
        let is_alike = |(_, _, of, why): &&mut (_, _, &Delivering, &Failing)| {
            (&of.target, &of.protocol) == (&delivering.target, &delivering.protocol)
                && (&why.cause, &why.hint) == (&failing.cause, &failing.hint)
        };
        match lines.iter_mut().find(is_alike) {
            Some((signals, since, ..)) => {
                signals.push(delivering.signal);
                *since = failing.since.min(*since);
            }
            None => lines.push((vec![delivering.signal], failing.since, delivering, failing)),
        }
    }
    let line = |(signals, since, to, why): &(Vec<Signal>, Time, &Delivering, &Failing)| {
        html! {
            strong.bad { "✗ " (listed(signals)) " are not delivered" }
            " to " code { (name(&to.target)) } " (" (name(&to.protocol)) ") since " (utc(*since)) ": "
            (sentence(&why.cause))
            @if let Some(hint) = &why.hint { span.hint { (sentence(hint)) } }
            span.hint { (waiting(signals, context)) " Details: " a href="/ui/delivery" { "Delivery" } "." }
        }
    };
    lines.iter().map(line).collect()
}

// "Traces, logs and metrics".
fn listed(signals: &[Signal]) -> String {
    let names: Vec<&str> = signals.iter().map(|signal| signal.as_str()).collect();
    let text = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    let (first, rest) = text.split_at(text.len().min(1));
    first.to_uppercase() + rest
}

fn waiting(signals: &[Signal], context: &Context) -> String {
    let outputs = context.ledger.outputs.iter().filter(|output| signals.contains(&output.signal));
    let waiting: u64 = outputs.map(livekit_otel_ledger::Output::waiting).sum();
    let place = if context.ledger.is_durable { "on disk" } else { "in memory" };
    let what = if waiting == 1 { "record waits" } else { "records wait" };
    format!("{} {what} {place}.", grouped(waiting))
}

fn imbalances(context: &Context) -> Vec<Markup> {
    let line = |text: String| {
        html! {
            strong.bad { "✗ The ledger does not add up" } ": " (text)
            ". This is a fault of this program: its counts can't be trusted."
        }
    };
    context.ledger.imbalances().map(|it| line(it.to_string())).collect()
}

fn is_recent(at: Time, context: &Context, within: Duration) -> bool {
    context.now.since(at) <= within
}

fn refused_records(context: &Context) -> Vec<Markup> {
    let line = |to: &Delivering| {
        let RefusedRecords { at, records, lost, cause } = to.refused.as_ref()?;
        is_recent(*at, context, RECENT).then(|| {
            html! {
                strong.bad { "✗ The collector refused records for good" }
                ", " (grouped(*records)) " of " (to.signal.as_str()) " since the start, the last at "
                (utc(*at)) ", at " code { (name(&to.target)) } ": " (sentence(cause))
                @if *lost > 0 { " " (grouped(*lost)) " of them are lost: dead letters are full." }
            }
        })
    };
    context.health.delivery.iter().filter_map(line).collect()
}

fn warnings(context: &Context) -> Vec<Markup> {
    let line = |to: &Delivering| {
        let Warning { at, words } = to.warning.as_ref()?;
        is_recent(*at, context, RECENT).then(|| {
            html! {
                strong { "⚠ The collector accepts " (to.signal.as_str()) " with a warning" }
                ", the last at " (utc(*at)) ", at " code { (name(&to.target)) } ": " (sentence(words))
            }
        })
    };
    context.health.delivery.iter().filter_map(line).collect()
}

// What anybody sends to a public port, and LiveKit seldom: no token, no JWT, another path.
fn is_by_strangers(it: &RefusedRequests) -> bool {
    const REASONS: [Refused; 3] = [Refused::WrongPath, Refused::NoToken, Refused::Unauthorized];
    it.source != Source::Api && REASONS.iter().any(|reason| it.reason == reason.as_str())
}

// The newest first, and those of strangers last.
fn refused_requests(context: &Context) -> Vec<Markup> {
    let is_shown = |it: &&RefusedRequests| {
        let is_busy = it.reason == Refused::Busy.as_str();
        let within = if is_busy { RECENT_BUSY } else { RECENT };
        is_recent(it.last, context, within) && !(is_busy && context.health.intake.is_some())
    };
    let mut all: Vec<_> = context.health.refusals.iter().filter(is_shown).collect();
    all.sort_by_key(|it| (is_by_strangers(it), std::cmp::Reverse(it.last)));
    all.into_iter().map(|it| refused(it, context)).collect()
}

fn refused(it: &RefusedRequests, context: &Context) -> Markup {
    let rows = context.ledger.inputs.iter().filter(|input| input.source == it.source);
    let of_reason =
        rows.flat_map(|input| &input.refused).filter(|(why, _)| why.as_str() == it.reason);
    let times: u64 = of_reason.map(|(_, n)| n).sum();
    html! {
        @if it.source == Source::Api { strong.bad { "✗ Requests to LiveKit's API fail" } }
        @else if is_by_strangers(it) { strong { "⚠ Requests are refused, of strangers or of LiveKit" } }
        @else { strong.bad { "✗ Requests are refused" } }
        ", " (it.source.as_str()) ": " code { (name(&it.reason)) } ", "
        (grouped(times)) " since the start, the last at " (utc(it.last)) ": "
        (sentence(&it.text))
    }
}
