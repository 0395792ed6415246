//! Uploads: what LiveKit's agents send to `LIVEKIT_OBSERVABILITY_URL`, and plain OTLP of any program.
//!
//! `http` has the paths and `grpc` the services. Both read a request within its budget (`body`), recognise
//! repeats (`seen`), and append it to the journal (`intake`). A recording is read by `recordings`, which
//! keeps its header and discards the rest, unless it has a directory (`files`).

mod answer;
mod body;
pub(super) mod files;
pub(super) mod grpc;
pub(super) mod http;
pub(super) mod intake;
pub(crate) mod multipart;
mod recordings;
mod seen;

use std::path::PathBuf;

/// The default of [`Settings::max_body`].
pub const MAX_BODY: usize = 64 << 20;

/// What is accepted of uploads.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether uploads are served; by default on listeners with a loopback address only.
    pub enabled: Option<bool>,
    /// Largest OTLP request after its decompression, in bytes.
    pub max_body: usize,
    /// Memory for requests that have not arrived completely or are not in the journal yet, in bytes.
    /// One connection gets a quarter of it.
    pub unfinished: usize,
    /// Where the audio and the history of recordings are kept; by default they are discarded.
    pub recordings: Option<Directory>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: None, max_body: MAX_BODY, unfinished: 2 * MAX_BODY, recordings: None }
    }
}

/// A directory for recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its path.
    pub path: PathBuf,
    /// How much its files may take, in bytes; what does not fit is discarded.
    pub max_bytes: u64,
}
