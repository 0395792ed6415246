//! A progress bar on a terminal, and lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

// The first line comes after this time, so that a short run has none.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// A progress bar on stderr, or a line every 5 s if stderr is not a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    lines: Option<Mutex<Lines>>,
}

impl Progress {
    /// A bar of `total` steps with the label `what`.
    pub fn new(total: u64, what: &'static str) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let mut progress = Self::on(target(is_terminal), total, what);
        let lines = || Mutex::new(Lines { next: Instant::now() + BETWEEN_LINES });
        progress.lines = (!is_terminal).then(lines);
        progress
    }

    fn on(target: ProgressDrawTarget, total: u64, what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        // The template is constant, so it can't be invalid; if it ever is, the default style is
        // used.
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}") {
            bar.set_style(style.progress_chars("█▏─"));
        }
        Self { bar, what, lines: None }
    }

    /// Sets the number of completed steps, at most all.
    pub fn set(&self, done: u64) {
        let total = self.bar.length().unwrap_or(done);
        let done = done.min(total);
        self.bar.set_position(done);
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_due(Instant::now()) {
            // Nothing can be reported if stderr is closed.
            let _ = writeln!(io::stderr(), "{}", line(self.what, done, total));
        }
    }

    /// What writes text to stderr without touching the bar.
    pub fn writer(&self) -> Beside {
        Beside(self.bar.clone())
    }

    /// Removes the bar from the terminal.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Writes to stderr, above the bar if there is one.
#[derive(Debug, Clone)]
pub struct Beside(ProgressBar);

impl Write for Beside {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(text))?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[derive(Debug)]
struct Lines {
    next: Instant,
}

impl Lines {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + BETWEEN_LINES;
        }
        is_due
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    format!("{what} {done}/{total} ({percent} %)")
}

fn target(terminal: bool) -> ProgressDrawTarget {
    if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_without_a_terminal() {
        assert!(target(false).is_hidden());
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(line("simulating", 15, 60), "simulating 15/60 (25 %)");
        assert_eq!(line("replaying", 0, 0), "replaying 0/0 (100 %)");
    }

    #[test]
    fn lines_are_five_seconds_apart_however_often_the_position_changes() {
        let began = Instant::now();
        let mut lines = Lines { next: began + BETWEEN_LINES };
        let due = (0..200).filter(|tenth| lines.is_due(began + Duration::from_millis(100 * tenth)));
        assert_eq!(due.collect::<Vec<_>>(), [50, 100, 150]);
    }

    #[test]
    fn the_position_never_exceeds_the_total() {
        let progress = Progress::on(ProgressDrawTarget::hidden(), 120, "replay");
        progress.set(7);
        assert_eq!(progress.bar.position(), 7);
        progress.set(500);
        assert_eq!(progress.bar.position(), 120);
        progress.finish();
    }
}
