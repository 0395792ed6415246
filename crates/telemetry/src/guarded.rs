//! Calls of the application's code.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;

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

    /// Waits for a future of the application's. It counts as done if it panics.
    pub(super) async fn wait(
        &self,
        what: &'static str,
        mut future: Pin<Box<dyn Future<Output = ()> + Send + '_>>,
    ) {
        poll_fn(|context| {
            let polled = self.call(what, || future.as_mut().poll(context));
            polled.unwrap_or(Poll::Ready(()))
        })
        .await;
    }
}
