//! A room's spans as a tree, each with a bar on a common time axis.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::received::{Span, failed};
use super::rooms::{Participant, Room};
use super::text::{Ink, Page, count, duration, left, right, shorten, width};
use super::turns::{Job, MOST_TURNS};
use crate::labels::{self, rank};
use livekit_otel_model::semconv::{key, span};

/// The columns of a label, including its branches.
const LABEL: usize = 38;
/// The columns of a time.
const TIME: usize = 7;
/// The columns of a bar.
const BAR: usize = 24;
/// The most participants of a room in the chart.
const MOST_PARTICIPANTS: usize = 20;
/// The most spans of a participant in the chart.
const MOST_CHILDREN: usize = 12;

/// Writes the room's header and its tree.
pub(super) fn render<W: Write>(room: &Room<'_>, page: &mut Page<'_, W>) -> io::Result<()> {
    header(room, page)?;
    Chart { room, page }.draw()
}

fn header<W: Write>(room: &Room<'_>, page: &mut Page<'_, W>) -> io::Result<()> {
    let name = shorten(room.name().unwrap_or("(no name)"), 48);
    page.title(&format!("Room {name}"), &format!("  {}", shorten(room.sid, 24)))?;
    let trace = room.span.map(|span| span.trace_id.as_str());
    let trace = trace.or(room.traces.first().copied()).unwrap_or_default();
    let more = match room.traces.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    page.line(&[(Ink::Dim, "  trace    "), (Ink::Plain, trace), (Ink::Plain, &more)])?;
    let (start, end) = room.span.map_or((room.start, room.end), |span| (span.start, span.end));
    let started = utc(start);
    let lasted = duration(end.saturating_sub(start));
    page.line(&[(Ink::Dim, "  started  "), (Ink::Plain, &started)])?;
    page.line(&[(Ink::Dim, "  lasted   "), (Ink::Plain, &lasted)])?;
    let parts = [
        count(room.participants.len(), "participant"),
        count(room.count(span::TRACK), "track"),
        count(room.count(span::TRACK_SUBSCRIBE), "subscribe"),
    ];
    let turns: usize = room.jobs.iter().map(|job| job.turns.len()).sum();
    let turns = (turns > 0).then(|| count(turns, "turn"));
    let failures = match room.all().filter(|span| room.is_failure(span)).count() {
        0 => String::new(),
        n => format!(", {n} FAILED"),
    };
    let parts = parts.into_iter().chain(turns).collect::<Vec<_>>().join(", ");
    page.line(&[(Ink::Dim, "  with     "), (Ink::Plain, &parts), (Ink::Alarm, &failures)])?;
    page.blank()
}

fn utc(nanos: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos);
    let text = humantime::format_rfc3339_millis(at).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

struct Chart<'a, 'p, 'w, W: Write> {
    room: &'a Room<'a>,
    page: &'p mut Page<'w, W>,
}

