//! Parts that run as long as the program does: their panics are noted.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::Notify;

use crate::balance::Imbalance;

/// A bug of this program that showed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A part that runs as long as the program does panicked.
    #[error("{0} panicked: this is a bug in livekit-otel")]
    Panicked(&'static str),
    /// A count is wrong.
    #[error("the ledger does not add up: {0}")]
    Imbalance(#[source] Imbalance),
}

/// The parts that panicked; a handle that is cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    panicked: Mutex<Vec<&'static str>>,
    noted: Notify,
}

/// Held by a part for as long as it runs.
#[derive(Debug)]
pub struct Watched {
    part: &'static str,
    faults: Faults,
}

impl Faults {
    /// Notes a panic of `part` if the thread or task that holds the result panics.
    pub fn watched(&self, part: &'static str) -> Watched {
        Watched { part, faults: self.clone() }
    }

    /// Runs the future, and notes a panic of `part` if it panics.
    pub async fn watch<T>(&self, part: &'static str, running: impl Future<Output = T>) -> T {
        let _watched = self.watched(part);
        running.await
    }

    /// Returns once a part has panicked.
    pub async fn any(&self) {
        loop {
            let noted = self.0.noted.notified();
            if !self.panicked().is_empty() {
                return;
            }
            noted.await;
        }
    }

    /// All parts that panicked.
    pub fn all(&self) -> Vec<&'static str> {
        self.panicked().clone()
    }

    fn panicked(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.panicked.lock()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.faults.panicked().push(self.part);
            self.faults.0.noted.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_parts_that_panic_are_noted() {
        let faults = Faults::default();
        faults.watch("one that ends", async {}).await;
        let watched = faults.clone();
        let waiting = tokio::spawn(async move {
            watched.watch("one that is aborted", std::future::pending::<()>()).await;
        });
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        let watched = faults.clone();
        let panics = async { panic!("on purpose") };
        let panicking = tokio::spawn(async move { watched.watch("one that panics", panics).await });
        faults.any().await;
        assert!(panicking.await.is_err());
        assert_eq!(faults.all(), ["one that panics"]);
    }
}
