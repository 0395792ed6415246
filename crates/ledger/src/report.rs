//! The ledger as a table: what came in, what went out, and whether that is all.

use std::io::{self, Write};

use crate::Input;
use crate::Lost;
use crate::Output;
use crate::Snapshot;

const COLUMNS: usize = 5;

/// Writes the ledger as two tables of up to `width` columns (at least 60 are taken), the reasons
/// of what was refused or lost, and last whether every record is accounted for.
///
/// # Errors
/// Those of `out`.
pub fn render_ledger(ledger: &Snapshot, out: &mut impl Write, width: usize) -> io::Result<()> {
    let cell = (width.max(60) - 12) / COLUMNS;
    let heads = ["accepted", "duplicates", "merged", "set aside", "refused"];
    row(out, cell, "in", heads)?;
    for input in &ledger.inputs {
        row(out, cell, input.source.as_str(), input_cells(input).each_ref().map(String::as_str))?;
    }
    writeln!(out)?;
    row(out, cell, "out", ["accepted", "delivered", "waiting", "set aside", "lost"])?;
    for output in &ledger.outputs {
        row(
            out,
            cell,
            output.signal.as_str(),
            output_cells(output).each_ref().map(String::as_str),
        )?;
    }
    writeln!(out)?;
    for reason in reasons(ledger) {
        writeln!(out, "  {reason}")?;
    }
    writeln!(out, "  {}", verdict(ledger))
}

// Last, as it is what is read first.
fn verdict(ledger: &Snapshot) -> String {
    if ledger.check().is_err() {
        return "NOT every record is accounted for: the counts above are wrong.".to_owned();
    }
    match lost_for_good(ledger) {
        0 => "Every record is accounted for.".to_owned(),
        n => format!("Every record is accounted for; {} ARE LOST.", grouped(n)),
    }
}

// What was not to be sent, and what a later point says, is nobody's loss.
fn lost_for_good(ledger: &Snapshot) -> u64 {
    let records = ledger.outputs.iter().flat_map(|output| &output.lost);
    let records = records.filter(|(why, _)| !matches!(why, Lost::Superseded | Lost::Disabled));
    let items = ledger.inputs.iter().map(|input| input.lost);
    items.chain(records.map(|(_, n)| *n)).sum()
}

fn row(out: &mut impl Write, cell: usize, name: &str, cells: [&str; COLUMNS]) -> io::Result<()> {
    write!(out, "  {name:<10}")?;
    for text in cells {
        write!(out, "{text:>cell$}")?;
    }
    writeln!(out)
}

fn input_cells(input: &Input) -> [String; COLUMNS] {
    let refused = input.refused.iter().map(|(_, n)| n).sum();
    [input.accepted, input.duplicates, input.merged, input.dead_letters, refused].map(grouped)
}

fn output_cells(output: &Output) -> [String; COLUMNS] {
    let lost = output.lost_sum();
    [output.accepted, output.delivered, output.waiting(), output.dead_letters, lost].map(grouped)
}

/// A line for each reason that something was refused or lost for, and one for what was unknown.
pub fn reasons(ledger: &Snapshot) -> Vec<String> {
    let refused = ledger.inputs.iter().flat_map(|input| {
        let name = input.source.as_str();
        input.refused.iter().map(move |(why, n)| (name, *n, "refused", why.as_str()))
    });
    let lost = ledger.outputs.iter().flat_map(|output| {
        let name = output.signal.as_str();
        output.lost.iter().map(move |(why, n)| (name, *n, "lost", why.as_str()))
    });
    let mut lines: Vec<String> = refused
        .chain(lost)
        .filter(|(_, n, ..)| *n > 0)
        .map(|(name, n, what, why)| format!("{name}: {} {what} ({why})", grouped(n)))
        .collect();
    lines.extend(ledger.inputs.iter().filter(|input| input.unusable > 0).map(|input| {
        let (name, n) = (input.source.as_str(), grouped(input.unusable));
        format!("{name}: {n} of no use (they did not say whose they are)")
    }));
    lines.extend(ledger.inputs.iter().filter(|input| input.lost > 0).map(|input| {
        let why = Lost::Shutdown.as_str();
        format!("{}: {} lost ({why})", input.source.as_str(), grouped(input.lost))
    }));
    let place = if ledger.is_durable { "on disk" } else { "in memory" };
    let inputs = ledger.inputs.iter().map(|input| (input.source.as_str(), input.waiting()));
    let outputs = ledger.outputs.iter().map(|output| (output.signal.as_str(), output.waiting()));
    let waiting = inputs.chain(outputs).filter(|(_, n)| *n > 0);
    lines.extend(waiting.map(|(name, n)| format!("{name}: {} wait {place}", grouped(n))));
    lines.extend(ledger.imbalances().map(|imbalance| imbalance.to_string()));
    for (what, n) in [
        ("entries of the journal were damaged", ledger.journal_damaged),
        ("parts of the snapshot were damaged or missing", ledger.snapshot_damaged),
        ("times the journal could not be written", ledger.journal_failures),
    ] {
        lines.extend((n > 0).then(|| format!("{} {what}", grouped(n))));
    }
    if ledger.forgotten_ids + ledger.forgotten_ended > 0 {
        lines.push(format!(
            "forgotten early: ids {}, ended rooms and participants {}",
            grouped(ledger.forgotten_ids),
            grouped(ledger.forgotten_ended)
        ));
    }
    let unknown = [
        ("event types", ledger.unknown.event_types),
        ("enum values", ledger.unknown.enum_values),
        ("fields", ledger.unknown.fields),
    ];
    let unknown = unknown.iter().filter(|(_, n)| *n > 0);
    let unknown: Vec<_> = unknown.map(|(what, n)| format!("{what} {}", grouped(*n))).collect();
    if !unknown.is_empty() {
        lines.push(format!("unknown to this version: {}", unknown.join(", ")));
    }
    lines
}

