//! The service: calls in, what they become out to the engine, the analytics and the webhooks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::call::{Call, Job};
use super::engine::{OtelSettings, PIPELINE, Running};
use super::node::NodeMetrics;
use super::outlet::{Guarded, Outlet};
use super::shard::Shard;
use super::{AnalyticsService, Clock, QueuedNotifier};
use livekit_otel_engine::stats::worker::{StatsKey, hash_of};
use livekit_otel_export as export;
use livekit_otel_ledger::faults::{Fault, Faults};
use livekit_otel_ledger::{Ledger, Refused, Snapshot};
use livekit_otel_livekit::StatReport;
use livekit_otel_livekit::messages::AnalyticsStat;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Caller, NodeId};
use livekit_otel_pipeline::periodic;

// Many more than threads: two of them seldom meet.
const SHARDS: usize = 1024;

const NEVER: Duration = Duration::from_hours(24 * 365);

/// How a [`Telemetry`] is set up. Everything has a default; without [`Builder::otel`] and
/// [`Builder::analytics`] nobody is told of anything but the webhooks.
#[must_use]
pub struct Builder {
    node: Option<NodeId>,
    otel: Option<OtelSettings>,
    analytics: Option<Arc<dyn AnalyticsService>>,
    notifier: Option<Arc<dyn QueuedNotifier>>,
    max_queued: usize,
    flush_interval: Duration,
    clock: Option<Clock>,
}

impl Builder {
    /// This node's id, `ND_…`.
    pub fn node_id(mut self, id: &str) -> Self {
        self.node = NodeId::new(id);
        self
    }

    /// Makes spans, log records and metrics, and delivers them over OTLP.
    pub fn otel(mut self, settings: OtelSettings) -> Self {
        self.otel = Some(settings);
        self
    }

    /// Tells an analytics service too, such as a central `livekit-otel serve`.
    pub fn analytics(mut self, service: Arc<dyn AnalyticsService>) -> Self {
        self.analytics = Some(service);
        self
    }

    /// Notifies webhooks; each that was processed is an event.
    pub fn notifier(mut self, notifier: Arc<dyn QueuedNotifier>) -> Self {
        self.notifier = Some(notifier);
        self
    }

    /// How many calls may wait; 65,536 by default. Past it they are refused and counted.
    pub fn max_queued(mut self, calls: usize) -> Self {
        self.max_queued = calls;
        self
    }

    /// How often the stats workers are flushed; every 30 s by default, never where it is zero.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// What the time is, for a simulation: of all that is sent, and of the webhooks that the notifier
    /// reports. Whatever it says, intervals and time limits are those of tokio's clock, the
    /// program's own metrics (`lk.otel.*`) have the system's time, and so have signatures.
    pub fn clock(
        mut self,
        now: impl Fn() -> livekit_otel_model::event::Time + Send + Sync + 'static,
    ) -> Self {
        self.clock = Some(Clock::new(now));
        self
    }

    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// Where the OTLP settings can't be used whatever the collector does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<Telemetry, export::StartError> {
        let ledger = Arc::new(Ledger::default());
        let histograms = self.otel.as_ref().map(|settings| settings.stats.histograms);
        let guarded = Arc::new(Guarded::default());
        let given = self.clock.map(|clock| guard_clock(&guarded, clock));
        let clock = given.clone().unwrap_or_default();
        let (running, engine) = match self.otel {
            Some(settings) => {
                let (running, inlet) = Running::start(&settings, &ledger, &clock)?;
                (Some(running), Some(inlet))
            }
            None => (None, None),
        };
        let notifier = self.notifier.clone();
        let (node, analytics) = (self.node, self.analytics);
        let inner = Arc::new(Inner {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            outlet: Outlet {
                clock,
                guarded,
                node,
                metrics: NodeMetrics::new(histograms.unwrap_or_default()),
                engine,
                analytics,
                notifier: self.notifier,
            },
            queued: AtomicUsize::new(0),
            ready: Mutex::default(),
            max_queued: self.max_queued,
            is_closing: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            wake: Notify::new(),
            done: Notify::new(),
            flushing: Mutex::new(()),
            ledger,
            faults: Faults::default(),
        });
        if let Some(notifier) = notifier {
            if let Some(clock) = given {
                notifier.set_clock(clock);
            }
            let told = Arc::downgrade(&inner);
            notifier.register_processed_hook(Arc::new(move |info| {
                if let Some(inner) = told.upgrade()
                    && !inner.is_over.load(Ordering::Acquire)
                {
                    let call = Call::Webhook(Box::new(info));
                    inner.wake_for(inner.enqueue_always(Job { call, caller: None }));
                }
            }));
        }
        let clock = running.as_ref().map(|running| {
            let ticked = Arc::downgrade(&inner);
            // The SDK takes zero for its own default.
            let zero = self.flush_interval.is_zero();
            let interval = if zero { NEVER } else { self.flush_interval };
            running.clock(interval, &inner.ledger, move || flush(&ticked))
        });
        if clock.is_none() && !self.flush_interval.is_zero() {
            let (faults, ticks) =
                (inner.faults.clone(), tick(Arc::downgrade(&inner), self.flush_interval));
            tokio::spawn(async move { faults.watch("the clock of the stats", ticks).await });
        }
        let (faults, draining) = (inner.faults.clone(), drain(Arc::clone(&inner)));
        tokio::spawn(async move { faults.watch("the queue of calls", draining).await });
        let otel = Mutex::new(running.zip(clock));
        Ok(Telemetry { inner, otel })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("node", &self.node)
            .field("otel", &self.otel)
            .field("max_queued", &self.max_queued)
            .field("flush_interval", &self.flush_interval)
            .finish_non_exhaustive()
    }
}

