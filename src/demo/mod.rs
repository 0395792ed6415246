//! `livekit-otel demo`: a replayed capture, `serve`, and a collector.

pub mod run;

pub use run::{Collect, Ran, config_for, read_captures, run};
