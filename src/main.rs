//! The `livekit-otel` binary: arguments, runtime, exit code.

use std::io::Write;
use std::process::ExitCode;

use livekit_otel::cli::{self, Cli, Command};
use livekit_otel::commands::{self, Failure};
use livekit_otel::observe;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    observe::log_panics();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be reported if stderr is closed.
            let _ = error.print();
            return ExitCode::from(cli::exit_code(&error));
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                let _ = writeln!(std::io::stderr(), "{message}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(commands::run(command));
    // Does not wait for threads that are blocked by a disk.
    runtime.shutdown_background();
    outcome
}
