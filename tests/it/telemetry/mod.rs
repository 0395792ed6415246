//! The telemetry service: its calls, its stats workers, its queue, and its outputs.

mod dependencies;
mod events;
mod forward;
mod interface;
mod otel;
mod queue;
mod recorder;
mod sinks;
mod stats;
mod workers;
