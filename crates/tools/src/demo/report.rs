//! The report of what the collector received, with the ledger.

use std::io::{self, Write};

use super::collector::Received;
use super::received::Telemetry;
use super::rooms::rooms;
use super::text::{Ink, Page, Style, WIDTH, count};
use super::{answers, counts, quality, waterfall};
use livekit_otel_ledger::{self as ledger, Snapshot};

/// The most rooms in a report.
const MOST_ROOMS: usize = 5;

/// Writes the report, at most 80 columns wide: each room's waterfall and its agents'
/// turns, the quality table, the counts by signal, and the ledger. It says how much it leaves out.
///
/// # Errors
/// Those of `out`.
pub fn render(
    received: &Received,
    ledger: &Snapshot,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let telemetry = Telemetry::read(received);
    let mut page = Page::new(out, style);
    if telemetry.is_empty() {
        page.blank()?;
        let what = "Nothing arrived: the collector received no spans, log records or metrics.";
        page.line(&[(Ink::Alarm, what)])?;
    } else {
        waterfalls(&telemetry, &mut page)?;
        quality::render(&telemetry, &mut page)?;
        counts::render(&telemetry, &mut page)?;
    }
    page.title("Ledger", "  records received, delivered, waiting and lost")?;
    ledger::report::render_ledger(ledger, out, WIDTH)
}

fn waterfalls<W: Write>(telemetry: &Telemetry, page: &mut Page<'_, W>) -> io::Result<()> {
    let rooms = rooms(&telemetry.spans);
    if rooms.is_empty() {
        page.blank()?;
        return page.line(&[(Ink::Dim, "No room's spans have arrived.")]);
    }
    for room in rooms.iter().take(MOST_ROOMS) {
        waterfall::render(room, page)?;
        answers::render(room, page)?;
    }
    match rooms.len().saturating_sub(MOST_ROOMS) {
        0 => Ok(()),
        n => {
            page.blank()?;
            page.line(&[(Ink::Dim, &format!("… and {}, not shown", count(n, "more room")))])
        }
    }
}
