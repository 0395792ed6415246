//! The server: listeners, journal, pipeline and exporter together, from start to shutdown.
//!
//! Uses `config`, `source` and `ui`; only `demo` and `commands` use it.

mod run;
mod server;
mod signals;
mod start;
mod stop;
mod storage;

pub use livekit_otel_ledger::faults::Fault;
pub use run::{Outcome, run};
pub use server::{Server, StartError};
pub use stop::Report;
