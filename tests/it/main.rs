//! Integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod behaviour;
mod binary;
mod capture;
mod check;
mod durable;
mod fuzz_corpus;
mod golden;
mod hostile;
mod house;
#[cfg(feature = "tls")]
mod intake;
mod notifier;
mod points;
mod readme;
mod reconcile;
mod restart;
mod serve;
mod sources;
mod telemetry;
mod tellers;
mod told;
