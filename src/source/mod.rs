//! The sources of telemetry: signed webhooks, analytics streams, answers of LiveKit's API, and the
//! uploads of agents and other programs. The admin listener is here too.
//!
//! Uses no other module of this package. A source acknowledges input once the journal has it.

mod admin;
pub mod analytics;
pub(crate) mod api;
mod budget;
mod connections;
mod encoding;
mod linger;
pub mod listen;
mod messages;
mod prometheus;
mod protocol;
pub mod reconcile;
mod refusals;
mod server;
mod tasks;
pub mod tls;
pub mod uploads;
pub mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use bytes::Bytes;

use livekit_otel_agents::Reader;
use livekit_otel_durable::journal::{self, Accepted, DeadLetters, Journal};
use livekit_otel_ledger::Ledger;
use livekit_otel_livekit::keys::KeyRing;
use livekit_otel_livekit::{self as livekit, Read, Unreadable};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};

/// What all sources share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The keys that verify webhooks and tokens.
    pub keys: KeyRing,
    /// Receives accepted input.
    pub journal: Journal,
    /// Counts what is accepted and refused.
    pub ledger: Arc<Ledger>,
    /// Keeps signed webhooks that can't be read.
    pub dead_letters: Arc<DeadLetters>,
    /// Reads uploads.
    pub reader: Arc<Reader>,
}

/// The address that a request came from, as an extension of it.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

/// Counts the open streams of analytics events. While there is one, a webhook's twin is expected.
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

// An input without `read` could not be read, and is kept as raw bytes.
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
        Source::Webhook => livekit::webhook(raw),
        Source::Stats => livekit::stats(raw),
        Source::Events => livekit::events(raw),
        Source::NodeRooms => livekit::node_rooms(raw),
        Source::Api => livekit::api(raw),
        // Uploads have a reader of their own.
        _ => Err(Unreadable::foreign()),
    }
}

/// Reads inputs of the journal again: each message, if it can be read, its number of items, and how many
/// more items are unusable.
pub fn read_again(reader: &Arc<Reader>) -> journal::Read {
    let reader = Arc::clone(reader);
    journal::Read::new(move |source, raw: &Bytes| {
        if source.is_upload() {
            let read = reader.read(source, raw);
            return read.map_or((None, 1, 0), |read| {
                (Some(Decoded::Upload(read.upload)), read.items, read.unusable)
            });
        }
        let read = parse(source, raw);
        read.map_or((None, 1, 0), |read| (Some(read.decoded), read.items, read.unusable))
    })
}

#[cfg(test)]
mod tests;
