//! A part of the rooms: their queue of calls, and their stats workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use parking_lot::Mutex;

use super::apply;
use super::call::{Call, Job};
use super::node::NodeMetrics;
use super::outlet::Outlet;
use livekit_otel_engine::stats::calls::Count;
use livekit_otel_engine::stats::worker::{Flushed, Reported, StatsKey, Workers};
use livekit_otel_livekit::StatReport;
use livekit_otel_model::event::Time;
use livekit_otel_model::event::report::Report;

#[derive(Debug, Default)]
pub(super) struct Shard {
    state: Mutex<State>,
    queue: Mutex<Vec<Job>>,
    // The queue's length, so that a report need not lock it to see that it is empty.
    waiting: AtomicUsize,
    invalid: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    workers: Workers,
    // Swapped with the queue, so that neither is allocated again.
    batch: Vec<Job>,
}

// How many queued reports the thread of a report may apply for others.
const FEW: usize = 32;

impl Shard {
    /// Applies a report at once if no other thread is at these rooms and at most a few reports are
    /// queued before it; `None` if it has to be queued. Returns how many queued reports were applied
    /// too.
    pub(super) fn try_report(
        &self,
        key: &StatsKey,
        report: &impl Report,
        node: &NodeMetrics,
    ) -> Option<usize> {
        let (done, reported) = {
            let mut state = self.state.try_lock()?;
            // What this thread queued before is visible here.
            let done = match self.waiting.load(Ordering::SeqCst) {
                0 => 0,
                waiting if waiting <= FEW => self.run_reports(&mut state, node)?,
                _ => return None,
            };
            (done, state.workers.report(key, report))
        };
        self.count(reported, key, report, node);
        Some(done + self.help(node))
    }

    /// Applies the few reports that are queued, unless another thread is at these rooms: then that one
    /// will. The thread that queues and the thread that releases the rooms both look, so that no report
    /// is left behind.
    pub(super) fn help(&self, node: &NodeMetrics) -> usize {
        let mut done = 0;
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.waiting.load(Ordering::SeqCst);
            if waiting == 0 || waiting > FEW {
                return done;
            }
            let Some(mut state) = self.state.try_lock() else { return done };
            match self.run_reports(&mut state, node) {
                Some(more) => done += more,
                None => return done,
            }
        }
    }

    // Applies the queue if it holds nothing but reports; returns how many.
    fn run_reports(&self, state: &mut State, node: &NodeMetrics) -> Option<usize> {
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = self.queue.lock();
            if queue.iter().all(|job| matches!(job.call, Call::Stats(..))) {
                std::mem::swap(&mut *queue, &mut batch);
                self.waiting.store(0, Ordering::SeqCst);
            }
        }
        let done = batch.len();
        for job in batch.drain(..) {
            if let Call::Stats(key, stat) = job.call {
                let reported = state.workers.report(&key, &StatReport(&stat));
                self.count(reported, &key, &StatReport(&stat), node);
            }
        }
        state.batch = batch;
        (done > 0).then_some(done)
    }

    /// Queues a job. Waits for no longer than another thread takes to do the same.
    pub(super) fn push(&self, job: Job) {
        let mut queue = self.queue.lock();
        queue.push(job);
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Applies the queued jobs in their order; returns how many.
    pub(super) fn run(&self, outlet: &Outlet) -> usize {
        let mut state = self.state.lock();
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = self.queue.lock();
            std::mem::swap(&mut *queue, &mut batch);
            self.waiting.store(0, Ordering::Release);
        }
        let done = batch.len();
        for job in batch.drain(..) {
            let applied = AssertUnwindSafe(|| self.apply(&mut state, job, outlet));
            if catch_unwind(applied).is_err() {
                tracing::error!("a call panicked: what it reports is lost");
            }
        }
        state.batch = batch;
        done
    }

    /// Finishes the windows; returns how many reports were invalid.
    pub(super) fn flush(&self, now: Time, windows: &mut Vec<Flushed>, node: &NodeMetrics) -> u64 {
        let unheld = self.state.lock().workers.flush(now, |flushed| windows.push(flushed));
        if unheld > 0 {
            // No call will report that these participants left.
            node.add(Count::Participants, -unheld);
        }
        self.invalid.swap(0, Ordering::Relaxed)
    }

    /// How many workers and streams there are.
    pub(super) fn held(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.workers.len(), state.workers.streams())
    }

    // A valid report counts on the node, even of a participant without a worker.
    fn count(&self, reported: Reported, key: &StatsKey, report: &impl Report, node: &NodeMetrics) {
        match reported {
            Reported::Taken => node.report(key, report),
            Reported::NoWorker if report.is_valid() => node.report(key, report),
            Reported::Invalid | Reported::NoWorker => {
                self.invalid.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn apply(&self, state: &mut State, job: Job, outlet: &Outlet) {
        match job.call {
            Call::Stats(key, stat) => {
                let reported = state.workers.report(&key, &StatReport(&stat));
                self.count(reported, &key, &StatReport(&stat), &outlet.metrics);
            }
            call => apply::call(call, job.caller, &mut state.workers, outlet),
        }
    }
}
