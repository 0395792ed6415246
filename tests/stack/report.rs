//! What was found, a line each, and how many.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// A clone counts for all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    passed: Rc<Cell<usize>>,
    failed: Rc<Cell<usize>>,
}

impl Report {
    /// Something that was looked at: nothing, or what is wrong with it.
    pub(crate) fn found(&self, what: &str, problems: &[String]) {
        if problems.is_empty() {
            self.passed.update(|n| n + 1);
            println!("  ok      {what}");
            return;
        }
        self.failed.update(|n| n + 1);
        println!("  FAILED  {what}");
        for line in problems.iter().flat_map(|problem| problem.lines()) {
            println!("          {line}");
        }
    }

    /// The last line; whether all is well.
    pub(crate) fn end(&self) -> bool {
        println!("\n{} passed, {} failed", self.passed.get(), self.failed.get());
        self.failed.get() == 0 && self.passed.get() > 0
    }
}

/// Says how long it took.
pub(crate) fn timed<T>(what: &str, does: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = does();
    took(what, begin);
    done
}

pub(crate) fn took(what: &str, begin: Instant) {
    println!("  {what:<60} {:>6.1} s", begin.elapsed().as_secs_f64());
}
