//! The ledger as a table, and whether every record is accounted for.

use std::io::{self, Write};

use crate::reason::{Lost, RecordingOutcome};
use crate::snapshot::{Input, Output, Snapshot};

pub use crate::grouped::grouped;

const COLUMNS: usize = 5;
// The name of a row, and the longest caption with a space before it.
const MIN_WIDTH: usize = NAME + 13 * COLUMNS;
const NAME: usize = 12;

/// Writes two tables of up to `width` columns (at least 77), the reasons why records were refused or
/// lost, and whether every record is accounted for.
///
/// # Errors
/// Those of `out`.
pub fn render_ledger(ledger: &Snapshot, out: &mut impl Write, width: usize) -> io::Result<()> {
    let cell = (width.max(MIN_WIDTH) - NAME) / COLUMNS;
    let heads = ["accepted", "duplicates", "merged", "dead letters", "refused"];
    row(out, cell, "in", heads)?;
    for input in ledger.inputs.iter().filter(|input| input.is_shown()) {
        row(out, cell, input.source.as_str(), input_cells(input).each_ref().map(String::as_str))?;
    }
    writeln!(out)?;
    row(out, cell, "out", ["accepted", "delivered", "waiting", "dead letters", "lost"])?;
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

// In the last line, which is read first.
fn verdict(ledger: &Snapshot) -> String {
    if ledger.check().is_err() {
        return "NOT every record is accounted for: the counts above are wrong.".to_owned();
    }
    match lost_for_good(ledger) {
        0 => "Every record is accounted for.".to_owned(),
        n => format!("Every record is accounted for; {} ARE LOST.", grouped(n)),
    }
}

// A superseded point has a successor, and what is disabled was not meant to be sent.
fn lost_for_good(ledger: &Snapshot) -> u64 {
    let records = ledger.outputs.iter().flat_map(|output| &output.lost);
    let records = records.filter(|(why, _)| !matches!(why, Lost::Superseded | Lost::Disabled));
    let items = ledger.inputs.iter().map(|input| input.lost);
    items.chain(records.map(|(_, n)| *n)).sum()
}

fn row(out: &mut impl Write, cell: usize, name: &str, cells: [&str; COLUMNS]) -> io::Result<()> {
    // A longer name takes the space of the first cell.
    let taken = name.len().saturating_sub(NAME - 2);
    write!(out, "  {name:<10}")?;
    for (nth, text) in cells.into_iter().enumerate() {
        let width = if nth == 0 { cell.saturating_sub(taken).max(2) } else { cell };
        write!(out, "{text:>width$}")?;
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

/// Lines that name each reason for refused and lost records, and other anomalies.
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
        let why = if input.source.is_upload() {
            "without an id or a time, or of an unsupported type"
        } else {
            "without a room, participant or track"
        };
        format!("{name}: {n} unusable ({why})")
    }));
    lines.extend(ledger.inputs.iter().filter(|input| input.lost > 0).map(|input| {
        let why = Lost::Shutdown.as_str();
        format!("{}: {} lost ({why})", input.source.as_str(), grouped(input.lost))
    }));
    let place = if ledger.is_durable { "on disk" } else { "in memory" };
    let inputs = ledger.inputs.iter().map(|input| (input.source.as_str(), input.waiting()));
    let outputs = ledger.outputs.iter().map(|output| (output.signal.as_str(), output.waiting()));
    let waiting = inputs.chain(outputs).filter(|(_, n)| *n > 0);
    lines.extend(waiting.map(|(name, n)| format!("{name}: {} waiting {place}", grouped(n))));
    lines.extend(ledger.imbalances().map(|imbalance| imbalance.to_string()));
    for (what, n) in [
        ("entries of the journal were damaged", ledger.journal_damaged),
        ("parts of the snapshot were damaged or missing", ledger.snapshot_damaged),
        ("times the journal could not be written", ledger.journal_failures),
    ] {
        lines.extend((n > 0).then(|| format!("{} {what}", grouped(n))));
    }
    let (_, refused) = ledger.recordings[RecordingOutcome::Refused as usize];
    lines.extend((refused > 0).then(|| {
        format!("recordings: {} bytes refused (agents.recordings.max_bytes)", grouped(refused))
    }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Ledger;
    use crate::reason::Refused;
    use livekit_otel_model::event::Unknown;
    use livekit_otel_model::{Signal, Source};

    fn rendered(ledger: &Ledger) -> String {
        let mut out = Vec::new();
        render_ledger(&ledger.snapshot(), &mut out, 80).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn settled_records_are_accounted_for() {
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
    fn waiting_records_and_imbalances_are_listed() {
        let ledger = Ledger::default();
        ledger.accepted(Source::Webhook, 3);
        ledger.queued(Signal::Traces, 5);
        ledger.delivered(Signal::Traces, 7);

        let text = rendered(&ledger);

        assert!(text.contains("NOT every record is accounted for:"), "{text}");
        assert!(text.contains("webhook: 3 waiting in memory"), "{text}");
        assert!(
            text.contains("traces: delivered, dead letters and lost exceed accepted by 2"),
            "{text}"
        );
        assert!(!text.contains("Every record"), "{text}");
    }

    #[test]
    fn superseded_and_disabled_records_are_not_called_lost() {
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
    fn uploads_have_a_row_once_something_was_counted() {
        let ledger = Ledger::default();
        assert!(!rendered(&ledger).contains("agent_"), "{}", rendered(&ledger));
        ledger.accepted(Source::AgentRecordings, 1234);
        ledger.refused(Source::OtlpLogs, Refused::Unauthorized);
        ledger.unusable(Source::AgentTraces, 2);
        ledger.recorded(RecordingOutcome::Discarded, 1);
        ledger.recorded(RecordingOutcome::Refused, 4321);
        let text = rendered(&ledger);
        let rows: Vec<_> = text.lines().take(10).collect();
        let ends = |row: &str, column: &str| row.find(column).map(|at| at + column.len());
        let row = rows.iter().find(|row| row.contains("agent_recordings")).unwrap();
        assert_eq!(ends(row, "1,234"), ends(rows[0], "accepted"), "{text}");
        let named = |name: &str| rows.iter().any(|row| row.contains(name));
        assert!(named("otlp_logs") && named("agent_traces") && !named("agent_logs"), "{text}");
        assert!(text.contains("agent_traces: 2 unusable (without an id or"), "{text}");
        assert!(text.contains("recordings: 4,321 bytes refused"), "{text}");
    }

    #[test]
    fn refusals_and_unknown_contents_are_listed_by_reason() {
        let ledger = Ledger::default();
        ledger.refused(Source::Webhook, Refused::Unauthorized);
        ledger.refused(Source::Webhook, Refused::Busy);
        ledger.unknown(Unknown { event_types: 2, enum_values: 0, fields: 1 });
        let text = rendered(&ledger);
        assert!(text.contains("webhook: 1 refused (unauthorized)"), "{text}");
        assert!(text.contains("webhook: 1 refused (busy)"), "{text}");
        assert!(text.contains("unknown to this version: event types 2, fields 1"), "{text}");
    }
}
