//! LiveKit's protocol: its messages, their bytes and its access tokens.
//!
//! [`read`](mod@read) turns webhooks, analytics messages and API responses into the events of
//! [`livekit_otel_model`]. It reads an allowlist of fields and ignores every other field. [`token`]
//! verifies and makes access tokens with the [`keys`] of a deployment, and [`post`] sends one
//! signed webhook. [`encode`] makes the messages and [`guid`] the ids that a server sends. [`uploads`]
//! has the paths of agents' uploads, and [`worker`] asks a server for its version.
//!
//! This is the only crate that depends on `livekit_protocol`; others use it as [`messages`]. It
//! knows no engine, no journal and no OTLP. Its tests read handwritten and recorded messages;
//! `tests/it/fields.rs` fills every field of LiveKit's definitions and checks that no secret is
//! read.

pub mod encode;
pub mod guid;
pub mod keys;
pub mod post;
pub mod read;
pub mod token;
pub mod uploads;
pub mod worker;

pub use livekit_protocol as messages;
pub use read::{
    ApiAnswer, ApiRequest, ApiRooms, Read, StatReport, Unreadable, api, encode_capture, event,
    events, node_rooms, rooms, stats, stream_of, track_kind, webhook, windows,
};

use livekit_otel_model::Source;

/// The path of the gRPC method that carries a source; `None` for a source that is not a stream.
pub fn method(source: Source) -> Option<&'static str> {
    match source {
        Source::Stats => Some("/livekit.AnalyticsRecorderService/IngestStats"),
        Source::Events => Some("/livekit.AnalyticsRecorderService/IngestEvents"),
        Source::NodeRooms => Some("/livekit.AnalyticsRecorderService/IngestNodeRoomStates"),
        _ => None,
    }
}
