//! Integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod abuse;
mod admin;
mod agent_call;
mod answers;
mod asked;
mod behaviour;
mod binary;
mod calls;
mod capture;
mod cases;
mod check;
mod cli;
mod counted;
mod dashboards;
mod departures;
mod deploy;
mod derived;
mod doctor;
mod durable;
mod ended;
mod equality;
mod events;
mod fields;
mod fixtures;
mod fuzz_corpus;
mod golden;
mod histories;
mod history;
mod hostile;
mod house;
#[cfg(feature = "tls")]
mod intake;
mod joined;
mod ledger;
mod levels;
mod live;
#[path = "../stack/live_check.rs"]
mod live_check;
mod livekit_rules;
mod lives;
mod logged;
mod long;
mod merged;
mod messages;
mod modules;
mod notifier;
mod panics;
mod placed;
mod points;
#[path = "../parts/port.rs"]
mod port;
mod privacy;
mod private;
mod proxied;
#[path = "../crash/random.rs"]
#[allow(dead_code)] // the crash test uses all of it
mod random;
mod readiness;
mod reading;
mod readme;
mod reconcile;
mod redact;
mod refusals;
mod replayed;
mod requested;
mod restart;
mod run;
mod said;
mod scenarios;
mod schema;
mod seeds;
mod semconv;
mod senders;
mod serve;
mod shutdown;
mod simulate;
mod simulated_agents;
mod sources;
mod telemetry;
mod ui;
mod uploaded_metrics;
mod uploads;
mod works;
