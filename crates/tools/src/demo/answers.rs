//! A table of agents' turns: what each answer waited for.

use std::io::{self, Write};

use super::rooms::Room;
use super::text::{Ink, Page, count, duration, right, shorten};
use super::turns::{MOST_TURNS, Turn};

const HEADS: [&str; 6] = ["waits", "model", "tools", "speech", "answer", "loss"];
const COLUMNS: usize = 8;

/// Writes a table of the agent's turns in a room; nothing if there are none.
pub(super) fn render<W: Write>(room: &Room<'_>, page: &mut Page<'_, W>) -> io::Result<()> {
    for job in &room.jobs {
        let turns: Vec<_> = job.turns.iter().filter(|turn| turn.is_agents()).collect();
        if turns.is_empty() {
            continue;
        }
        let of = format!("  of the agent's job {}, from its spans", shorten(job.id, 24));
        page.title("Turns", &of)?;
        let heads: String = HEADS.iter().map(|head| right(head, COLUMNS)).collect();
        page.line(&[(Ink::Dim, &format!("  {}{heads}", right("at", COLUMNS)))])?;
        for turn in turns.iter().take(MOST_TURNS) {
            row(room, turn, page)?;
        }
        match turns.len().saturating_sub(MOST_TURNS) {
            0 => {}
            n => page.line(&[(Ink::Dim, &format!("  … and {}", count(n, "more turn")))])?,
        }
        page.line(&[(Ink::Dim, "  waits: from the user's last word to the end of the turn")])?;
        page.line(&[(Ink::Dim, "  model, speech: to the first token and the first audio")])?;
        page.line(&[(Ink::Dim, "  answer: from the user's last word to the agent's first")])?;
        page.line(&[(
            Ink::Dim,
            "  loss: the caller's while the user or the agent spoke, at its worst",
        )])?;
    }
    Ok(())
}

fn row<W: Write>(room: &Room<'_>, turn: &Turn<'_>, page: &mut Page<'_, W>) -> io::Result<()> {
    let at = duration(turn.span.start.saturating_sub(room.start));
    let cells = turn.cells().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
    let cells: String = cells.iter().map(|cell| right(cell, COLUMNS)).collect();
    let failure = turn.failure().map(|failure| format!("  {failure}")).unwrap_or_default();
    let is_interrupted = failure.is_empty() && turn.is_interrupted();
    let note = if is_interrupted { "  interrupted" } else { "" };
    page.line(&[
        (Ink::Plain, &format!("  {}{cells}", right(&at, COLUMNS))),
        (Ink::Dim, note),
        (Ink::Alarm, &failure),
    ])
}