/// A count with a comma between thousands: `1,204`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::Lost;
    use crate::Refused;
    use livekit_otel_model::Signal;
    use livekit_otel_model::Source;
    use livekit_otel_model::event::Unknown;

    fn rendered(ledger: &Ledger) -> String {
        let mut out = Vec::new();
        render_ledger(&ledger.snapshot(), &mut out, 80).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_all_settled_is_accounted_for() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Events, 1204);
        ledger.processed(Source::Events, 1200);
        ledger.input_dead_lettered(Source::Events, 4);
        ledger.queued(Signal::Logs, 9);
        ledger.delivered(Signal::Logs, 6);
        ledger.output_dead_lettered(Signal::Logs, 1);
        ledger.lost(Signal::Logs, Lost::Rejected, 2);

        let text = rendered(&ledger);

        assert!(text.contains("1,204"), "{text}");
        assert!(text.contains("logs: 2 lost (rejected)"), "{text}");
        assert!(text.ends_with("  Every record is accounted for; 2 ARE LOST.\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_waits_or_was_counted_twice_is_said() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Webhook, 3);
        ledger.queued(Signal::Traces, 5);
        ledger.delivered(Signal::Traces, 7);

        let text = rendered(&ledger);

        assert!(text.contains("NOT every record is accounted for:"), "{text}");
        assert!(text.contains("webhook: 3 wait in memory"), "{text}");
        assert!(text.contains("traces: 2 more delivered, set aside or lost"), "{text}");
        assert!(!text.contains("Every record"), "{text}");
    }

    #[test]
    fn only_what_is_gone_without_a_successor_is_said_to_be_lost() {
        let ledger = Ledger::default();
        ledger.queued(Signal::Metrics, 9);
        ledger.lost(Signal::Metrics, Lost::Superseded, 5);
        ledger.lost(Signal::Metrics, Lost::Disabled, 4);
        assert!(rendered(&ledger).ends_with("  Every record is accounted for.\n"));
        ledger.accepted(Source::Api, 2);
        let mut out = Vec::new();
        render_ledger(&ledger.snapshot().ended(), &mut out, 80).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("api: 2 lost (shutdown)"), "{text}");
        assert!(text.ends_with("  Every record is accounted for; 2 ARE LOST.\n"), "{text}");
    }

    #[test]
    fn refusals_and_the_unknown_are_told_with_their_reason() {
        let ledger = Ledger::default();
        ledger.refused(Source::Webhook, Refused::Unauthorized);
        ledger.refused(Source::Webhook, Refused::Busy);
        ledger.unknown(Unknown { event_types: 2, enum_values: 0, fields: 1 });
        let text = rendered(&ledger);
        assert!(text.contains("webhook: 1 refused (unauthorized)"), "{text}");
        assert!(text.contains("webhook: 1 refused (busy)"), "{text}");
        assert!(text.contains("unknown to this version: event types 2, fields 1"), "{text}");
    }

    #[test]
    fn thousands_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (n, text) in cases {
            assert_eq!(grouped(n), text);
        }
    }
}
