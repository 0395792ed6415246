//! Parts that run as long as the program does: one that ends by a panic does not go unnoticed.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::Notify;

use crate::Imbalance;

/// Something that is wrong with the program itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A part that runs as long as the program does ended by a panic.
    #[error("{0} broke off: this is a fault of livekit-otel")]
    BrokeOff(&'static str),
    /// A count is wrong.
    #[error("the ledger does not add up: {0}")]
    Imbalance(#[source] Imbalance),
}

/// What broke off; a handle that is cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    broken: Mutex<Vec<&'static str>>,
    more: Notify,
}

/// Held by a part for as long as it runs.
#[derive(Debug)]
pub struct Watched {
    what: &'static str,
    faults: Faults,
}

impl Faults {
    /// Notes `what` as broken off where the thread or task that holds the result panics.
    pub fn watched(&self, what: &'static str) -> Watched {
        Watched { what, faults: self.clone() }
    }

    /// `part`, watched.
    pub async fn watch<T>(&self, what: &'static str, part: impl Future<Output = T>) -> T {
        let _watched = self.watched(what);
        part.await
    }

    /// Returns once something broke off.
    pub async fn any(&self) {
        loop {
            let more = self.0.more.notified();
            if !self.broken().is_empty() {
                return;
            }
            more.await;
        }
    }

    /// All that broke off.
    pub fn all(&self) -> Vec<&'static str> {
        self.broken().clone()
    }

    fn broken(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.broken.lock()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.faults.broken().push(self.what);
            self.faults.0.more.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_noted_and_one_that_ends_or_is_ended_is_not() {
        let faults = Faults::default();
        faults.watch("one that ends", async {}).await;
        let watched = faults.clone();
        let waiting = tokio::spawn(async move {
            watched.watch("one that is ended", std::future::pending::<()>()).await;
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
