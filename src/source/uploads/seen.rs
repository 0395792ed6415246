//! Recognises repeats of what was acknowledged: a client sends a request again if it has lost the answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

/// Identifies a request: a part of its hash.
pub(super) type Key = [u8; 16];

/// The requests of the last time.
#[derive(Debug)]
pub(super) struct Seen {
    remembered: Duration,
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    // With the number of their items. A request is remembered for one to two times of `remembered`.
    current: HashMap<Key, u64>,
    previous: HashMap<Key, u64>,
    pending: HashMap<Key, watch::Receiver<()>>,
}

/// Whether a request was seen before.
#[derive(Debug)]
pub(super) enum First {
    /// It was not, or was not acknowledged.
    New(Claim),
    /// It was, with so many items.
    Repeat(u64),
}

impl Seen {
    /// Remembers each request for at least that time, unless there are more than `max` in it.
    pub(super) fn new(remembered: Duration, max: usize) -> Self {
        let state = State {
            since: Instant::now(),
            current: HashMap::new(),
            previous: HashMap::new(),
            pending: HashMap::new(),
        };
        Self { remembered, max: (max / 2).max(1), state: Mutex::new(state) }
    }

    /// Waits for the same request if it is in progress, until that is acknowledged or fails.
    pub(super) async fn first(self: &Arc<Self>, key: Key) -> First {
        loop {
            let mut ended = match self.try_first(key) {
                Ok(first) => return first,
                Err(pending) => pending,
            };
            // An error means that it has ended.
            while ended.changed().await.is_ok() {}
        }
    }

    /// Remembers a key, again if it is known.
    pub(super) fn insert(&self, key: Key) {
        self.state().current.insert(key, 0);
    }

    /// Whether a key is remembered.
    pub(super) fn contains(&self, key: &Key) -> bool {
        let state = self.state();
        state.current.contains_key(key) || state.previous.contains_key(key)
    }

    fn try_first(self: &Arc<Self>, key: Key) -> Result<First, watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(items) = state.current.get(&key).or_else(|| state.previous.get(&key)) {
            return Ok(First::Repeat(*items));
        }
        if let Some(pending) = state.pending.get(&key) {
            return Err(pending.clone());
        }
        let (ended, pending) = watch::channel(());
        state.pending.insert(key, pending);
        drop(state);
        Ok(First::New(Claim { seen: Arc::clone(self), key, _ended: ended }))
    }

    // The state, without what is older than it must be.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.since.elapsed() >= self.remembered || state.current.len() >= self.max {
            let is_older = state.since.elapsed() >= 2 * self.remembered;
            let current = std::mem::take(&mut state.current);
            state.previous = if is_older { HashMap::new() } else { current };
            state.since = Instant::now();
        }
        state
    }
}

/// A request in progress. Dropped, it counts as not seen.
#[derive(Debug)]
pub(super) struct Claim {
    seen: Arc<Seen>,
    key: Key,
    // Repeats wait until it is dropped.
    _ended: watch::Sender<()>,
}

impl Claim {
    /// Remembers the request, which is acknowledged and has so many items.
    pub(super) fn acknowledged(self, items: u64) {
        self.seen.state().current.insert(self.key, items);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.seen.state.lock().pending.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_mins(1);

    fn seen(max: usize) -> Arc<Seen> {
        Arc::new(Seen::new(KEPT, max))
    }

    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(1), future).await.ok()
    }

    async fn claim(seen: &Arc<Seen>, key: u8) -> Option<Claim> {
        match now(seen.first([key; 16])).await.expect("nothing is pending") {
            First::New(claim) => Some(claim),
            First::Repeat(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_acknowledged_is_a_repeat_for_the_time_and_not_for_twice_the_time() {
        let seen = seen(1000);
        for since in [0, 30, 59] {
            tokio::time::advance(Duration::from_secs(since)).await;
            claim(&seen, 1).await.expect("it is forgotten").acknowledged(7);
            tokio::time::advance(Duration::from_secs(59)).await;
            assert!(matches!(now(seen.first([1; 16])).await, Some(First::Repeat(7))));
            assert!(claim(&seen, 2).await.is_some(), "another one");
            tokio::time::advance(2 * KEPT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_no_repeat() {
        let seen = seen(1000);
        drop(claim(&seen, 1).await.unwrap());
        assert!(claim(&seen, 1).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_waits_for_the_first_and_takes_its_place_if_that_fails() {
        let seen = seen(1000);
        let first = claim(&seen, 1).await.unwrap();
        let repeats = [0, 1].map(|_| {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                match seen.first([1; 16]).await {
                    First::New(claim) => {
                        claim.acknowledged(3);
                        true
                    }
                    First::Repeat(items) => items != 3,
                }
            })
        });
        assert!(now(seen.first([1; 16])).await.is_none());
        drop(first);
        let mut new = 0;
        for repeat in repeats {
            new += usize::from(repeat.await.unwrap());
        }
        assert_eq!(new, 1, "one of them takes the place, the other is its repeat");
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_so_many_are_remembered() {
        let seen = seen(100);
        for key in 0..=250 {
            claim(&seen, key).await.unwrap().acknowledged(1);
            let state = seen.state.lock();
            assert!(state.current.len() + state.previous.len() <= 100);
        }
        assert!(claim(&seen, 250).await.is_none() && claim(&seen, 0).await.is_some());
    }
}
