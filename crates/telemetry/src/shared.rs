//! What a service's handle, its tasks and its callers share: the shards and the calls that wait in them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::call::{Call, Job};
use super::outlet::Outlet;
use super::shard::Shard;
use livekit_otel_engine::stats::worker::{StatsKey, hash_of};
use livekit_otel_ledger::faults::Faults;
use livekit_otel_ledger::{Ledger, Refused};
use livekit_otel_livekit::StatReport;
use livekit_otel_livekit::messages::AnalyticsStat;
use livekit_otel_model::Source;

// Many more than threads, so that two threads seldom meet.
const SHARDS: usize = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    shards: Vec<Shard>,
    pub(super) outlet: Outlet,
    queued: AtomicUsize,
    max_queued: usize,
    // Shards that the draining task has to run.
    ready: Mutex<Vec<usize>>,
    // No more calls are accepted.
    is_closing: AtomicBool,
    // The queued calls are the last ones.
    is_over: AtomicBool,
    // A call is queued, or it is over.
    wake: Notify,
    // No call is queued.
    done: Notify,
    flushing: Mutex<()>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) faults: Faults,
}

fn shard_of(hash: u64) -> usize {
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

impl Shared {
    pub(super) fn new(outlet: Outlet, max_queued: usize, ledger: Arc<Ledger>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            outlet,
            queued: AtomicUsize::new(0),
            max_queued,
            ready: Mutex::default(),
            is_closing: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            wake: Notify::new(),
            done: Notify::new(),
            flushing: Mutex::new(()),
            ledger,
            faults: Faults::default(),
        }
    }

    /// How many calls are queued.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// How many stats workers and streams there are.
    pub(super) fn held(&self) -> (usize, usize) {
        let all = self.shards.iter().map(Shard::held);
        all.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1))
    }

    /// Queues a job at its shard, which the draining task runs next.
    pub(super) fn enqueue(&self, job: Job) {
        if let Some(shard) = self.try_push(job) {
            self.wake_for(shard);
        }
    }

    /// Queues the result of a webhook, which is not refused: the service itself reports it.
    pub(super) fn enqueue_processed(&self, job: Job) {
        if !self.is_over() {
            self.wake_for(self.push(job));
        }
    }

    /// Applies a report at once, or queues it.
    pub(super) fn apply_report(&self, key: &StatsKey, stat: &AnalyticsStat) {
        let shard = shard_of(key.room_hash());
        let metrics = &self.outlet.metrics;
        let is_open = !self.is_closing.load(Ordering::Relaxed);
        let done = is_open
            .then(|| self.shards[shard].try_report(key, &StatReport(stat), metrics))
            .flatten();
        if let Some(done) = done {
            return self.did(done);
        }
        let call = Call::Stats(key.clone(), Box::new(stat.clone()));
        if self.try_push(Job { call, caller: None }).is_some() {
            self.did(self.shards[shard].help(metrics));
            // Another thread is at the shard for longer, or the queue is too long for a media thread.
            if self.shards[shard].waiting() > 0 {
                self.wake_for(shard);
            }
        }
    }

    // Returns the shard, unless the job was refused.
    fn try_push(&self, job: Job) -> Option<usize> {
        let is_full = self.queued.load(Ordering::Relaxed) >= self.max_queued;
        if is_full || self.is_closing() {
            let source = match job.call {
                Call::Stats(..) => Source::Stats,
                Call::LocalRoomState(_) => Source::NodeRooms,
                _ => Source::Events,
            };
            self.ledger.refused(source, Refused::Busy);
            return None;
        }
        Some(self.push(job))
    }

    fn push(&self, job: Job) -> usize {
        let shard = shard_of(hash_of(job.call.order_key()));
        self.queued.fetch_add(1, Ordering::AcqRel);
        self.shards[shard].push(job);
        shard
    }

    // Has the draining task run a shard.
    fn wake_for(&self, shard: usize) {
        self.ready.lock().push(shard);
        self.wake.notify_one();
    }

    // This many queued jobs are done.
    fn did(&self, jobs: usize) {
        if jobs > 0 && self.queued.fetch_sub(jobs, Ordering::AcqRel) == jobs {
            self.done.notify_waiters();
        }
    }

    /// Accepts no more calls.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Ends the draining task once nothing is queued.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits until nothing is queued.
    pub(super) async fn idle(&self) {
        loop {
            let done = self.done.notified();
            if self.queued() == 0 {
                return;
            }
            self.wake.notify_one();
            done.await;
        }
    }

    /// Upstream's FlushStats: flushes the windows and reports of all shards. One flush runs at a time.
    /// The receiver hears once the engine has flushed.
    pub(super) fn flush(&self) -> Option<oneshot::Receiver<()>> {
        let _one = self.flushing.lock();
        let at = self.outlet.now();
        let mut windows = Vec::new();
        let mut invalid = 0;
        for (nth, shard) in self.shards.iter().enumerate() {
            invalid += shard.flush(at, &mut windows, &self.outlet.metrics);
            if shard.waiting() > 0 {
                // A thread that queued during this flush did not wait for it.
                self.wake_for(nth);
            }
            for flushed in windows.drain(..) {
                self.outlet.stats(&flushed, at);
            }
        }
        if invalid > 0 {
            self.ledger.unusable(Source::Stats, invalid);
            tracing::warn!(invalid, "skipped stats with negative counts");
        }
        let reports = || self.outlet.metrics.drain().of(self.outlet.node.clone());
        self.outlet.engine.as_ref().map(|engine| engine.flush(reports()))
    }

    // Applies the jobs that are queued now, shard by shard; returns whether there was a shard.
    fn run(&self) -> bool {
        let ready = std::mem::take(&mut *self.ready.lock());
        for shard in &ready {
            self.did(self.shards[*shard].run(&self.outlet));
        }
        !ready.is_empty()
    }
}

/// Flushes a service that is still there.
pub(super) fn flush(shared: &Weak<Shared>) {
    if let Some(shared) = shared.upgrade() {
        shared.flush();
    }
}

/// Flushes at an interval until the service is gone.
pub(super) async fn flush_periodically(shared: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match shared.upgrade() {
            Some(shared) if !shared.is_closing() => shared.flush(),
            _ => return,
        };
    }
}

/// Applies calls until it is over and nothing is queued.
pub(super) async fn drain(shared: Arc<Shared>) {
    loop {
        while shared.run() {
            // Other tasks have turns on this thread.
            tokio::task::yield_now().await;
        }
        if shared.is_over() && shared.queued() == 0 {
            return;
        }
        shared.wake.notified().await;
    }
}
