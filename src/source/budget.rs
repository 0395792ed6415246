//! The memory that messages may take before they are in the journal: one budget for all connections of a
//! listener, and a share of it for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

// Where others wait, a message that has not come within this makes place, the oldest first.
const PATIENCE: Duration = Duration::from_secs(3);
// A connection has this part of the whole, and room for two of the largest: one as it comes, and unpacked.
const SHARE: usize = 4;
const LARGEST: usize = 2;

/// What the unfinished messages of a listener may take.
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

/// A connection's part of a [`Budget`].
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Semaphore>);

impl Budget {
    /// Of `bytes` in all; more where two messages of the `largest` are more.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let largest = (LARGEST * largest).max(1);
        let bytes = bytes.max(largest).min(u32::MAX as usize);
        let share = (bytes / SHARE).max(largest);
        let bytes = Arc::new(Semaphore::new(bytes));
        Self(Arc::new(Shared { bytes, share, unfinished: Mutex::default() }))
    }

    /// Of a connection.
    pub(super) fn share(&self) -> Share {
        Share(Arc::new(Semaphore::new(self.0.share)))
    }

    /// Room for a message of so many bytes, at most the largest, once there is some.
    pub(super) async fn take(&self, share: &Share, bytes: usize) -> Lease {
        // None is larger than a share, so that none waits for ever.
        let bytes = u32::try_from(bytes.clamp(1, self.0.share)).unwrap_or(u32::MAX);
        // A connection's messages wait for each other, and not at the head of everybody's queue.
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
                // It is never closed.
                permit = &mut permit => return permit.ok(),
                () = self.waited(share) => {}
            }
        }
    }

    // Returns after the oldest unfinished message, of a share or of all, had to make place.
    async fn waited(&self, share: Option<&Share>) {
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
        self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that a message has, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Budget,
    number: u64,
    displaced: Arc<Notify>,
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Lease {
    /// Returns once the message has to make place for others.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// The message has come: it keeps its room for as long as the journal makes it wait.
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
    async fn a_connection_has_no_more_than_its_share() {
        let budget = Budget::new(100, 10);
        let [one, other] = [budget.share(), budget.share()];
        let first = now(budget.take(&one, 20)).await.unwrap();
        assert!(now(budget.take(&one, 10)).await.is_none());
        assert!(now(budget.take(&other, 20)).await.is_some());
        drop(first);
        assert!(now(budget.take(&one, 10)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_unfinished_message_makes_place_for_one_that_waits() {
        let budget = Budget::new(100, 50);
        let shares = [(); 3].map(|()| budget.share());
        let first = budget.take(&shares[0], 50).await;
        let second = budget.take(&shares[1], 50).await;
        // What has come is not taken back: only the second is unfinished.
        first.finished();
        let waiting = budget.take(&shares[2], 50);
        tokio::pin!(waiting);
        assert!(now(&mut waiting).await.is_none());
        assert!(now(second.displaced()).await.is_none());
        tokio::select! {
            _ = &mut waiting => panic!("there is no room yet"),
            () = second.displaced() => {}
        }
        drop(second);
        assert!(now(waiting).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_nobody_waits_behind_may_take_its_time() {
        let budget = Budget::new(100, 50);
        let share = budget.share();
        let lease = budget.take(&share, 50).await;
        let _other = budget.take(&budget.share(), 50).await;
        assert!(tokio::time::timeout(PATIENCE * 3, lease.displaced()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_taken_of_what_was_given_up() {
        let budget = Budget::new(100, 50);
        let share = budget.share();
        let lease = budget.take(&share, 100).await;
        assert!(now(budget.take(&share, 1)).await.is_none());
        drop(lease);
        assert!(budget.unfinished().messages.is_empty());
        assert!(now(budget.take(&share, 100)).await.is_some());
    }
}
