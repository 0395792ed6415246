//! The running service.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::call::{Call, Job};
use super::engine::{PIPELINE, Running};
use super::node::NodeMetrics;
use super::outlet::Outlet;
use super::shared::Shared;
use livekit_otel_engine::stats::worker::StatsKey;
use livekit_otel_ledger::Snapshot;
use livekit_otel_ledger::faults::Fault;
use livekit_otel_livekit::messages::AnalyticsStat;
use livekit_otel_model::event::Caller;
use livekit_otel_pipeline::periodic;

/// LiveKit's telemetry service. Its calls are those of [`super::TelemetryService`]; they never
/// block.
///
/// Calls are queued by room, so that each room's order is kept; a stats report is applied at once if
/// nothing is queued before it. A service that is dropped without [`Telemetry::shutdown`] applies
/// its queued calls, and loses the records that are not delivered by then.
#[derive(Debug)]
pub struct Telemetry {
    pub(super) shared: Arc<Shared>,
    pub(super) otel: Mutex<Option<(Running, periodic::FlushTimer)>>,
}

/// The result of a service's run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The ledger at the end.
    pub ledger: Snapshot,
    /// How many records were not delivered and calls not processed in time.
    pub undelivered: u64,
    /// Faults of the service itself: a part that panicked, or a ledger that does not add up.
    pub faults: Vec<Fault>,
}

impl Telemetry {
    /// Records what no call of the service reports: failed joins, latencies.
    pub fn node(&self) -> &NodeMetrics {
        &self.outlet().metrics
    }

    /// The count of every record: accepted, delivered, waiting, or lost.
    pub fn ledger(&self) -> Snapshot {
        self.shared.ledger.snapshot()
    }

    /// How many stats workers there are, and how many streams have a window.
    pub fn held(&self) -> (usize, usize) {
        self.shared.held()
    }

    /// How many calls of the analytics service, the notifier or the clock panicked. Each ended alone,
    /// and what it should have sent is not sent again.
    pub fn panics(&self) -> u64 {
        self.outlet().guarded.panics()
    }

    /// Waits until no call is queued.
    pub async fn idle(&self) {
        self.shared.idle().await;
    }

    /// Applies the queued calls and flushes the stats workers and the instruments. When this returns,
    /// their records are queued for delivery. Does nothing after [`Telemetry::shutdown`], which
    /// flushes.
    ///
    /// # Errors
    /// If the pipeline panicked: nothing was flushed, and nothing more is delivered.
    pub async fn force_flush(&self) -> Result<(), Fault> {
        self.shared.idle().await;
        let Some(flushed) = self.shared.flush() else { return Ok(()) };
        // A pipeline that a shutdown has ended has flushed.
        let is_shut = || self.shared.is_closing();
        flushed.await.or_else(|_| if is_shut() { Ok(()) } else { Err(Fault::Panicked(PIPELINE)) })
    }

    /// Accepts no more calls, applies the queued ones, stops the notifier, flushes, stops the
    /// analytics service and delivers, all until `deadline` of tokio's clock.
    pub async fn shutdown(&self, deadline: Instant) -> Report {
        let shared = &self.shared;
        shared.close();
        let settle = async {
            shared.idle().await;
            // The results of the last webhooks are events too.
            shared.outlet.stop_notifier(deadline).await;
            shared.idle().await;
        };
        if tokio::time::timeout_at(deadline, settle).await.is_err() {
            tracing::warn!("not all calls could be processed in time");
        }
        shared.flush();
        shared.end();
        if let Some(engine) = &shared.outlet.engine {
            engine.close();
        }
        shared.outlet.stop_analytics(deadline).await;
        let otel = self.otel.lock().take();
        let mut panicked = shared.faults.all();
        if let Some((running, clock)) = otel {
            panicked.extend(running.shutdown(clock, deadline).await);
        }
        let mut faults: Vec<_> = panicked.into_iter().map(Fault::Panicked).collect();
        let ledger = shared.ledger.snapshot().ended();
        if let Err(imbalance) = ledger.check() {
            tracing::error!(%imbalance, "the ledger does not add up");
            faults.push(Fault::Imbalance(imbalance));
        }
        let queued = shared.queued() as u64;
        Report { undelivered: ledger.lost_by_shutdown() + queued, ledger, faults }
    }

    pub(super) fn enqueue(&self, call: Call, caller: Option<Caller>) {
        self.shared.enqueue(Job { call, caller });
    }

    pub(super) fn apply_report(&self, key: &StatsKey, stat: &AnalyticsStat) {
        self.shared.apply_report(key, stat);
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.shared.outlet
    }

    pub(super) fn flush_now(&self) {
        self.shared.flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.end();
    }
}
