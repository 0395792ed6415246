//! What `livekit-otel demo` does: `serve` between a replayed capture and a collector.

pub mod run;

pub use run::{Collect, Ran, config_for, read_capture, run};
