//! The connections of a listener: at the limit, a new one displaces the one that was idle for longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::{Budget, Share};
use livekit_otel_ledger::{Ledger, Listener};

// A connection with an open request is displaced if nothing arrived on it for this time, and none is idle.
const QUIET: Duration = Duration::from_secs(30);
// Interval of checks for such a connection.
const RECHECK: Duration = Duration::from_secs(1);
// A listener at its limit is logged once in this time.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The connections of a listener.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    listener: Listener,
    max: usize,
    idle: Duration,
    ledger: Arc<Ledger>,
    places: Mutex<Places>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, Arc<Use>>,
    logged: Option<Instant>,
}

/// How a connection is used.
#[derive(Debug)]
pub(super) struct Use {
    since: Instant,
    requests: AtomicUsize,
    // Milliseconds from `since` to the last use.
    used: AtomicU64,
    displaced: Notify,
    share: OnceLock<Share>,
    upload_share: OnceLock<Share>,
}

impl Use {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            requests: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            displaced: Notify::new(),
            share: OnceLock::new(),
            upload_share: OnceLock::new(),
        }
    }

    /// The connection's share of its listener's budget.
    pub(super) fn share(&self, budget: &Budget) -> Share {
        self.share.get_or_init(|| budget.share()).clone()
    }

    /// The connection's share of the budget of uploads.
    pub(super) fn upload_share(&self, budget: &Budget) -> Share {
        self.upload_share.get_or_init(|| budget.share()).clone()
    }

    /// Records that a part of a request arrived.
    pub(super) fn touch(&self) {
        let used = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(used, Relaxed);
    }

    fn is_open(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    fn used(&self) -> Instant {
        self.since + Duration::from_millis(self.used.load(Relaxed))
    }
}

impl Connections {
    /// At most `max` connections, each for at most `idle` without a request.
    pub(super) fn new(listener: Listener, max: usize, idle: Duration, ledger: Arc<Ledger>) -> Self {
        let places = Mutex::default();
        let shared = Shared { listener, max, idle, ledger, places, freed: Notify::new() };
        Self(Arc::new(shared))
    }

    /// Waits for a place for a new connection.
    pub(super) async fn place(&self) -> Place {
        loop {
            let freed = self.0.freed.notified();
            if let Some(place) = self.try_place() {
                return place;
            }
            // Try again after either.
            let _ = tokio::time::timeout(RECHECK, freed).await;
        }
    }

    fn try_place(&self) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.0.max {
            self.log_limit(&mut places);
            let quiet = |usage: &Use| !usage.is_open() || usage.used().elapsed() >= QUIET;
            let candidates = places.taken.iter().filter(|(_, usage)| quiet(usage));
            let oldest = candidates.min_by_key(|(_, usage)| (usage.is_open(), usage.used()));
            let oldest = oldest.map(|(number, _)| *number)?;
            let displaced = places.taken.remove(&oldest)?;
            displaced.displaced.notify_one();
            self.0.ledger.displaced(self.0.listener);
        }
        let number = places.next;
        places.next += 1;
        let usage = Arc::new(Use::new());
        places.taken.insert(number, Arc::clone(&usage));
        drop(places);
        self.0.ledger.connected(self.0.listener);
        Some(Place { connections: self.clone(), number, usage })
    }

    fn log_limit(&self, places: &mut Places) {
        if places.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            places.logged = Some(Instant::now());
            let (listener, max) = (self.0.listener.as_str(), self.0.max);
            tracing::warn!(
                listener,
                max,
                "listen.max_connections is reached: each new connection closes the one that is idle for longest"
            );
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock()
    }
}

/// A connection's place among those of its listener, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    number: u64,
    usage: Arc<Use>,
}

impl Place {
    pub(super) fn usage(&self) -> &Arc<Use> {
        &self.usage
    }

    /// Opens a request on the connection, until the result is dropped.
    pub(super) fn request(self: &Arc<Self>) -> OpenRequest {
        self.usage.requests.fetch_add(1, Relaxed);
        self.usage.touch();
        OpenRequest(Arc::clone(self))
    }

    /// Returns once another connection has taken the place.
    pub(super) async fn displaced(&self) {
        self.usage.displaced.notified().await;
    }

    /// Returns once the connection had no request for the idle time.
    pub(super) async fn idle(&self) {
        let idle = self.connections.0.idle;
        loop {
            let since = if self.usage.is_open() { Instant::now() } else { self.usage.used() };
            if since.elapsed() >= idle {
                return;
            }
            tokio::time::sleep_until(since + idle).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.places().taken.remove(&self.number);
        self.connections.0.ledger.disconnected(self.connections.0.listener);
        self.connections.0.freed.notify_waiters();
    }
}

/// A request whose answer is not completely written yet.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Place>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.usage.touch();
        self.0.usage.requests.fetch_sub(1, Relaxed);
        self.0.connections.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize) -> (Connections, Arc<Ledger>) {
        let ledger = Arc::new(Ledger::default());
        let idle = Duration::from_secs(30);
        (Connections::new(Listener::Streams, max, idle, Arc::clone(&ledger)), ledger)
    }

    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(1), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_connection_that_is_idle_for_longest_is_displaced() {
        let (connections, ledger) = connections(3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(Arc::new(connections.place().await));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _open = places[0].request();
        // Used again, so that the third is idle for longest.
        drop(places[1].request());
        let _new = now(connections.place()).await.unwrap();
        let displaced = places.iter().map(|place| now(place.displaced()));
        let displaced = futures_util::future::join_all(displaced).await;
        assert_eq!(displaced, [None, None, Some(())]);
        let row = &ledger.snapshot().connections[Listener::Streams as usize];
        assert_eq!((row.open, row.displaced), (4, 1), "until the third is dropped");
        drop(places);
        let row = &ledger.snapshot().connections[Listener::Streams as usize];
        assert_eq!((row.open, row.displaced), (2, 1), "one is kept by its request");
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_have_requests_a_new_connection_waits_for_an_end_or_for_a_quiet_one() {
        let (connections, _) = connections(2);
        let places = [Arc::new(connections.place().await), Arc::new(connections.place().await)];
        let mut open = places.each_ref().map(|place| Some(place.request()));
        assert!(now(connections.place()).await.is_none());
        open[1] = None;
        let third = Arc::new(now(connections.place()).await.unwrap());
        let _open = third.request();
        assert!(now(connections.place()).await.is_none());
        tokio::time::advance(Duration::from_secs(29)).await;
        third.usage().touch();
        tokio::time::advance(Duration::from_secs(2)).await;
        let _fourth = now(connections.place()).await.unwrap();
        assert!(now(places[0].displaced()).await.is_some());
        assert!(now(third.displaced()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_after_a_time_without_requests() {
        let (connections, _) = connections(1);
        let place = Arc::new(connections.place().await);
        let request = place.request();
        assert!(tokio::time::timeout(Duration::from_mins(5), place.idle()).await.is_err());
        drop(request);
        let ended = Instant::now();
        place.idle().await;
        assert!(ended.elapsed() >= Duration::from_secs(30));
    }
}
