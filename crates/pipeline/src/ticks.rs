//! Requests for flushes.

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use livekit_otel_engine::stats::NodeReports;
use livekit_otel_model::event::Time;

/// Requests flushes of the pipeline's instruments.
#[derive(Debug, Clone)]
pub struct Ticks {
    queue: mpsc::UnboundedSender<Tick>,
    clock: Clock,
}

#[derive(Debug)]
pub(crate) struct Tick {
    pub(crate) at: Time,
    pub(crate) reports: Option<Box<NodeReports>>,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

impl Ticks {
    pub(crate) fn new(queue: mpsc::UnboundedSender<Tick>, clock: Clock) -> Self {
        Self { queue, clock }
    }

    /// Requests a flush at the current time, after all inputs that are accepted by now. Never blocks.
    pub fn post(&self) {
        self.send(None, None);
    }

    /// Requests a flush that includes `reports`. The receiver resolves once it is done.
    pub fn post_with(&self, reports: NodeReports) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        self.send(Some(Box::new(reports)), Some(done));
        receiver
    }

    fn send(&self, reports: Option<Box<NodeReports>>, done: Option<oneshot::Sender<()>>) {
        // A pipeline that has ended has flushed.
        let _ = self.queue.send(Tick { at: self.clock.now(), reports, done });
    }
}
