//! The ledger: records accepted, delivered, waiting and lost.

use maud::{Markup, html};

use super::context::Context;
use super::layout::{Here, page};
use super::table::{self, Head};
use livekit_otel_ledger::report::{grouped, reasons};

pub(in crate::ui) fn delivery(context: &Context) -> String {
    let ledger = &context.ledger;
    let inputs = ledger.inputs.iter().filter(|input| input.is_shown()).map(|input| {
        let refused = input.refused.iter().map(|(_, n)| n).sum();
        let counts = [
            input.accepted,
            input.processed,
            input.waiting(),
            input.dead_letters,
            input.duplicates,
            input.merged,
            refused,
        ];
        (input.source.as_str(), counts)
    });
    let outputs = ledger.outputs.iter().map(|output| {
        let lost = output.lost_sum();
        let counts =
            [output.accepted, output.delivered, output.waiting(), output.dead_letters, lost];
        (output.signal.as_str(), counts)
    });
    let reasons = reasons(ledger);
    let main = html! {
        h1 { "Delivery" }
        p {
            "Every record is in one column. In: accepted = processed + waiting + dead letters. "
            "Out: accepted = delivered + waiting + dead letters + lost."
        }
        (table("In", "in", &IN, inputs))
        (table("Out", "out", &OUT, outputs))
        section aria-labelledby="reasons" {
            h2 #reasons { "Lost, refused, unknown" }
            @if reasons.is_empty() {
                p.good { "✓ Nothing was lost, refused or unknown." }
            } @else {
                ul { @for reason in &reasons { li { (reason) } } }
            }
        }
    };
    page("Delivery", Here::Delivery, context, &main)
}

const IN: [Head; 8] = [
    Head::Text("Source"),
    Head::Number("Accepted"),
    Head::Number("Processed"),
    Head::Number("Waiting"),
    Head::Number("Dead letters"),
    Head::Number("Duplicates"),
    Head::Number("Merged"),
    Head::Number("Refused"),
];
const OUT: [Head; 6] = [
    Head::Text("Signal"),
    Head::Number("Accepted"),
    Head::Number("Delivered"),
    Head::Number("Waiting"),
    Head::Number("Dead letters"),
    Head::Number("Lost"),
];

fn table<'a, const N: usize>(
    title: &str,
    id: &str,
    heads: &[Head],
    rows: impl Iterator<Item = (&'a str, [u64; N])>,
) -> Markup {
    let rows = html! {
        @for (name, counts) in rows {
            tr {
                th scope="row" { (name) }
                @for count in counts { td.n { (grouped(count)) } }
            }
        }
    };
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (table::table(title, title, heads, &rows))
        }
    }
}