/// LiveKit's telemetry service. Its calls are those of [`super::TelemetryService`]; they never
/// wait.
///
/// A call's work is queued by its room, so that order is kept for each; a stats report is taken in
/// at once where nothing is before it. Dropped without [`Telemetry::shutdown`] it does what is
/// queued, and what was not delivered by then is lost.
#[derive(Debug)]
pub struct Telemetry {
    inner: Arc<Inner>,
    otel: Mutex<Option<(Running, periodic::Clock)>>,
}

/// What came of a service's run.
#[derive(Debug)]
pub struct Report {
    /// The ledger at the end.
    pub ledger: Snapshot,
    /// How many records could not be delivered, or calls not be processed, in time.
    pub undelivered: u64,
    /// What went wrong inside of the service: a part that ended by a panic, or a ledger that does not
    /// add up.
    pub faults: Vec<Fault>,
}

#[derive(Debug)]
pub(super) struct Inner {
    shards: Vec<Shard>,
    pub(super) outlet: Outlet,
    queued: AtomicUsize,
    max_queued: usize,
    // Shards that the task has to come to.
    ready: Mutex<Vec<usize>>,
    // No more calls are taken.
    is_closing: AtomicBool,
    // What is queued is the last.
    is_over: AtomicBool,
    // Something is queued, or it is over.
    wake: Notify,
    // Nothing is queued.
    done: Notify,
    flushing: Mutex<()>,
    ledger: Arc<Ledger>,
    faults: Faults,
}

impl Telemetry {
    /// Nothing set up yet.
    pub fn builder() -> Builder {
        Builder {
            node: None,
            otel: None,
            analytics: None,
            notifier: None,
            max_queued: 65_536,
            flush_interval: Duration::from_secs(30),
            clock: None,
        }
    }

    /// What no call of the service tells: joins that fail, latencies.
    pub fn node(&self) -> &NodeMetrics {
        &self.inner.outlet.metrics
    }

    /// What came in, what went out, and what became of the rest.
    pub fn ledger(&self) -> Snapshot {
        self.inner.ledger.snapshot()
    }

    /// How many stats workers there are, and how many streams have a window.
    pub fn held(&self) -> (usize, usize) {
        let all = self.inner.shards.iter().map(Shard::held);
        all.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1))
    }

    /// How many calls of the analytics service, the notifier or the clock panicked. Each ended alone:
    /// what it was to send is not sent again.
    pub fn panics(&self) -> u64 {
        self.inner.outlet.guarded.panics()
    }

    /// Waits until nothing is queued.
    pub async fn idle(&self) {
        self.inner.idle().await;
    }

    /// Does what is queued and flushes the stats workers and the instruments; what that makes is
    /// queued for delivery when this returns. After [`Telemetry::shutdown`], which flushes, it does nothing.
    ///
    /// # Errors
    /// Where the pipeline broke off by a panic: nothing was flushed, and nothing more is delivered.
    pub async fn force_flush(&self) -> Result<(), Fault> {
        self.inner.idle().await;
        let Some(flushed) = self.inner.flush() else { return Ok(()) };
        // A pipeline that a shutdown has ended has flushed.
        let is_shut = || self.inner.is_closing.load(Ordering::Acquire);
        flushed.await.or_else(|_| if is_shut() { Ok(()) } else { Err(Fault::Panicked(PIPELINE)) })
    }

    /// Takes no more calls, does what is queued, stops the notifier, flushes, stops the analytics
    /// service and delivers, all until `deadline`.
    pub async fn shutdown(&self, deadline: Instant) -> Report {
        let inner = &self.inner;
        inner.is_closing.store(true, Ordering::Release);
        let settle = async {
            inner.idle().await;
            // Its last webhooks are told too.
            inner.outlet.stop_notifier(deadline).await;
            inner.idle().await;
        };
        if tokio::time::timeout_at(deadline, settle).await.is_err() {
            tracing::warn!("not all calls could be processed in time");
        }
        inner.flush();
        inner.end();
        if let Some(engine) = &inner.outlet.engine {
            engine.close();
        }
        inner.outlet.stop_analytics(deadline).await;
        let otel = self.otel.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut broken = inner.faults.all();
        if let Some((running, clock)) = otel {
            broken.extend(running.shutdown(clock, deadline).await);
        }
        let mut faults: Vec<_> = broken.into_iter().map(Fault::Panicked).collect();
        let ledger = inner.ledger.snapshot().ended();
        if let Err(imbalance) = ledger.check() {
            tracing::error!(%imbalance, "the ledger does not add up");
            faults.push(Fault::Imbalance(imbalance));
        }
        let queued = inner.queued.load(Ordering::Acquire) as u64;
        Report { undelivered: ledger.lost_by_shutdown() + queued, ledger, faults }
    }

    pub(super) fn enqueue(&self, call: Call, caller: Option<Caller>) {
        if let Some(shard) = self.inner.enqueue(Job { call, caller }) {
            self.inner.wake_for(shard);
        }
    }

    pub(super) fn take_report(&self, key: &StatsKey, stat: &AnalyticsStat) {
        let inner = &self.inner;
        let shard = shard_of(key.room_hash());
        let metrics = &inner.outlet.metrics;
        let is_open = !inner.is_closing.load(Ordering::Relaxed);
        let done = is_open
            .then(|| inner.shards[shard].try_report(key, &StatReport(stat), metrics))
            .flatten();
        if let Some(done) = done {
            return inner.did(done);
        }
        let call = Call::Stats(key.clone(), Box::new(stat.clone()));
        if inner.enqueue(Job { call, caller: None }).is_some() {
            inner.did(inner.shards[shard].help(metrics));
            // Somebody is at it for longer, or it is too much for a media thread.
            if inner.shards[shard].waiting() > 0 {
                inner.wake_for(shard);
            }
        }
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.inner.outlet
    }

    pub(super) fn flush_now(&self) {
        self.inner.flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.inner.is_closing.store(true, Ordering::Release);
        self.inner.end();
    }
}

