//! Reads the body of an OTLP request within its budget: memory is reserved as the body grows, and for its
//! content once its size is known.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::answer::{Busy, Problem};
use crate::source::budget::{Budget, Lease, Share};
use crate::source::connections::Use;
use crate::source::encoding::Encoding;

// Agents end an attempt after 10 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
// For the memory of a body.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(4);
// Most requests fit into the first reservation; more is reserved as it arrives, whatever length is stated.
const FIRST: usize = 64 << 10;
const MOST_STATED: usize = 1 << 20;
// Larger work is done on another thread, so that it does not hold up a connection's other requests.
pub(super) const LARGE: usize = 256 << 10;

/// The memory of a request, which is reserved until the journal has it.
#[derive(Debug)]
pub(super) struct Memory {
    budget: Budget,
    share: Share,
    // The first is displaced before the others, as it is the oldest.
    leases: Vec<Lease>,
    reserved: usize,
}

impl Memory {
    /// Memory of a listener's budget, of which each connection has a share.
    pub(super) fn new(budget: &Budget, used: Option<&Arc<Use>>) -> Self {
        let share = used.map_or_else(|| budget.share(), |used| used.upload_share(budget));
        Self { budget: budget.clone(), share, leases: Vec::new(), reserved: 0 }
    }

    /// Memory that was reserved for a message of a stream.
    pub(super) fn of(budget: &Budget, share: &Share, lease: Lease) -> Self {
        Self { budget: budget.clone(), share: share.clone(), leases: vec![lease], reserved: 0 }
    }

    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`Problem::Busy`]: there are none in time, or others need those that are reserved.
    pub(super) async fn reserve(&mut self, bytes: usize) -> Result<(), Problem> {
        let lease = timeout(BUDGET_TIMEOUT, self.budget.reserve(&self.share, bytes));
        let lease = tokio::select! {
            lease = lease => lease.map_err(|_| Problem::Busy(Busy::Memory))?,
            () = self.displaced() => return Err(Problem::Busy(Busy::Displaced)),
        };
        self.reserved += bytes;
        self.leases.push(lease);
        Ok(())
    }

    // Reserves memory for `size` bytes in all, and some ahead.
    async fn grow(&mut self, size: usize, max: usize) -> Result<(), Problem> {
        if size <= self.reserved {
            return Ok(());
        }
        let ahead = size.max(2 * self.reserved).min(max.max(size));
        self.reserve(ahead - self.reserved).await
    }

    /// Returns once others need the memory.
    pub(super) async fn displaced(&self) {
        match self.leases.first() {
            Some(lease) => lease.displaced().await,
            None => std::future::pending().await,
        }
    }

    /// The request has arrived: it is not displaced while it waits for the journal.
    pub(super) fn finished(&self) {
        self.leases.iter().for_each(Lease::finished);
    }
}

/// Reads a body of at most `max` bytes, before and after its decompression.
///
/// # Errors
/// Why it can't be accepted.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    (memory, used): (&mut Memory, Option<&Arc<Use>>),
    (encoding, max): (Encoding, usize),
) -> Result<Bytes, Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if let Some(length) = length.filter(|length: &u64| *length > max as u64) {
        return Err(too_large(length, max));
    }
    let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(FIRST);
    memory.reserve(length.clamp(1, MOST_STATED.min(max.max(1)))).await?;
    let received = timeout(BODY_TIMEOUT, receive(body, memory, used, max));
    let received = received.await.map_err(|_| Problem::Slow)??;
    let content = decompress(received, memory, encoding, max).await?;
    memory.finished();
    Ok(content)
}

async fn receive(
    mut body: Body,
    memory: &mut Memory,
    used: Option<&Arc<Use>>,
    max: usize,
) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = memory.displaced() => return Err(Problem::Busy(Busy::Displaced)),
        };
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        if let Some(used) = used {
            used.touch();
        }
        let data = frame.map_err(|_| Problem::Malformed)?.into_data().unwrap_or_default();
        let size = bytes.len() + data.len();
        if size > max {
            return Err(too_large(size as u64, max));
        }
        memory.grow(size, max).await?;
        bytes.extend_from_slice(&data);
    }
}

async fn decompress(
    received: Bytes,
    memory: &mut Memory,
    encoding: Encoding,
    max: usize,
) -> Result<Bytes, Problem> {
    if encoding == Encoding::Identity {
        return Ok(received);
    }
    if let Some(stated) = encoding.stated_size(&received) {
        if stated > max {
            return Err(too_large(stated as u64, max));
        }
        memory.reserve(stated).await?;
        let compressed = received.clone();
        let content = work(received.len(), move || encoding.decompress(&compressed, stated).ok());
        if let Some(content) = content.await? {
            return Ok(content.into());
        }
    }
    // No size, or that of the last member alone.
    let compressed = received.clone();
    let size = work(usize::MAX, move || encoding.count(&compressed, max).ok()).await?;
    let size = size.ok_or(Problem::Malformed)?;
    if size > max {
        return Err(too_large(size as u64, max));
    }
    memory.reserve(size).await?;
    let content = work(size, move || encoding.decompress(&received, size).ok()).await?;
    content.map(Bytes::from).ok_or(Problem::Malformed)
}

/// An OTLP request of `size` bytes or more, of which `max` are allowed.
pub(super) fn too_large(size: u64, max: usize) -> Problem {
    Problem::TooLarge { size, max: max as u64, setting: "agents.max_body" }
}

/// Does work on a message of `size` bytes; on another thread if it is large.
///
/// # Errors
/// If the work panics.
pub(super) async fn work<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if size < LARGE {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error: tokio::task::JoinError| {
        let error: &dyn Error = &error;
        tracing::error!(error, "an upload could not be read");
        Problem::Malformed
    })
}
