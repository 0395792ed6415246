//! Entries as bytes: what came, as it came, and what is needed to read it again in the same way.

use bytes::Bytes;

use super::{Accepted, Entry};
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Time, Unknown};

const TICK: u8 = 16;
const FLUSH: u8 = 17;
const TWIN_EXPECTED: u8 = 1;
// Kind, flags and time.
const HEAD: usize = 10;

/// Reads what came from a source as it was read the first time; gives what it tells, how many items
/// that is, and how many more are of no use.
pub type Read = fn(Source, &Bytes) -> (Option<Decoded>, u64, u64);

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

/// The entry that a record is; `None` where it is none of this version's.
pub fn decode(record: &Bytes, read: Read) -> Option<Entry> {
    let head: [u8; HEAD] = record.get(..HEAD)?.try_into().ok()?;
    let [kind, flags, at @ ..] = head;
    let at = Time::from_nanos(u64::from_le_bytes(at))?;
    match kind {
        TICK => Some(Entry::Tick(at)),
        FLUSH => Some(Entry::Flush(at)),
        _ => {
            let source = Source::ALL.into_iter().find(|source| *source as u8 == kind)?;
            let raw = record.slice(HEAD..);
            let (decoded, items, unusable) = read(source, &raw);
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