// Which shard a room's hash is at.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}

impl Inner {
    // Gives the shard that it is queued at, where there was room for it.
    fn enqueue(&self, job: Job) -> Option<usize> {
        let is_full = self.queued.load(Ordering::Relaxed) >= self.max_queued;
        if is_full || self.is_closing.load(Ordering::Acquire) {
            let source = match job.call {
                Call::Stats(..) => Source::Stats,
                Call::LocalRoomState(_) => Source::NodeRooms,
                _ => Source::Events,
            };
            self.ledger.refused(source, Refused::Busy);
            return None;
        }
        Some(self.enqueue_always(job))
    }

    // Has the task come to a shard.
    fn wake_for(&self, shard: usize) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(shard);
        self.wake.notify_one();
    }

    // Gives the shard that it is queued at.
    fn enqueue_always(&self, job: Job) -> usize {
        let shard = shard_of(hash_of(job.call.room()));
        self.queued.fetch_add(1, Ordering::AcqRel);
        self.shards[shard].push(job);
        shard
    }

    // So many that were queued are done.
    fn did(&self, jobs: usize) {
        if jobs > 0 && self.queued.fetch_sub(jobs, Ordering::AcqRel) == jobs {
            self.done.notify_waiters();
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    // Does what is queued at this moment, shard by shard; says whether there was a shard.
    fn run(&self) -> bool {
        let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        for shard in &ready {
            self.did(self.shards[*shard].run(&self.outlet));
        }
        !ready.is_empty()
    }

    async fn idle(&self) {
        loop {
            let done = self.done.notified();
            if self.queued.load(Ordering::Acquire) == 0 {
                return;
            }
            self.wake.notify_one();
            done.await;
        }
    }

    // Upstream's FlushStats: windows and reports of all shards. One at a time.
    fn flush(&self) -> Option<tokio::sync::oneshot::Receiver<()>> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.outlet.now();
        let mut windows = Vec::new();
        let mut invalid = 0;
        for (nth, shard) in self.shards.iter().enumerate() {
            invalid += shard.flush(at, &mut windows, &self.outlet.metrics);
            if shard.waiting() > 0 {
                // Who queued while the flush was at it did not wait for it.
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
}

// The system's time where it panics.
fn guard_clock(guarded: &Arc<Guarded>, clock: Clock) -> Clock {
    let guarded = Arc::clone(guarded);
    let system = Clock::default();
    Clock::new(move || {
        let now = guarded.call("clock", || clock.now());
        now.unwrap_or_else(|| system.now())
    })
}

fn flush(inner: &Weak<Inner>) {
    if let Some(inner) = inner.upgrade() {
        inner.flush();
    }
}

// Until the service is gone.
async fn tick(inner: Weak<Inner>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match inner.upgrade() {
            Some(inner) if !inner.is_closing.load(Ordering::Acquire) => inner.flush(),
            _ => return,
        };
    }
}

// Until it is over and nothing is queued.
async fn drain(inner: Arc<Inner>) {
    loop {
        while inner.run() {
            // Others have turns on this thread.
            tokio::task::yield_now().await;
        }
        if inner.is_over.load(Ordering::Acquire) && inner.queued.load(Ordering::Acquire) == 0 {
            return;
        }
        inner.wake.notified().await;
    }
}
