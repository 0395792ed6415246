//! A progress bar on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr; nothing if stderr is not a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `total` steps with the label `what`.
    pub fn new(total: u64, what: &'static str) -> Self {
        Self::on(target(std::io::stderr().is_terminal()), total, what)
    }

    fn on(target: ProgressDrawTarget, total: u64, what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        // The template is constant, so it can't be invalid; if it ever is, the default style is
        // used.
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}") {
            bar.set_style(style.progress_chars("█▏─"));
        }
        Self { bar }
    }

    /// Sets the number of completed steps, at most all.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done.min(self.bar.length().unwrap_or(done)));
    }

    /// Removes the bar from the terminal.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
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
    fn the_position_never_exceeds_the_total() {
        let progress = Progress::on(ProgressDrawTarget::hidden(), 120, "replay");
        progress.set(7);
        assert_eq!(progress.bar.position(), 7);
        progress.set(500);
        assert_eq!(progress.bar.position(), 120);
        progress.finish();
    }
}
