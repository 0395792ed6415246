//! A queue for each resource at each target, and its worker.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::target::TargetId;
use crate::notify::NotifyError;

/// Events with the same key keep their order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) target: TargetId,
    pub(super) resource: String,
}

/// All queues. Each has a [`Worker`].
pub(super) struct Queues<J> {
    open: Mutex<Open<J>>,
    workers: watch::Sender<usize>,
    max_depth: usize,
    idle: Duration,
}

struct Open<J> {
    queues: HashMap<Key, Arc<Queue<J>>>,
    closed: bool,
}

struct Queue<J> {
    waiting: Mutex<Waiting<J>>,
    more: Notify,
}

struct Waiting<J> {
    jobs: VecDeque<J>,
    missed: i32,
}

impl<J> Queues<J> {
    pub(super) fn new(max_depth: usize, idle: Duration) -> Self {
        let open = Mutex::new(Open { queues: HashMap::new(), closed: false });
        Self { open, workers: watch::Sender::new(0), max_depth, idle }
    }

    /// Queues a job. Returns the worker of a new queue, which the caller has to run.
    pub(super) fn push(
        self: &Arc<Self>,
        key: Key,
        job: J,
    ) -> Result<Option<Worker<J>>, NotifyError> {
        let mut open = self.open.lock();
        if open.closed {
            return Err(NotifyError::Closed);
        }
        let mut worker = None;
        let queue = open.queues.entry(key).or_insert_with_key(|key| {
            let queue = Arc::new(Queue::default());
            self.workers.send_modify(|workers| *workers += 1);
            let (queues, key) = (Arc::clone(self), key.clone());
            worker = Some(Worker { queues, key, queue: Arc::clone(&queue) });
            queue
        });
        let pushed = queue.push(job, self.max_depth);
        drop(open);
        pushed.map(|()| worker)
    }

    /// Accepts no more jobs. The workers end once their queues are empty.
    pub(super) fn close(&self) {
        let mut open = self.open.lock();
        open.closed = true;
        #[expect(clippy::disallowed_methods, clippy::iter_over_hash_type, reason = "all are woken")]
        for queue in open.queues.values() {
            queue.more.notify_one();
        }
    }

    /// Returns once no worker is left.
    pub(super) async fn ended(&self) {
        let _ = self.workers.subscribe().wait_for(|workers| *workers == 0).await;
    }
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        let waiting = Mutex::new(Waiting { jobs: VecDeque::new(), missed: 0 });
        Self { waiting, more: Notify::new() }
    }
}

impl<J> Queue<J> {
    fn push(&self, job: J, max_depth: usize) -> Result<(), NotifyError> {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.len() >= max_depth {
            waiting.missed = waiting.missed.saturating_add(1);
            return Err(NotifyError::QueueFull);
        }
        waiting.jobs.push_back(job);
        self.more.notify_one();
        Ok(())
    }
}

/// Takes the jobs of one queue, in their order. The queue is removed with it.
pub(super) struct Worker<J> {
    queues: Arc<Queues<J>>,
    key: Key,
    queue: Arc<Queue<J>>,
}

impl<J> Worker<J> {
    /// Waits for the next job. `None` once the queue is empty and either idle or closed; it is then
    /// removed, and a later job makes a new one.
    pub(super) async fn next(&self) -> Option<J> {
        loop {
            let job = self.queue.waiting.lock().jobs.pop_front();
            if job.is_some() {
                return job;
            }
            if self.retire(false) {
                return None;
            }
            let more = self.queue.more.notified();
            if tokio::time::timeout(self.queues.idle, more).await.is_err() && self.retire(true) {
                return None;
            }
        }
    }

    /// How many events the receiver missed since one was sent; the count starts again at 0.
    pub(super) fn take_missed(&self) -> i32 {
        std::mem::take(&mut self.queue.waiting.lock().missed)
    }

    /// Counts events that the receiver missed.
    pub(super) fn add_missed(&self, missed: i32) {
        let mut waiting = self.queue.waiting.lock();
        waiting.missed = waiting.missed.saturating_add(missed);
    }

    // Under the lock that a push takes, so that no job gets into a removed queue.
    fn retire(&self, idle: bool) -> bool {
        let mut open = self.queues.open.lock();
        let retired = (idle || open.closed) && self.queue.waiting.lock().jobs.is_empty();
        if retired {
            open.queues.remove(&self.key);
        }
        retired
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        let mut open = self.queues.open.lock();
        // The key of a removed queue may have a new one already.
        if open.queues.get(&self.key).is_some_and(|queue| Arc::ptr_eq(queue, &self.queue)) {
            open.queues.remove(&self.key);
        }
        drop(open);
        self.queues.workers.send_modify(|workers| *workers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const IDLE: Duration = Duration::from_mins(5);

    fn key(resource: &str) -> Key {
        Key { target: TargetId::Endpoint(0), resource: resource.to_owned() }
    }

    fn queues() -> Arc<Queues<u32>> {
        Arc::new(Queues::new(2, IDLE))
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_queue_is_removed_and_made_again() {
        let queues = queues();
        let worker = queues.push(key("room"), 1).unwrap().unwrap();
        assert!(queues.push(key("room"), 2).unwrap().is_none());
        assert_eq!((worker.next().await, worker.next().await), (Some(1), Some(2)));
        let began = Instant::now();
        assert_eq!(worker.next().await, None);
        assert_eq!(began.elapsed(), IDLE);
        let anew = queues.push(key("room"), 3).unwrap().unwrap();
        drop(worker);
        assert!(queues.push(key("room"), 4).unwrap().is_none(), "the new queue stays");
        assert_eq!(anew.next().await, Some(3));
    }

    #[tokio::test]
    async fn a_full_queue_counts_the_jobs_that_it_refuses() {
        let queues = queues();
        let worker = queues.push(key("room"), 1).unwrap().unwrap();
        queues.push(key("room"), 2).unwrap();
        for _ in 0..3 {
            assert_eq!(queues.push(key("room"), 3).err(), Some(NotifyError::QueueFull));
        }
        let other = queues.push(key("other"), 1).unwrap().unwrap();
        assert_eq!((worker.take_missed(), worker.take_missed(), other.take_missed()), (3, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_returns_its_jobs_and_ends() {
        let queues = queues();
        let worker = queues.push(key("room"), 1).unwrap().unwrap();
        queues.close();
        assert_eq!(queues.push(key("room"), 2).err(), Some(NotifyError::Closed));
        let began = Instant::now();
        assert_eq!((worker.next().await, worker.next().await), (Some(1), None));
        drop(worker);
        queues.ended().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_wakes_for_a_job_and_for_the_end() {
        let queues = queues();
        let worker = queues.push(key("room"), 1).unwrap().unwrap();
        let began = Instant::now();
        let working = tokio::spawn(async move {
            let mut jobs = Vec::new();
            while let Some(job) = worker.next().await {
                jobs.push(job);
            }
            jobs
        });
        tokio::task::yield_now().await;
        queues.push(key("room"), 2).unwrap();
        tokio::task::yield_now().await;
        queues.close();
        queues.ended().await;
        assert_eq!((working.await.unwrap(), began.elapsed()), (vec![1, 2], Duration::ZERO));
    }
}
