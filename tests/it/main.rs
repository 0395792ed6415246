//! Integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod abuse;
mod admin;
mod behaviour;
mod binary;
mod books;
mod capture;
mod check;
mod dashboards;
mod deploy;
mod durable;
mod ended;
mod equality;
mod events;
mod fields;
mod fuzz_corpus;
mod golden;
mod history;
mod hostile;
mod house;
#[cfg(feature = "tls")]
mod intake;
mod levels;
mod live;
#[path = "../stack/live_check.rs"]
mod live_check;
mod long;
mod made;
mod notifier;
mod panics;
mod points;
#[path = "../parts/port.rs"]
mod port;
mod privacy;
mod private;
#[path = "../crash/random.rs"]
#[allow(dead_code)] // what the crash test alone needs
mod random;
mod readme;
mod reconcile;
mod restart;
mod scenarios;
mod seeds;
mod semconv;
mod senders;
mod serve;
mod simulate;
mod sources;
mod stop;
mod telemetry;
mod tellers;
mod told;
mod ui;
