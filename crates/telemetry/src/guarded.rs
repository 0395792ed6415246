//! Calls of the application's code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls the application's code. A panic there ends only the call, and is counted.
#[derive(Debug, Default)]
pub(super) struct Guarded(AtomicU64);

impl Guarded {
    /// How many calls panicked.
    pub(super) fn panics(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// `None` if it panicked.
    pub(super) fn call<T>(&self, what: &'static str, call: impl FnOnce() -> T) -> Option<T> {
        let returned = catch_unwind(AssertUnwindSafe(call)).ok();
        if returned.is_none() {
            let panics = self.0.fetch_add(1, Relaxed) + 1;
            // The 1st, 2nd, 4th, 8th, …, so that code that always panics does not flood the log.
            if panics.is_power_of_two() {
                tracing::error!(what, panics, "code of the application panicked in a call");
            }
        }
        returned
    }
}
