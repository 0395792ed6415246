//! The tasks of the listeners, which end together: no task is left that holds the journal.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use tokio::sync::watch;
use tokio::task::JoinSet;

/// A set of tasks that is shared by those in it: a connection adds its streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        // Else the set would grow with each task that ever was.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Returns once none is left.
    pub(super) async fn ended(&self) {
        while poll_fn(|context| self.lock().poll_join_next(context)).await.is_some() {}
    }

    /// Ends all, and returns once none is left.
    pub(super) async fn abort(&self) {
        let next = |context: &mut Context<'_>| {
            let mut tasks = self.lock();
            // Each time: one that was running may have added another.
            tasks.abort_all();
            tasks.poll_join_next(context)
        };
        while poll_fn(next).await.is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Future<Output = ()> + Send + 'static> hyper::rt::Executor<T> for Tasks {
    fn execute(&self, task: T) {
        self.spawn(task);
    }
}

/// Returns once `stop` is true, or its sender gone, which is a stop too.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
