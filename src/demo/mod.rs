//! What `livekit-otel demo` shows: a collector of its own, and a report of what reached it.
//!
//! The report is made from decoded OTLP alone, so that it shows what any collector would get.

pub mod collector;
mod counts;
pub mod progress;
mod quality;
pub mod received;
pub mod report;
mod rooms;
pub mod run;
mod text;
mod waterfall;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use collector::{Collector, Received};
pub use progress::Progress;
pub use received::Telemetry;
pub use report::render;
pub use run::{Collect, Ran, config_for, read_capture, run};
pub use text::Style;
