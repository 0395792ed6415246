//! The telemetry service: its calls, its stats workers, its queue.

mod events;
mod forward;
mod interface;
mod otel;
mod queue;
mod recorder;
mod stats;
mod workers;
