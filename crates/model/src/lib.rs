//! The data types that the other crates of livekit-otel exchange. LiveKit's messages are decoded to
//! [`event`]; the engine turns events into the spans, log records and metric points of [`signal`],
//! which are named in [`semconv`] and sent to a [`sink`].
//!
//! - It may know the names and limits of LiveKit and of OpenTelemetry's conventions.
//! - It must not know a message format (protobuf, OTLP, JSON), and does no I/O. It imports no other
//!   crate of the workspace, and has no state but a cache of constant names.
//! - Tests: `cargo test -p livekit-otel-model` for counters and printable text. The names are compared
//!   with the registry in `semconv/` by the root package's `tests/it/semconv.rs`.

mod counts;
pub mod event;
pub mod foreign;
mod hex;
#[doc(hidden)]
pub mod interned;
#[doc(hidden)]
pub mod printable;
pub mod privacy;
pub mod semconv;
pub mod signal;
pub mod sink;
mod source;

use std::time::Duration;

#[doc(hidden)]
pub use hex::hex;
pub use source::{Signal, Source};

/// How long an event's id is remembered, to find copies. LiveKit's webhook tokens are valid for 5
/// minutes, and its sender retries for 15 seconds.
pub const REMEMBERED: Duration = Duration::from_mins(15);
