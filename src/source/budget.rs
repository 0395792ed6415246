//! The memory for messages that are not in the journal yet: one budget for all connections of a listener,
//! and a share of it for each connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

// If others wait, the oldest message that has not arrived after this time is displaced.
const PATIENCE: Duration = Duration::from_secs(3);
// A connection's share is this part of the budget, and at least two of the largest messages: one as it
// arrives, and decompressed.
const SHARE: usize = 4;
const LARGEST: usize = 2;

/// The memory for unfinished messages of a listener.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Arc<Semaphore>,
    share: usize,
    unfinished: Mutex<Unfinished>,
}

#[derive(Debug, Default)]
struct Unfinished {
    next: u64,
    messages: BTreeMap<u64, Message>,
}

#[derive(Debug)]
struct Message {
    since: Instant,
    share: Share,
    displaced: Arc<Notify>,
}

/// A connection's share of a [`Budget`].
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Semaphore>);

impl Budget {
    /// A budget of `bytes`, and at least of two messages of the `largest` size.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let largest = (LARGEST * largest).max(1);
        let bytes = bytes.max(largest).min(u32::MAX as usize);
        let share = (bytes / SHARE).max(largest);
        let bytes = Arc::new(Semaphore::new(bytes));
        Self(Arc::new(Shared { bytes, share, unfinished: Mutex::default() }))
    }

    /// Returns a share for a new connection.
    pub(super) fn share(&self) -> Share {
        Share(Arc::new(Semaphore::new(self.0.share)))
    }

    /// Waits for `bytes` of memory for a message, at most the largest.
    pub(super) async fn reserve(&self, share: &Share, bytes: usize) -> Lease {
        // At most a share, since more would wait forever.
        let bytes = u32::try_from(bytes.clamp(1, self.0.share)).unwrap_or(u32::MAX);
        // First the share: messages of one connection wait for each other without blocking other connections.
        let of_share = self.permit(&share.0, bytes, Some(share)).await;
        let of_all = self.permit(&self.0.bytes, bytes, None).await;
        let mut unfinished = self.unfinished();
        let number = unfinished.next;
        unfinished.next += 1;
        let displaced = Arc::new(Notify::new());
        let message = Message {
            since: Instant::now(),
            share: share.clone(),
            displaced: Arc::clone(&displaced),
        };
        unfinished.messages.insert(number, message);
        drop(unfinished);
        Lease { budget: self.clone(), number, displaced, _permits: [of_share, of_all] }
    }

    async fn permit(
        &self,
        from: &Arc<Semaphore>,
        bytes: u32,
        share: Option<&Share>,
    ) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(from).acquire_many_owned(bytes);
        tokio::pin!(permit);
        loop {
            tokio::select! {
                biased;
                // The semaphore is never closed.
                permit = &mut permit => return permit.ok(),
                () = self.displace_oldest(share) => {}
            }
        }
    }

    // Displaces the oldest unfinished message, of a share or of all, once it had its time.
    async fn displace_oldest(&self, share: Option<&Share>) {
        let is_of = |message: &Message| share.is_none_or(|of| Arc::ptr_eq(&of.0, &message.share.0));
        let oldest = {
            let unfinished = self.unfinished();
            let mut messages = unfinished.messages.iter();
            messages.find(|(_, message)| is_of(message)).map(|(of, message)| (*of, message.since))
        };
        let Some((oldest, since)) = oldest else { return tokio::time::sleep(PATIENCE).await };
        tokio::time::sleep_until(since + PATIENCE).await;
        if let Some(message) = self.unfinished().messages.remove(&oldest) {
            message.displaced.notify_one();
        }
    }

    fn unfinished(&self) -> MutexGuard<'_, Unfinished> {
        self.0.unfinished.lock()
    }
}

/// Memory that a message has reserved, until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Budget,
    number: u64,
    displaced: Arc<Notify>,
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Lease {
    /// Returns once the message must release its memory to others.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// The message has arrived: it is not displaced while it waits for the journal.
    pub(super) fn finished(&self) {
        self.budget.unfinished().messages.remove(&self.number);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.finished();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(1), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_gets_no_more_than_its_share() {
        let budget = Budget::new(100, 10);
        let [one, other] = [budget.share(), budget.share()];
        let first = now(budget.reserve(&one, 20)).await.unwrap();
        assert!(now(budget.reserve(&one, 10)).await.is_none());
        assert!(now(budget.reserve(&other, 20)).await.is_some());
        drop(first);
        assert!(now(budget.reserve(&one, 10)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_unfinished_message_is_displaced_by_one_that_waits() {
        let budget = Budget::new(100, 50);
        let shares = [(); 3].map(|()| budget.share());
        let first = budget.reserve(&shares[0], 50).await;
        let second = budget.reserve(&shares[1], 50).await;
        // The first has arrived and is not displaced: only the second is unfinished.
        first.finished();
        let waiting = budget.reserve(&shares[2], 50);
        tokio::pin!(waiting);
        assert!(now(&mut waiting).await.is_none());
        assert!(now(second.displaced()).await.is_none());
        tokio::select! {
            _ = &mut waiting => panic!("no memory is free yet"),
            () = second.displaced() => {}
        }
        drop(second);
        assert!(now(waiting).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_not_displaced_if_no_other_waits() {
        let budget = Budget::new(100, 50);
        let share = budget.share();
        let lease = budget.reserve(&share, 50).await;
        let _other = budget.reserve(&budget.share(), 50).await;
        assert!(tokio::time::timeout(PATIENCE * 3, lease.displaced()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_lease_or_call_releases_its_memory() {
        let budget = Budget::new(100, 50);
        let share = budget.share();
        let lease = budget.reserve(&share, 100).await;
        assert!(now(budget.reserve(&share, 1)).await.is_none());
        drop(lease);
        assert!(budget.unfinished().messages.is_empty());
        assert!(now(budget.reserve(&share, 100)).await.is_some());
    }
}
