//! Some rooms: their queue, their stats workers, and whose turn it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

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
    // How many are in the queue, so that a report need not lock it to see that it is empty.
    waiting: AtomicUsize,
    invalid: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    workers: Workers,
    // The queue's other half, so that neither is made anew.
    batch: Vec<Job>,
}

// So many reports one may do for others.
const FEW: usize = 32;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Takes in a report at once if nobody is at these rooms and nothing but a few reports is
    /// before it; `None` where it has to be queued. Gives how many others were done by the way.
    pub(super) fn try_report(
        &self,
        key: &StatsKey,
        report: &impl Report,
        node: &NodeMetrics,
    ) -> Option<usize> {
        let (done, reported) = {
            let mut state = self.try_state()?;
            // What this thread queued before is seen here.
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

    /// Does the few reports that are queued, unless somebody is at these rooms: then that one will.
    /// Who queues and who lets go of the rooms both look, so that nothing is left behind.
    pub(super) fn help(&self, node: &NodeMetrics) -> usize {
        let mut done = 0;
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.waiting.load(Ordering::SeqCst);
            if waiting == 0 || waiting > FEW {
                return done;
            }
            let Some(mut state) = self.try_state() else { return done };
            match self.run_reports(&mut state, node) {
                Some(more) => done += more,
                None => return done,
            }
        }
    }

    fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    // Does what is queued where that is reports alone; gives how many.
    fn run_reports(&self, state: &mut State, node: &NodeMetrics) -> Option<usize> {
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = lock(&self.queue);
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

    /// Queues a job. Waits for no longer than another needs to do the same.
    pub(super) fn push(&self, job: Job) {
        let mut queue = lock(&self.queue);
        queue.push(job);
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Does what is queued, in its order; gives how many that were.
    pub(super) fn run(&self, outlet: &Outlet) -> usize {
        let mut state = lock(&self.state);
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = lock(&self.queue);
            std::mem::swap(&mut *queue, &mut batch);
            self.waiting.store(0, Ordering::Release);
        }
        let done = batch.len();
        for job in batch.drain(..) {
            // A notifier or an analytics service of the user's that panics ends only this call.
            let applied = AssertUnwindSafe(|| self.apply(&mut state, job, outlet));
            if catch_unwind(applied).is_err() {
                tracing::error!("a call broke off: what it tells is lost");
            }
        }
        state.batch = batch;
        done
    }

    /// Finishes the windows; gives how many reports were invalid.
    pub(super) fn flush(&self, now: Time, windows: &mut Vec<Flushed>, node: &NodeMetrics) -> u64 {
        let unheld = lock(&self.state).workers.flush(now, |flushed| windows.push(flushed));
        if unheld > 0 {
            // Nobody will say that they have left.
            node.add(Count::Participants, -unheld);
        }
        self.invalid.swap(0, Ordering::Relaxed)
    }

    /// How many workers and streams there are.
    pub(super) fn held(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.workers.len(), state.workers.streams())
    }

    // A participant without a worker counts on the node; what is invalid does not.
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
