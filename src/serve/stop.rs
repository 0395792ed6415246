//! How a server stops: stage by stage, each with a bound of its own, so that a sender that does not
//! finish takes no time from the delivery.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

use super::{Server, ended};
use livekit_otel_ledger::Snapshot;
use livekit_otel_ledger::faults::{Fault, Faults};

// Of the time for all: how long senders may finish what they began, …
const SOURCES: u32 = 5;
// … and at most. A body that takes longer is sent again by LiveKit.
const MAX_SOURCES: Duration = Duration::from_secs(2);
// How much of it what was accepted may take until it is processed.
const PIPELINE: u32 = 2;
// A last collection of the program's own metrics takes no time where nothing is wrong.
const CLOCK: Duration = Duration::from_secs(1);
// On top of all: to write the snapshot that a restart begins with.
const SAVING: Duration = Duration::from_secs(5);

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The ledger at the end.
    pub ledger: Snapshot,
    /// How many inputs and records were in memory only as the program ended, and are lost: what could
    /// not be processed or delivered in time, and what was set aside there. What is on disk for the
    /// next start is none of them.
    pub undelivered: u64,
    /// What went wrong inside of the program.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Why the run is a failure, a line for each reason; empty where it is none.
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<_> = self.faults.iter().map(Fault::to_string).collect();
        if self.undelivered > 0 {
            let n = self.undelivered;
            failures.push(format!("{n} records are lost: they were in memory only at the end"));
        }
        failures
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// It drained.
    Drained(Box<Report>),
    /// A second signal, of this number, ended it before it had.
    Interrupted(u8),
}

// When each stage is over, at the latest.
struct Bounds {
    sources: Instant,
    pipeline: Instant,
    delivery: Instant,
}

impl Bounds {
    fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            sources: now + (timeout / SOURCES).min(MAX_SOURCES),
            pipeline: now + timeout / PIPELINE,
            delivery: now + timeout,
        }
    }
}

impl Server {
    /// Stops accepting, processes and delivers, within the shutdown timeout: senders have a fifth of it
    /// and at most 2 s to finish what they began, what was accepted is processed in half of it, and the
    /// rest is for the delivery. What is open ends, or with a journal on disk waits there, with all
    /// else, for the next start; what that needs is written in up to 5 s more.
    pub async fn shutdown(mut self) -> Report {
        let bounds = Bounds::new(Instant::now(), self.shutdown_timeout);
        let listening = self.listeners.faults.clone();
        let reconciler = async {
            if let Some(reconciler) = self.reconciler {
                reconciler.stop(bounds.sources).await;
            }
        };
        tokio::join!(self.listeners.stop(bounds.sources), reconciler);
        // With the sources gone the journal ends, and with it the pipeline.
        let ended = timeout_at(bounds.pipeline, ended(&mut self.pipeline)).await;
        let is_broken = matches!(ended, Ok(None));
        if ended.is_err() {
            if let Some(pipeline) = self.pipeline {
                pipeline.abort();
                // Only once it is gone nothing is processed behind the count.
                let _ = pipeline.await;
            }
            tracing::warn!("not all that was accepted could be processed in time");
        }
        let clock = (Instant::now() + CLOCK).min(bounds.delivery);
        if timeout_at(clock, self.clock.stop()).await.is_err() {
            tracing::warn!("the last metrics could not be collected in time");
        }
        if let Some(watch) = self.watch {
            watch.abort();
        }
        self.exporter.shutdown(bounds.delivery).await;
        if let Ok(ended) = ended {
            let exporter = self.exporter.clone();
            // On a thread that is not waited for where the disk hangs.
            let saved = tokio::task::spawn_blocking(move || match ended {
                Some(ended) => ended.save(),
                // The state of what broke off is not to be used; what it had made is.
                None => {
                    if let Err(error) = exporter.save() {
                        tracing::error!(%error, "what waits can't be put on disk");
                    }
                }
            });
            if timeout_at(Instant::now() + SAVING, saved).await.is_err() {
                tracing::warn!("no snapshot was written in time: the next start reads the journal");
            }
        }
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        let ledger = self.ledger.snapshot().ended();
        // On disk what is lost is the program's own metrics, told again after the next start.
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

/// SIGTERM as an orchestrator sends it, and SIGINT, as by ctrl-c.
pub(super) struct Signals([Option<Signal>; 2]);

impl Signals {
    /// Takes both from now on. Without a handler a signal ends the process on its own.
    pub(super) fn new() -> Self {
        Self([SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok()))
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u8 {
        let [terminate, interrupt] = &mut self.0;
        let next = async |signal: &mut Option<Signal>| {
            let received = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if received.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = next(terminate) => number(SignalKind::terminate()),
            () = next(interrupt) => number(SignalKind::interrupt()),
        }
    }
}

fn number(kind: SignalKind) -> u8 {
    u8::try_from(kind.as_raw_value()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_do_not_finish_leave_most_of_the_time_to_the_delivery() {
        let now = Instant::now();
        for (timeout, sources) in [(10_000, 2000), (1000, 200), (60_000, 2000)] {
            let timeout = Duration::from_millis(timeout);
            let Bounds { sources: until, pipeline, delivery } = Bounds::new(now, timeout);
            assert_eq!(until - now, Duration::from_millis(sources));
            assert_eq!((pipeline - now, delivery - now), (timeout / 2, timeout));
        }
    }
}
