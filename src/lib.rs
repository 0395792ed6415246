//! OpenTelemetry for LiveKit.

pub mod cli;
pub mod config;
pub mod demo;
pub mod engine;
pub mod event;
pub mod export;
pub mod journal;
pub mod ledger;
pub mod observe;
pub mod pipeline;
pub mod proto;
pub mod semconv;
pub mod serve;
pub mod session;
pub mod signal;
pub mod source;
pub mod stats;
