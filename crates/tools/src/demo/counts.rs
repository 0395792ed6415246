//! The numbers of received records, by signal and name.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::received::{LogRecord, Telemetry};
use super::text::{Ink, Page, count, left, right};
use livekit_otel_ledger::report::grouped;

/// The columns of each half, without the gap between them.
const HALF: usize = 38;
/// The most names of a signal that are shown.
const MOST_NAMES: usize = 30;

/// A cell of a half: a heading, a name with its count, or nothing.
enum Cell {
    Head(String),
    Name(String),
    Nothing,
}

/// Writes spans and metric points by name on the left, log records by event (or else by logger) on
/// the right.
pub(super) fn render<W: Write>(received: &Telemetry, page: &mut Page<'_, W>) -> io::Result<()> {
    page.title("Received", "  over OTLP, decoded")?;
    let mut first = half("span", received.spans.iter().map(|span| span.name.as_str()));
    first.push(Cell::Nothing);
    first.extend(half("metric point", received.points.iter().map(|point| family(&point.name))));
    let second = half("log record", received.logs.iter().map(name));
    for n in 0..first.len().max(second.len()) {
        let (left_ink, left_text) = draw(first.get(n));
        let (right_ink, right_text) = draw(second.get(n));
        page.line(&[
            (Ink::Plain, "  "),
            (left_ink, &left_text),
            (Ink::Plain, "  "),
            (right_ink, &right_text),
        ])?;
    }
    Ok(())
}

fn name(log: &LogRecord) -> &str {
    if log.event_name.is_empty() { &log.scope } else { &log.event_name }
}

// The first two parts of a metric's name. A list of all names would not fit on a screen.
fn family(name: &str) -> &str {
    let dots = name.match_indices('.').map(|(at, _)| at + 1);
    dots.take(2).last().map_or(name, |end| &name[..end])
}

fn draw(cell: Option<&Cell>) -> (Ink, String) {
    match cell {
        Some(Cell::Head(text)) => (Ink::Bold, left(text, HALF)),
        Some(Cell::Name(text)) => (Ink::Plain, left(text, HALF)),
        Some(Cell::Nothing) | None => (Ink::Plain, " ".repeat(HALF)),
    }
}

fn half<'a>(noun: &str, names: impl Iterator<Item = &'a str>) -> Vec<Cell> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = 0;
    for name in names {
        all += 1;
        *counts.entry(if name.is_empty() { "(no name)" } else { name }).or_default() += 1;
    }
    let mut cells = vec![Cell::Head(count(all, noun))];
    for (name, n) in counts.iter().take(MOST_NAMES) {
        let name = if name.ends_with('.') { format!("{name}*") } else { (*name).to_owned() };
        cells.push(Cell::Name(format!(
            "{}{}",
            left(&name, HALF - 8),
            right(&grouped(*n as u64), 6)
        )));
    }
    match counts.len().saturating_sub(MOST_NAMES) {
        0 => {}
        n => cells.push(Cell::Name(format!("… and {}", count(n, "more name")))),
    }
    cells
}
