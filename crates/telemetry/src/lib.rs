//! LiveKit's telemetry service as an OpenTelemetry integration, for SFUs and agents in Rust.
//!
//! A program reports its rooms, participants, tracks and stream stats with the methods of LiveKit's own
//! `TelemetryService`. [`Telemetry`] turns them into spans, log records and metrics, and delivers
//! them over OTLP. Its calls never block, so media threads may make them.
//!
//! ```
//! use livekit_otel_telemetry::messages::{ParticipantInfo, Room, RoomEndReason};
//! use livekit_otel_telemetry::{
//!     Activation, OtelSettings, ParticipantContext, Telemetry, TelemetryService,
//! };
//! use std::time::Duration;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = OtelSettings::from_env()?.service_name("my-sfu");
//! # let settings = settings.traces(false).logs(false).metrics(false);
//! let telemetry = Telemetry::builder().node_id("ND_1").otel(settings).start()?;
//!
//! let room = Room { sid: "RM_1".into(), name: "standup".into(), ..Room::default() };
//! let ada = ParticipantInfo { sid: "PA_1".into(), identity: "ada".into(), ..Default::default() };
//! let at = ParticipantContext::new(&room, &ada);
//! telemetry.room_started(&room);
//! telemetry.participant_joined(at, None, None, true, None);
//! telemetry.participant_active(at, None, Activation::default(), None);
//! telemetry.participant_left(at, true, None);
//! telemetry.room_ended(&room, RoomEndReason::RoomEndApiDelete);
//!
//! let report = telemetry.shutdown(Instant::now() + Duration::from_secs(10)).await;
//! assert_eq!(report.undelivered, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tls` | yes | `https` to collectors, webhooks and recorders (rustls with ring) |
//! | `sdk` | no | `SdkSink`, for the span processors and log providers of an `opentelemetry_sdk` that your program already has |
//!
//! The crate contains none of the parts of the server `livekit-otel`: no clap, axum, maud, indicatif, YAML
//! parser or allocator. A test checks its dependencies.
//!
//! # Where to read on
//!
//! - [`TelemetryService`]: what a program reports. `docs/telemetry-service.md` in the repository lists
//!   the spans, log records, metrics and webhooks of each method, `examples/sfu.rs` reports a call of
//!   two participants.
//! - [`OtelSettings`] and [`Builder`]: the settings, and other outputs: a [`Sink`] of your own, an
//!   [`AnalyticsForwarder`] to a central `livekit-otel serve`, a [`webhook::WebhookNotifier`].
//! - [`Telemetry::node`]: measurements that no method of the service reports.
//! - [`Telemetry::ledger`]: how many records were accepted, delivered, and lost.
//!
//! # Foreign types
//!
//! The public interface has these types of other crates: LiveKit's [`messages`] (`livekit-protocol`, and
//! `pbjson_types::Timestamp`), deadlines of [`tokio::time::Instant`], and with the feature `sdk`
//! those of `opentelemetry` and `opentelemetry_sdk`. The rest is from this workspace.
//!
//! # What it may know, and how it is tested
//!
//! It may know all library crates of the workspace, but neither the server nor the tools.
//! `tests/it/telemetry` compares what the calls produce with upstream's tests, and `tests/real/oracle`
//! with upstream's own service.

mod analytics;
mod apply;
mod builder;
mod call;
mod caller;
mod calls;
mod endpoint;
mod engine;
mod forward;
mod guarded;
mod live;
mod node;
mod notify;
mod null;
mod outlet;
#[cfg(feature = "sdk")]
mod sdk;
mod service;
mod settings;
mod shard;
mod shared;
mod sinks;
pub mod webhook;

pub use analytics::{AnalyticsService, Stopping};
pub use builder::Builder;
pub use endpoint::EndpointError;
pub use forward::{
    AnalyticsForwarder, ForwardError, ForwardSettings, Forwarded, Retried, TokenError, Tokens,
};
pub use live::{Report, Telemetry};
pub use node::NodeMetrics;
pub use notify::{NotifyError, ProcessedHook, QueuedNotifier};
pub use null::NullTelemetry;
#[cfg(feature = "sdk")]
pub use sdk::SdkSink;
pub use service::{Activation, ParticipantContext, TelemetryService, TrackContext};
pub use settings::{HeaderError, OtelSettings};

pub use livekit_otel_engine::session::TraceScope;
pub use livekit_otel_engine::stats::calls::{Connecting, JoinState, Timing};
pub use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey, TrackClass};
pub use livekit_otel_engine::stats::{Histograms, Level};
pub use livekit_otel_export::StartError;
pub use livekit_otel_export::configure::{Errors, Problem};
pub use livekit_otel_export::settings::Compression;
pub use livekit_otel_ledger::faults::Fault;
pub use livekit_otel_model::Source;
pub use livekit_otel_model::event::{Direction, Time, TrackKind, TrackSource};
pub use livekit_otel_model::privacy::{HashKey, Privacy};
pub use livekit_otel_model::signal::Temporality;
pub use livekit_otel_model::sink::{Capacity, Sink};
pub use livekit_otel_pipeline::Clock;

/// Finished spans, log records and metric points, as a [`Sink`] receives them.
pub use livekit_otel_model::signal;

/// The counts of a service's records, and why some were refused or lost.
pub mod ledger {
    pub use livekit_otel_ledger::{
        Connections, Imbalance, Input, Listener, Lost, Output, Refused, Snapshot,
    };
    pub use livekit_otel_model::Signal;
    pub use livekit_otel_model::event::Unknown;
}

/// LiveKit's messages, of the version that this crate reads, and the type of their times.
pub mod messages {
    pub use livekit_otel_livekit::messages::*;
    pub use pbjson_types::Timestamp;
}