impl<W: Write> Chart<'_, '_, '_, W> {
    fn draw(&mut self) -> io::Result<()> {
        let room = self.room;
        let is_end = room.others.is_empty() && room.jobs.is_empty();
        self.heads()?;
        match room.span {
            Some(span) => {
                self.span("", "room", span)?;
                let leaf = room.participants.is_empty() && is_end;
                self.notes(below(leaf), span)?;
            }
            None => self.page.line(&[(Ink::Dim, "room (its span has not arrived)")])?,
        }
        let (shown, rest) =
            room.participants.split_at(room.participants.len().min(MOST_PARTICIPANTS));
        for (n, participant) in shown.iter().enumerate() {
            let last = n + 1 == shown.len() && rest.is_empty() && is_end;
            self.participant(participant, last)?;
        }
        if !rest.is_empty() {
            self.rest(branch(is_end), rest)?;
        }
        for (n, job) in room.jobs.iter().enumerate() {
            self.job(job, n + 1 == room.jobs.len() && room.others.is_empty())?;
        }
        self.children("", &room.others)
    }

    /// An agent's job with its turns.
    fn job(&mut self, job: &Job<'_>, last: bool) -> io::Result<()> {
        let label = format!("agent's job {}", shorten(job.id, 20));
        match job.span {
            Some(span) => {
                self.span(branch(last), &label, span)?;
                self.notes(&format!("{}{}", below(last), below(job.turns.is_empty())), span)?;
            }
            None => self.page.line(&[(Ink::Dim, branch(last)), (Ink::Dim, &label)])?,
        }
        let (shown, gone) = job.turns.split_at(job.turns.len().min(MOST_TURNS));
        for (n, turn) in shown.iter().enumerate() {
            let is_last = n + 1 == shown.len() && gone.is_empty();
            let branches = format!("{}{}", below(last), branch(is_last));
            self.span(&branches, &turn.label(), turn.span)?;
            self.notes(&format!("{}{}   ", below(last), below(is_last)), turn.span)?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        let failures = gone.iter().filter(|turn| self.room.is_failure(turn.span)).count();
        let text = format!("… and {}", count(gone.len(), "more turn"));
        self.cut(&format!("{}{}", below(last), branch(true)), &text, failures)
    }

    fn heads(&mut self) -> io::Result<()> {
        let all = duration(self.room.end.saturating_sub(self.room.start));
        let scale = format!("0{}", right(&all, BAR - 1));
        let heads = format!("{} {} {}  ", left("", LABEL), right("at", TIME), right("for", TIME));
        self.page.line(&[(Ink::Dim, &heads), (Ink::Dim, &scale)])
    }

    /// Counts the participants that are left out.
    fn rest(&mut self, branch: &str, rest: &[Participant<'_>]) -> io::Result<()> {
        let spans = rest.iter().flat_map(|p| p.children.iter().chain([&p.span]));
        let failures = spans.clone().filter(|span| self.room.is_failure(span)).count();
        let text = format!(
            "… and {} with {}",
            count(rest.len(), "more participant"),
            count(spans.count(), "span"),
        );
        self.cut(branch, &text, failures)
    }

    fn cut(&mut self, branch: &str, text: &str, failures: usize) -> io::Result<()> {
        let alarm = match failures {
            0 => String::new(),
            n => format!(", {n} FAILED"),
        };
        self.page.line(&[(Ink::Dim, branch), (Ink::Dim, text), (Ink::Alarm, &alarm)])
    }

    fn participant(&mut self, participant: &Participant<'_>, last: bool) -> io::Result<()> {
        let span = participant.span;
        let sid = span.attributes.text(key::PARTICIPANT_ID).unwrap_or(&span.span_id);
        let label = match span.attributes.text(key::PARTICIPANT_IDENTITY) {
            Some(identity) => {
                let sid = shorten(sid, 16);
                let columns = LABEL - 3 - 2 - width(&sid);
                format!("{}  {sid}", shorten(identity, columns))
            }
            None => sid.to_owned(),
        };
        self.span(branch(last), &label, span)?;
        let above = below(last);
        self.notes(&format!("{above}{}", below(participant.children.is_empty())), span)?;
        self.children(above, &participant.children)
    }

    /// The spans below a participant or the room. Failures are left out last.
    fn children(&mut self, above: &str, spans: &[&Span]) -> io::Result<()> {
        let mut kept: Vec<usize> = (0..spans.len()).collect();
        kept.sort_by_key(|&n| (!failed(spans[n]), n));
        let mut gone = kept.split_off(kept.len().min(MOST_CHILDREN));
        kept.sort_unstable();
        gone.sort_unstable();
        for (place, &n) in kept.iter().enumerate() {
            let last = place + 1 == kept.len() && gone.is_empty();
            self.span(&format!("{above}{}", branch(last)), &self.label(spans[n]), spans[n])?;
            self.notes(&format!("{above}{}   ", below(last)), spans[n])?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        let mut kinds: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for &n in &gone {
            *kinds.entry((rank(&spans[n].name), &spans[n].name)).or_default() += 1;
        }
        let kinds: Vec<_> = kinds.iter().map(|((_, name), n)| format!("{name} {n}")).collect();
        let text = format!("… and {} more ({})", gone.len(), kinds.join(", "));
        let failures = gone.iter().filter(|&&n| self.room.is_failure(spans[n])).count();
        self.cut(&format!("{above}{}", branch(true)), &text, failures)
    }

    fn span(&mut self, branches: &str, label: &str, span: &Span) -> io::Result<()> {
        let alarm = failed(span);
        let label = left(label, LABEL - width(branches));
        let at = duration(span.start.saturating_sub(self.room.start));
        let times = format!(" {} ", right(&at, TIME));
        let lasted = right(&duration(span.end.saturating_sub(span.start)), TIME);
        let bar = bar(self.room, span);
        self.page.line(&[
            (Ink::Dim, branches),
            (if alarm { Ink::Alarm } else { Ink::Plain }, &label),
            (Ink::Dim, &times),
            (Ink::Plain, &lasted),
            (Ink::Plain, "  "),
            (if alarm { Ink::Alarm } else { Ink::Bar }, &bar),
        ])
    }

    fn notes(&mut self, branches: &str, span: &Span) -> io::Result<()> {
        // A failure is described once, where it counts.
        if self.room.is_failure(span) {
            let kind = span.attributes.text(key::ERROR_TYPE).unwrap_or("error");
            let text = match span.attributes.text(key::ERROR) {
                Some(message) => format!("✗ FAILED {kind}: {message}"),
                None => format!("✗ FAILED {kind}"),
            };
            self.page.line(&[(Ink::Dim, branches), (Ink::Alarm, &text)])?;
        }
        let notes = labels::remarks(&span.attributes);
        if notes.is_empty() {
            return Ok(());
        }
        self.page.line(&[(Ink::Dim, branches), (Ink::Dim, &notes.join(", "))])
    }

    fn label(&self, span: &Span) -> String {
        let attributes = &span.attributes;
        let sid = attributes.text(key::TRACK_ID);
        let track = sid.and_then(|sid| self.room.track(sid)).map(|track| &track.attributes);
        let publisher = attributes.text(key::PUBLISHER_ID).map(|sid| self.room.who(sid));
        labels::label(&span.name, attributes, track, publisher)
    }
}

fn branch(last: bool) -> &'static str {
    if last { "└─ " } else { "├─ " }
}

fn below(last: bool) -> &'static str {
    if last { "   " } else { "│  " }
}

