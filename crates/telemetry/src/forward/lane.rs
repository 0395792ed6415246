//! The messages of one kind, from the call until they are acknowledged.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tonic::Code;

use super::{Forwarded, Retried};

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
    is_closed: bool,
}

impl Lane {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { buffer: Mutex::default(), changed: Notify::new(), shorter: Notify::new(), max_bytes }
    }

    /// Takes a message where there is room for it; otherwise it is dropped, and those before it
    /// keep their order.
    pub(super) fn push(&self, message: Bytes) {
        let mut buffer = self.lock();
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

    /// The message after `sent` others that are not acknowledged.
    pub(super) fn get(&self, sent: usize) -> Option<Bytes> {
        self.lock().messages.get(sent).cloned()
    }

    /// The oldest `sent` were acknowledged.
    pub(super) fn acknowledge(&self, sent: usize) {
        let mut buffer = self.lock();
        for _ in 0..sent {
            if let Some(message) = buffer.messages.pop_front() {
                buffer.bytes -= message.len();
                buffer.acknowledged += 1;
            }
        }
        drop(buffer);
        self.shorter.notify_waiters();
    }

    /// The oldest `sent` were not acknowledged.
    pub(super) fn retry(&self, sent: usize, why: Code) {
        let mut buffer = self.lock();
        buffer.retried.messages += sent as u64;
        buffer.retried.last = Some(why);
    }

    pub(super) fn retried(&self) -> Retried {
        self.lock().retried
    }

    /// Waits until fewer than `most` wait.
    pub(super) async fn room(&self, most: usize) {
        loop {
            let mut shorter = pin!(self.shorter.notified());
            shorter.as_mut().enable();
            if self.lock().messages.len() < most {
                return;
            }
            shorter.await;
        }
    }

    /// The oldest can't be sent.
    pub(super) fn drop_first(&self) {
        let mut buffer = self.lock();
        if let Some(message) = buffer.messages.pop_front() {
            buffer.bytes -= message.len();
            buffer.dropped += 1;
        }
        drop(buffer);
        self.shorter.notify_waiters();
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until something was taken, or it was closed; may return without.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn counts(&self) -> Forwarded {
        let buffer = self.lock();
        Forwarded {
            accepted: buffer.accepted,
            acknowledged: buffer.acknowledged,
            dropped: buffer.dropped,
            waiting: buffer.messages.len() as u64,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
