//! What the journal holds, and its encoding. An input is stored unchanged, with what is needed to read it
//! again in the same way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};

const TICK: u8 = 16;
const FLUSH: u8 = 17;
const TWIN_EXPECTED: u8 = 1;
// Kind, flags and time.
const HEAD: usize = 10;

/// A verified input.
#[derive(Debug)]
pub struct Accepted {
    /// When it was received.
    pub at: Time,
    /// Its source.
    pub source: Source,
    /// How many items it holds, for the ledger.
    pub items: u64,
    /// How many more items it holds that do not name their room, participant or track.
    pub unusable: u64,
    /// Its contents that this version does not know; none when it is read again.
    pub unknown: Unknown,
    /// Whether the other source is connected, so that a webhook waits for its twin.
    pub twin_expected: bool,
    /// The decoded message; `None` if it can't be read: it becomes a dead letter.
    pub decoded: Option<Decoded>,
    /// The bytes that were received; empty if it never was encoded.
    pub raw: Bytes,
    /// Its size in bytes, or its approximate size in memory.
    pub size: usize,
}

/// An input of the engine. Replayed in the same order, entries produce the same outputs.
#[derive(Debug)]
pub enum Entry {
    /// A verified input.
    Input(Accepted),
    /// Fires timers due by this time.
    Tick(Time),
    /// Flushes the instruments.
    Flush(Time),
}

impl Entry {
    /// Its time.
    pub fn at(&self) -> Time {
        match self {
            Self::Input(input) => input.at,
            Self::Tick(at) | Self::Flush(at) => *at,
        }
    }
}

/// Reads a source's message in the same way as at its arrival. Returns the decoded message, the number of
/// its usable items, and the number of the unusable ones.
#[derive(Clone)]
pub struct Read(Arc<Function>);

type Function = dyn Fn(Source, &Bytes) -> (Option<Decoded>, u64, u64) + Send + Sync;

impl Read {
    /// Reads with that function.
    pub fn new(
        read: impl Fn(Source, &Bytes) -> (Option<Decoded>, u64, u64) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

pub(super) fn encode_input(input: &Accepted) -> Vec<u8> {
    let flags = if input.twin_expected { TWIN_EXPECTED } else { 0 };
    let mut record = head(input.source as u8, flags, input.at, input.raw.len());
    record.extend_from_slice(&input.raw);
    record
}

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    match entry {
        Entry::Input(input) => encode_input(input),
        Entry::Tick(at) => head(TICK, 0, *at, 0),
        Entry::Flush(at) => head(FLUSH, 0, *at, 0),
    }
}

fn head(kind: u8, flags: u8, at: Time, more: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + more);
    record.extend([kind, flags]);
    record.extend(at.nanos().to_le_bytes());
    record
}

/// Decodes a record; `None` if it is not an entry of this version.
pub fn decode(record: &Bytes, read: &Read) -> Option<Entry> {
    let head: [u8; HEAD] = record.get(..HEAD)?.try_into().ok()?;
    let [kind, flags, at @ ..] = head;
    let at = Time::from_nanos(u64::from_le_bytes(at))?;
    match kind {
        TICK => Some(Entry::Tick(at)),
        FLUSH => Some(Entry::Flush(at)),
        _ => {
            let source = Source::ALL.into_iter().find(|source| *source as u8 == kind)?;
            let raw = record.slice(HEAD..);
            let (decoded, items, unusable) = (read.0)(source, &raw);
            let twin_expected = flags & TWIN_EXPECTED != 0;
            let size = raw.len();
            let unknown = Unknown::default();
            Some(Entry::Input(Accepted {
                at,
                source,
                items,
                unusable,
                unknown,
                twin_expected,
                decoded,
                raw,
                size,
            }))
        }
    }
}
