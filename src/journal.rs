//! What was accepted, until it is processed. One seam for all sources: what
//! [`Journal::append`] has taken may be acknowledged. Kept in memory and bounded by bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::event::{Telling, Time};
use crate::ledger::Source;

/// An input that was verified and read.
#[derive(Debug)]
pub struct Accepted {
    /// When it came.
    pub at: Time,
    /// From where.
    pub source: Source,
    /// How many items it holds, for the ledger.
    pub items: u64,
    /// Whether the teller of the twin is connected, so that a webhook waits for it.
    pub twin_expected: bool,
    /// What it tells.
    pub telling: Telling,
    /// Its size as it came, in bytes.
    pub size: usize,
}

/// The journal takes no more for now.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the journal is full")]
pub struct Full;

/// The writing side, shared by all sources.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: mpsc::UnboundedSender<(Accepted, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    max_bytes: usize,
}

/// The reading side: accepted inputs in their order.
#[derive(Debug)]
pub struct Reader {
    queue: mpsc::UnboundedReceiver<(Accepted, OwnedSemaphorePermit)>,
}

/// A journal in memory that holds up to `max_bytes` of unprocessed inputs.
pub fn in_memory(max_bytes: usize) -> (Journal, Reader) {
    let max_bytes = max_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(max_bytes));
    (Journal { queue: sender, room, max_bytes }, Reader { queue: receiver })
}

impl Journal {
    /// Takes an input or says at once that there is no room for it.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken; the sender should come back.
    pub fn try_append(&self, input: Accepted) -> Result<(), Full> {
        let room = Arc::clone(&self.room);
        let permit = room.try_acquire_many_owned(self.weight(&input)).map_err(|_| Full)?;
        self.queue.send((input, permit)).map_err(|_| Full)
    }

    /// Takes an input, waiting until there is room for it.
    ///
    /// # Errors
    /// [`Full`]: the reader is gone; the program is ending.
    pub async fn append(&self, input: Accepted) -> Result<(), Full> {
        let room = Arc::clone(&self.room);
        let permit = room.acquire_many_owned(self.weight(&input)).await.map_err(|_| Full)?;
        self.queue.send((input, permit)).map_err(|_| Full)
    }

    // An input larger than the whole journal waits until it is alone.
    fn weight(&self, input: &Accepted) -> u32 {
        u32::try_from(input.size.clamp(1, self.max_bytes)).unwrap_or(u32::MAX)
    }
}

impl Reader {
    /// The next input; `None` once every [`Journal`] is gone and all is read.
    pub async fn next(&mut self) -> Option<Accepted> {
        self.queue.recv().await.map(|(input, _)| input)
    }

    /// How many inputs there are now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there are none now.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next input if there is one now.
    pub fn try_next(&mut self) -> Option<Accepted> {
        self.queue.try_recv().ok().map(|(input, _)| input)
    }
}

/// What can't be processed or delivered, kept as it is, up to a number of bytes.
#[derive(Debug)]
pub struct SetAside {
    kept: std::sync::Mutex<Vec<(Bytes, &'static str)>>,
    room: AtomicU64,
}

impl SetAside {
    /// Keeps up to `max_bytes`.
    pub fn in_memory(max_bytes: u64) -> Self {
        Self { kept: std::sync::Mutex::default(), room: AtomicU64::new(max_bytes) }
    }

    /// Keeps `raw` with the reason; `false` where there is no room left for it.
    pub fn keep(&self, raw: Bytes, reason: &'static str) -> bool {
        let size = raw.len() as u64;
        let fits = |room: u64| room.checked_sub(size);
        if self.room.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return false;
        }
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((raw, reason));
        true
    }

    /// How many were kept.
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
