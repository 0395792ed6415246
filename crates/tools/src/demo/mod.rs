//! An OTLP receiver, and a report of what it received.
//!
//! The report is made from decoded OTLP alone, so that it shows what any collector would receive.

pub mod answers;
mod collector;
pub mod content;
mod counts;
pub mod progress;
mod quality;
pub mod received;
pub mod report;
mod rooms;
mod text;
mod turns;
mod waterfall;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use collector::{Collector, Received};
pub use progress::Progress;
pub use received::Telemetry;
pub use report::render;
pub use text::Style;
