//! Load and checks for `livekit-otel`, used by its commands and its tests.
//!
//! [`simulate`](mod@simulate) acts as a LiveKit server under load, and [`replay`](mod@replay) sends
//! a recorded [`capture`]. [`demo`] is an OTLP receiver that reports what it received. [`labels`]
//! and [`causes`] have the texts and the counting of failures that the demo's report and the live view
//! share.
//!
//! It knows LiveKit's messages and the telemetry library's client for streams, but neither
//! configuration nor `serve`. A simulation uses no socket and no clock; only `simulate::send` does.
//! The tests compare the report with golden files, and `tests/it` runs all of it against a server.

pub mod capture;
pub mod causes;
pub mod demo;
mod destination;
pub mod labels;
mod post;
pub mod replay;
pub mod simulate;
mod streams;
mod uploads;
