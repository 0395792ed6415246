//! `livekit-otel config`: prints the configuration.

use std::io::Write;

use super::Failure;
use crate::cli::ConfigCommand;
use crate::config::{ProcessEnv, print};

pub(super) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Print(args) = command;
    let printed =
        if args.defaults { print::defaults() } else { print::effective(&args.serve, &ProcessEnv) };
    let printed = printed.map_err(|errors| Failure::usage(&errors))?;
    Ok(std::io::stdout().write_all(printed.as_bytes())?)
}
