//! The task that empties a signal's queue, with several requests in flight at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::queue::Batch;
use crate::sender::Sender;
use crate::shutdown::{is_ending, wait, wait_for_end};
use livekit_otel_ledger::Lost;

// Records that are queued within this time leave in one request.
const GATHER: Duration = Duration::from_millis(200);
// After the queue's files could not be read.
const READ_AGAIN: Duration = Duration::from_millis(500);
// After the exporter was dropped, queued records are delivered within this time, or lost.
const ORPHANED: Duration = Duration::from_secs(10);
// While the collector processes one request, the next arrives.
const IN_FLIGHT: usize = 3;

/// The task of one signal.
pub(crate) struct Delivery {
    sender: Arc<Sender>,
    ending: watch::Receiver<bool>,
}

impl Delivery {
    /// `ending` becomes true at shutdown, and its sender is dropped with the exporter.
    pub(crate) fn new(sender: Sender, ending: watch::Receiver<bool>) -> Self {
        Self { sender: Arc::new(sender), ending }
    }

    /// Delivers until shutdown has begun and the queue is empty. A dropped exporter sets no deadline:
    /// queued records are delivered within 10 s then, or lost.
    pub(crate) async fn run(self) {
        let sender = Arc::clone(&self.sender);
        let orphaned = orphaned(self.ending.clone());
        tokio::select! {
            () = self.deliver() => {}
            () = orphaned => sender.lost(Lost::Shutdown, sender.queue().abandon()),
        }
    }

    async fn deliver(mut self) {
        let sender = Arc::clone(&self.sender);
        let queue = sender.queue();
        let mut ending = self.ending.clone();
        // In order: while one is retried, only those in flight can be delivered before it.
        let mut in_flight = FuturesOrdered::new();
        loop {
            let is_due = match in_flight.len() {
                0 => !queue.is_empty(),
                IN_FLIGHT.. => false,
                // Less than a whole request is gathered meanwhile.
                _ => sender.has_whole_request(),
            };
            if is_due {
                if in_flight.is_empty() {
                    self.gather().await;
                }
                if let Some(batch) = self.take().await {
                    in_flight.push_back(Arc::clone(&sender).deliver(batch, self.ending.clone()));
                }
                continue;
            }
            if in_flight.is_empty() && is_ending(&self.ending) {
                return;
            }
            tokio::select! {
                Some(()) = in_flight.next() => {}
                () = queue.wait_for_records() => {}
                () = wait_for_end(&mut ending), if !is_ending(&self.ending) => {}
                () = wait_until(sender.reporter().due()) => sender.reporter().flush(false),
            }
        }
    }

    async fn gather(&mut self) {
        if is_ending(&self.ending) || self.sender.has_whole_request() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = wait_for_end(&mut self.ending) => {}
        }
    }

    async fn take(&mut self) -> Option<Batch> {
        match self.sender.take() {
            Ok(batch) => (!batch.records().is_empty()).then_some(batch),
            Err(error) => {
                self.sender.is_unreadable(&error);
                wait(READ_AGAIN, &mut self.ending).await;
                None
            }
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn orphaned(mut ending: watch::Receiver<bool>) {
    while ending.changed().await.is_ok() {}
    tokio::time::sleep(ORPHANED).await;
}
