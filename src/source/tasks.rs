//! The tasks of the listeners, which end together, so that none of them keeps the journal open.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A set of tasks that its own tasks can add to: a connection adds its streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        // Removes ended tasks, which would accumulate otherwise.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Returns once all tasks have ended.
    pub(super) async fn ended(&self) {
        while poll_fn(|context| self.lock().poll_join_next(context)).await.is_some() {}
    }

    /// Aborts all tasks, and returns once they have ended.
    pub(super) async fn abort(&self) {
        let next = |context: &mut Context<'_>| {
            let mut tasks = self.lock();
            // Again at each poll: a running task may have added another.
            tasks.abort_all();
            tasks.poll_join_next(context)
        };
        while poll_fn(next).await.is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock()
    }
}

impl<T: Future<Output = ()> + Send + 'static> hyper::rt::Executor<T> for Tasks {
    fn execute(&self, task: T) {
        self.spawn(task);
    }
}

/// Returns once `stop` is true, or its sender is dropped.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
