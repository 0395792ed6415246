//! LiveKit's telemetry service, for SFUs and agents in Rust: told of rooms, participants and
//! tracks, it makes their spans, log records and metrics, and notifies webhooks.

mod analytics;
mod apply;
#[doc(hidden)]
pub mod call;
mod caller;
mod calls;
#[doc(hidden)]
pub mod encode;
mod engine;
mod forward;
mod live;
mod node;
mod notify;
mod null;
mod outlet;
mod service;
mod shard;
mod stamp;
pub mod webhook;

pub use analytics::{AnalyticsService, Stopping};
pub use engine::OtelSettings;
pub use forward::{
    AnalyticsForwarder, ForwardError, ForwardSettings, Forwarded, Retried, TokenError, Tokens,
};
pub use live::{Builder, Report, Telemetry};
pub use livekit_otel_ledger::faults::Fault;
pub use node::NodeMetrics;
pub use notify::{Clock, NotifyError, ProcessedHook, QueuedNotifier};
pub use null::NullTelemetry;
pub use service::{Activation, ParticipantContext, TelemetryService, TrackContext};

#[doc(hidden)]
pub use stamp::spelled;

pub use livekit_otel_engine::stats::worker::{ReferenceGuard, StatsKey, TrackClass};
pub use livekit_otel_livekit::messages;
