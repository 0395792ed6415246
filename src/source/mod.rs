//! Where telemetry comes from: signed webhooks, the analytics streams, captures of them, and what
//! LiveKit's API lists.

mod admin;
pub mod analytics;
mod budget;
mod connections;
mod linger;
pub mod listen;
mod messages;
pub mod reconcile;
mod server;
mod tasks;
pub mod tls;
pub mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use bytes::Bytes;

use livekit_otel_durable::journal::{Accepted, DeadLetters, Journal};
use livekit_otel_ledger::Ledger;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::{self as proto, Read, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};

/// What all sources write to.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The keys that webhooks may be signed with.
    pub keys: KeyRing,
    /// Where what is accepted goes.
    pub journal: Journal,
    /// Where all is counted.
    pub ledger: Arc<Ledger>,
    /// Where what can't be read is kept.
    pub set_aside: Arc<DeadLetters>,
}

/// How many streams of analytics events are open: while there is one, a webhook's twin is expected.
#[derive(Debug, Clone, Default)]
struct OpenStreams(Arc<AtomicUsize>);

impl OpenStreams {
    fn any(&self) -> bool {
        self.0.load(Relaxed) > 0
    }

    fn open(&self) -> OpenStream {
        self.0.fetch_add(1, Relaxed);
        OpenStream(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct OpenStream(Arc<AtomicUsize>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

// `None` where it can't be read: it is kept as it came.
fn accepted(source: Source, read: Option<Read>, raw: Bytes, twin_expected: bool) -> Accepted {
    let at = Time::from_system(SystemTime::now());
    let size = raw.len();
    let (decoded, items, unusable, unknown) = match read {
        Some(Read { decoded, items, unusable, unknown }) => {
            (Some(decoded), items, unusable, unknown)
        }
        None => (None, 1, 0, Unknown::default()),
    };
    Accepted { at, source, items, unusable, unknown, twin_expected, decoded, raw, size }
}

fn parse(source: Source, raw: &[u8]) -> Result<Read, Unreadable> {
    match source {
        Source::Webhook => proto::webhook(raw),
        Source::Stats => proto::stats(raw),
        Source::Events => proto::events(raw),
        Source::NodeRooms => proto::node_rooms(raw),
        Source::Api => proto::api_rooms(raw),
    }
}

/// Reads again what a journal kept; gives what it tells, where it can be read, how many items that is,
/// and how many more are of no use.
pub fn read_again(source: Source, raw: &Bytes) -> (Option<Decoded>, u64, u64) {
    parse(source, raw).map_or((None, 1, 0), |read| (Some(read.decoded), read.items, read.unusable))
}

#[cfg(test)]
mod tests;
