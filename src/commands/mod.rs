//! The commands of the program, one file each, with their errors.
//!
//! A command may use every other module; only `main.rs` uses this one.

mod config;
pub mod deadletter;
mod demo;
mod doctor;
mod flags;
mod manual;
mod replay;
mod serve;
mod simulate;
pub mod status;
mod trace_id;

use std::error::Error;
use std::time::Duration;

use crate::cli::{Command, EXIT_USAGE};
use crate::config::Errors;
use livekit_otel_transport::chain;

// For the head of an answer, and for its body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a command fails. Any error becomes [`Failure::Failed`], with its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The arguments or the configuration are wrong.
    Usage(String),
    /// The command could not start, or could not complete.
    Failed(String),
    /// A second signal, of this number, ended the command.
    Interrupted(u8),
}

impl Failure {
    /// What stderr gets; a signal needs no message.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Usage(message) | Self::Failed(message) => Some(message),
            Self::Interrupted(_) => None,
        }
    }

    /// The exit code; for a signal, the one that a shell reports.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Failed(_) => 1,
            Self::Interrupted(signal) => 128 + signal,
        }
    }

    fn failed(message: &str) -> Self {
        Self::Failed(format!("livekit-otel: {message}"))
    }

    fn usage(errors: &Errors) -> Self {
        Self::Usage(errors.to_string())
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(&chain(&error))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// Those of the command.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => Box::pin(serve::run(&args)).await,
        Command::Config(command) => config::run(&command),
        Command::Demo(args) => Box::pin(demo::run(args)).await,
        Command::Replay(args) => Box::pin(replay::run(&args)).await,
        Command::Simulate(args) => Box::pin(simulate::run(&args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(&args)).await,
        Command::Status(args) => status::run(&args).await,
        Command::TraceId(args) => trace_id::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Deadletter(command) => Box::pin(deadletter::run(command)).await,
    }
}

// One line for each reason.
fn succeeded(reasons: &[String]) -> Result<(), Failure> {
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(&reasons.join("\nlivekit-otel: ")))
    }
}
