//! Lines of text for a terminal: printable, at most 80 columns wide, and in colour only on request.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

pub(super) use crate::labels::{count, duration, seconds};
use livekit_otel_model::printable::shown;

/// The most columns of a line.
pub(super) const WIDTH: usize = 80;

/// Whether the report is in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// Plain text, for files and pipes.
    pub fn plain() -> Self {
        Self { coloured: false }
    }

    /// With ANSI colours, for terminals.
    pub fn coloured() -> Self {
        Self { coloured: true }
    }
}

/// The style of a part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Bold,
    Dim,
    Bar,
    Alarm,
}

impl Ink {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("\x1b[1m"),
            Self::Dim => Some("\x1b[2m"),
            Self::Bar => Some("\x1b[36m"),
            Self::Alarm => Some("\x1b[31m"),
        }
    }
}

/// Writes lines. Only this writes escape sequences; those in names and messages are replaced.
pub(super) struct Page<'a, W: Write> {
    out: &'a mut W,
    style: Style,
}

impl<'a, W: Write> Page<'a, W> {
    pub(super) fn new(out: &'a mut W, style: Style) -> Self {
        Self { out, style }
    }

    /// Writes a line of parts, cut at 80 columns and without trailing blanks.
    pub(super) fn line(&mut self, parts: &[(Ink, &str)]) -> io::Result<()> {
        let mut columns = WIDTH;
        let mut cut: Vec<(Ink, String)> = Vec::with_capacity(parts.len());
        for (ink, text) in parts {
            let text = shorten(text, columns);
            columns -= width(&text);
            cut.push((*ink, text));
        }
        while let Some((_, last)) = cut.last_mut() {
            last.truncate(last.trim_end().len());
            if !last.is_empty() {
                break;
            }
            cut.pop();
        }
        for (ink, text) in &cut {
            match ink.code().filter(|_| self.style.coloured && !text.is_empty()) {
                Some(code) => write!(self.out, "{code}{text}\x1b[0m")?,
                None => self.out.write_all(text.as_bytes())?,
            }
        }
        self.out.write_all(b"\n")
    }

    pub(super) fn blank(&mut self) -> io::Result<()> {
        self.line(&[])
    }

    /// Writes an empty line, a section's title, and a rule.
    pub(super) fn title(&mut self, title: &str, more: &str) -> io::Result<()> {
        self.blank()?;
        self.line(&[(Ink::Bold, title), (Ink::Dim, more)])?;
        self.line(&[(Ink::Dim, &"─".repeat(WIDTH))])
    }
}

/// The number of columns of `text`.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` without control characters, cut to `columns` with an ellipsis.
pub(super) fn shorten(text: &str, columns: usize) -> String {
    // Combining marks take no column. Four for each column are more than any script needs.
    let most = columns.saturating_mul(4);
    let chars = text.chars().map(shown);
    let mut line = String::new();
    let mut used = 0;
    let mut last_fits = 0;
    for (n, c) in chars.enumerate() {
        let wide = c.width().unwrap_or(0);
        if used + wide > columns || n >= most {
            line.truncate(last_fits);
            if columns > 0 {
                line.push('…');
            }
            return line;
        }
        used += wide;
        line.push(c);
        if used < columns {
            last_fits = line.len();
        }
    }
    line
}

/// `text`, [`shorten`]ed and padded on the right to exactly `columns`.
pub(super) fn left(text: &str, columns: usize) -> String {
    let mut cell = shorten(text, columns);
    let blanks = columns - width(&cell);
    cell.push_str(&" ".repeat(blanks));
    cell
}

/// Like [`left`], but padded on the left.
pub(super) fn right(text: &str, columns: usize) -> String {
    let cell = shorten(text, columns);
    " ".repeat(columns - width(&cell)) + &cell
}

/// A ratio as a percentage, in at most 6 columns.
pub(super) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if ratio > 0.0 && percent < 0.1 { "<0.1%".to_owned() } else { format!("{percent:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_not_by_characters() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("会議室にて", 6), "会議…");
        assert_eq!(left("会", 4), "会  ");
        assert_eq!(right("7", 3), "  7");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(shorten("a\x1b[2Jb\u{202e}c\r\n\u{9b}", 80), "a�[2Jb�c���");
    }

    #[test]
    fn a_name_with_endless_marks_is_cut() {
        let endless = format!("e{}", "\u{301}".repeat(10_000));
        assert!(shorten(&endless, 10).chars().count() <= 41);
    }

    #[test]
    fn colours_take_no_columns_and_plain_text_has_none() {
        let mut plain = Vec::new();
        Page::new(&mut plain, Style::plain())
            .line(&[(Ink::Alarm, "no"), (Ink::Dim, "  ")])
            .unwrap();
        assert_eq!(plain, b"no\n");
        let mut coloured = Vec::new();
        Page::new(&mut coloured, Style::coloured()).line(&[(Ink::Alarm, "no")]).unwrap();
        assert_eq!(coloured, b"\x1b[31mno\x1b[0m\n");
    }
}
