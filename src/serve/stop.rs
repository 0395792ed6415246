//! Stops a server in stages. Each stage has its own deadline, so that a sender that does not finish
//! takes no time from delivery.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::server::{Server, ended};
use livekit_otel_export::Exporter;
use livekit_otel_ledger::Snapshot;
use livekit_otel_ledger::faults::{Fault, Faults};
use livekit_otel_pipeline::Ended;

// Senders have this fraction of the shutdown timeout to finish what they began, …
const SOURCES: u32 = 5;
// … and at most this time. LiveKit sends a slower body again.
const MAX_SOURCES: Duration = Duration::from_secs(2);
// The fraction of the shutdown timeout until accepted input is processed.
const PIPELINE: u32 = 2;
// For the last collection of the program's own metrics, which normally takes no time.
const LAST_METRICS: Duration = Duration::from_secs(1);
// After the shutdown timeout, for the snapshot that the next start loads.
const SAVING: Duration = Duration::from_secs(5);

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The ledger after the shutdown.
    pub ledger: Snapshot,
    /// How many inputs and records are lost, as they were in memory only: those that were not processed
    /// or delivered in time, and dead letters. Those on disk for the next start do not count.
    pub undelivered: u64,
    /// Faults of the program itself.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Why the run is a failure, one line for each reason; empty for a success.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<_> = self.faults.iter().map(Fault::to_string).collect();
        if self.undelivered > 0 {
            let n = self.undelivered;
            failures.push(format!("{n} records are lost: they were in memory only"));
        }
        failures
    }
}

// The deadline of each stage.
struct Deadlines {
    sources: Instant,
    pipeline: Instant,
    delivery: Instant,
}

impl Deadlines {
    fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            sources: now + (timeout / SOURCES).min(MAX_SOURCES),
            pipeline: now + timeout / PIPELINE,
            delivery: now + timeout,
        }
    }
}

impl Server {
    /// Stops accepting, then processes and delivers, within the shutdown timeout: senders have a fifth of
    /// it, at most 2 s, to finish what they began; accepted input is processed within half of it; the
    /// rest is for delivery. Open spans end, unless the journal is on disk: then they and all that is
    /// undelivered wait for the next start. Writing the snapshot for it takes up to 5 s more.
    pub async fn shutdown(mut self) -> Report {
        let deadlines = Deadlines::new(Instant::now(), self.shutdown_timeout);
        let listening = self.listeners.faults.clone();
        let reconciler = async {
            if let Some(reconciler) = self.reconciler {
                reconciler.stop(deadlines.sources).await;
            }
        };
        tokio::join!(self.listeners.stop(deadlines.sources), reconciler);
        // Without sources the journal ends, and then the pipeline.
        let ended = timeout_at(deadlines.pipeline, ended(&mut self.pipeline)).await;
        let is_broken = matches!(ended, Ok(None));
        if ended.is_err() {
            if let Some(pipeline) = self.pipeline {
                pipeline.abort();
                // Until it has ended, it could process more than is counted below.
                let _ = pipeline.await;
            }
            tracing::warn!("accepted input could not be processed in time");
        }
        let collected = (Instant::now() + LAST_METRICS).min(deadlines.delivery);
        if timeout_at(collected, self.flush_timer.stop()).await.is_err() {
            tracing::warn!("the last metrics could not be collected in time");
        }
        self.readiness_watch.abort();
        self.exporter.shutdown(deadlines.delivery).await;
        if let Ok(ended) = ended {
            save(ended, self.exporter.clone()).await;
        }
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        let ledger = self.ledger.snapshot().ended();
        // With a disk, only own metrics are lost, which are cumulative and sent again by the next start.
        let undelivered = if self.is_durable { 0 } else { ledger.lost_by_shutdown() };
        let parts = [self.faults, listening, self.exporter.faults().clone()];
        let broken = is_broken.then_some("the pipeline").into_iter();
        let broken = broken.chain(parts.iter().flat_map(Faults::all));
        let mut faults: Vec<_> = broken.map(Fault::Panicked).collect();
        if let Err(imbalance) = ledger.check() {
            tracing::error!(%imbalance, "the ledger does not add up");
            faults.push(Fault::Imbalance(imbalance));
        }
        Report { ledger, undelivered, faults }
    }
}

// Writes the state for the next start.
async fn save(ended: Option<Ended>, exporter: Exporter) {
    // On a blocking thread, which the timeout can leave behind if the disk hangs.
    let saved = tokio::task::spawn_blocking(move || match ended {
        Some(ended) => ended.save(),
        // The state of a panicked pipeline can't be used; its outputs can.
        None => {
            if let Err(error) = exporter.save() {
                tracing::error!(%error, "undelivered records can't be written to disk");
            }
        }
    });
    if timeout_at(Instant::now() + SAVING, saved).await.is_err() {
        tracing::warn!("the snapshot was not written in time: the next start replays the journal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_do_not_finish_leave_most_of_the_time_for_delivery() {
        let now = Instant::now();
        for (timeout, expected) in [(10_000, 2000), (1000, 200), (60_000, 2000)] {
            let timeout = Duration::from_millis(timeout);
            let Deadlines { sources, pipeline, delivery } = Deadlines::new(now, timeout);
            assert_eq!(sources - now, Duration::from_millis(expected));
            assert_eq!((pipeline - now, delivery - now), (timeout / 2, timeout));
        }
    }
}