/// The span's bar on the room's time axis: a thin line for the room, its participants and jobs, blocks
/// for other spans. A span too short for a cell is a stroke at its start; a failure ends with a
/// cross.
fn bar(room: &Room<'_>, span: &Span) -> String {
    let whole = u128::from(room.end.saturating_sub(room.start)).max(1);
    let cell = |at: u64, up: u128| {
        let cells = (u128::from(at.saturating_sub(room.start)) * BAR as u128 + up) / whole;
        usize::try_from(cells).unwrap_or(BAR).min(BAR)
    };
    let first = cell(span.start, 0).min(BAR - 1);
    let end = cell(span.end, whole - 1).clamp(first + 1, BAR);
    let short = u128::from(span.end.saturating_sub(span.start)) * (BAR as u128) < whole / 2;
    let is_thin = matches!(span.name.as_str(), span::ROOM | span::PARTICIPANT)
        || room.jobs.iter().filter_map(|job| job.span).any(|it| std::ptr::eq(it, span));
    let fill = if is_thin { "─" } else { "█" };
    let blanks = " ".repeat(first);
    match (failed(span), short) {
        (true, true) => blanks + "✗",
        (true, false) => blanks + &fill.repeat(end - first - 1) + "✗",
        (false, true) => blanks + "▏",
        (false, false) => blanks + &fill.repeat(end - first),
    }
}
