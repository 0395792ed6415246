//! The task that runs the engine between a journal and a sink.
//!
//! One task owns the engine, so no part of the engine needs a lock. It applies the journal's entries in
//! order and sends the outputs to a `Sink`. With a journal on disk it takes snapshots, so that a restart
//! resumes where the last process stopped; an entry at which it panicked twice becomes a dead letter.
//! [`periodic`] times the flushes and reports the metrics of the program itself ([`own`]); a [`Tap`] copies
//! outputs for the live view.
//!
//! This crate knows the model, the engine, the journal, the ledger and the exporter. It does not know
//! LiveKit's messages, nor OTLP. Its unit tests cover the parts; the root's `tests/it/durable.rs`,
//! `restart.rs`, `panics.rs` and `tests/crash` test the task in a server.

mod checkpoint;
mod clock;
pub mod own;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod panics;
pub mod periodic;
mod quarantine;
mod questions;
mod recovery;
mod tap;
mod task;
#[cfg(test)]
mod tests;
mod ticks;

pub use checkpoint::{Checkpoints, Head};
pub use clock::Clock;
pub use questions::{Askers, Questions, questions};
pub use tap::{AgentError, AgentJob, AgentSpan, Passed, Tap, Tapped, tap};
pub use task::{Durable, Ended, Parts, start};
pub use ticks::Ticks;
