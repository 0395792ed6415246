//! The messages of one kind, from the call to their acknowledgement.

use std::collections::VecDeque;
use std::pin::pin;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::Status;

/// The counts of one kind of messages: accepted = acknowledged + dropped + waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarded {
    /// Passed to the forwarder.
    pub accepted: u64,
    /// Acknowledged by the receiver.
    pub acknowledged: u64,
    /// Not sent: the buffer was full, or the message is too large for the receiver.
    pub dropped: u64,
    /// Not acknowledged yet.
    pub waiting: u64,
}

/// The messages that were not acknowledged at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retried {
    /// How often a message was sent again, or will be.
    pub messages: u64,
    /// Why, the last time: the description of the gRPC status.
    pub last: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Lane {
    buffer: Mutex<Buffer>,
    changed: Notify,
    shorter: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Buffer {
    messages: VecDeque<Bytes>,
    bytes: usize,
    accepted: u64,
    acknowledged: u64,
    dropped: u64,
    retried: Retried,
    failure: Option<Status>,
    is_closed: bool,
}

impl Lane {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { buffer: Mutex::default(), changed: Notify::new(), shorter: Notify::new(), max_bytes }
    }

    /// Accepts a message, or drops it if the buffer is full. The earlier messages keep their order.
    pub(super) fn push(&self, message: Bytes) {
        let mut buffer = self.buffer.lock();
        buffer.accepted += 1;
        let is_full = buffer.bytes.saturating_add(message.len()) > self.max_bytes;
        if is_full || buffer.is_closed {
            buffer.dropped += 1;
            return;
        }
        buffer.bytes += message.len();
        buffer.messages.push_back(message);
        drop(buffer);
        self.changed.notify_one();
    }

    /// The message after the first `sent` of those that are not acknowledged.
    pub(super) fn get(&self, sent: usize) -> Option<Bytes> {
        self.buffer.lock().messages.get(sent).cloned()
    }

    /// Removes the oldest `sent`, which were acknowledged.
    pub(super) fn acknowledge(&self, sent: usize) {
        let mut buffer = self.buffer.lock();
        for _ in 0..sent {
            if let Some(message) = buffer.messages.pop_front() {
                buffer.bytes -= message.len();
                buffer.acknowledged += 1;
            }
        }
        drop(buffer);
        self.shorter.notify_waiters();
    }

    /// Counts the oldest `sent`, which were not acknowledged.
    pub(super) fn retry(&self, sent: usize, why: Status) {
        let mut buffer = self.buffer.lock();
        buffer.retried.messages += sent as u64;
        buffer.retried.last = Some(why.code().description());
        buffer.failure = Some(why);
    }

    /// Why messages were not acknowledged, the last time.
    pub(super) fn failure(&self) -> Option<Status> {
        self.buffer.lock().failure.clone()
    }

    pub(super) fn retried(&self) -> Retried {
        self.buffer.lock().retried
    }

    /// Waits until fewer than `most` wait.
    pub(super) async fn wait_for_capacity(&self, most: usize) {
        loop {
            let mut shorter = pin!(self.shorter.notified());
            shorter.as_mut().enable();
            if self.buffer.lock().messages.len() < most {
                return;
            }
            shorter.await;
        }
    }

    /// Drops the oldest, which can't be sent.
    pub(super) fn drop_first(&self) {
        let mut buffer = self.buffer.lock();
        if let Some(message) = buffer.messages.pop_front() {
            buffer.bytes -= message.len();
            buffer.dropped += 1;
        }
        drop(buffer);
        self.shorter.notify_waiters();
    }

    /// Accepts no more messages.
    pub(super) fn close(&self) {
        self.buffer.lock().is_closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.buffer.lock().is_closed
    }

    /// Waits until a message was accepted or the lane was closed. May return early.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn counts(&self) -> Forwarded {
        let buffer = self.buffer.lock();
        Forwarded {
            accepted: buffer.accepted,
            acknowledged: buffer.acknowledged,
            dropped: buffer.dropped,
            waiting: buffer.messages.len() as u64,
        }
    }
}
