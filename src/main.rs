//! The `livekit-otel` binary: arguments, configuration, run.

use std::io::{self, Write};
use std::process::ExitCode;

use livekit_otel::cli::{self, Cli, Command, DemoArgs, EXIT_USAGE, ReplayArgs, ServeArgs};
use livekit_otel::config::{Config, ProcessEnv};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Where stdout or stderr is closed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(cli::exit_code(&error));
        }
    };
    match cli.command {
        Command::Serve(args) => serve(&args),
        Command::Demo(args) => demo(&args),
        Command::Replay(args) => replay(&args),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let config = match Config::load(args, &ProcessEnv) {
        Ok(config) => config,
        Err(errors) => {
            let _ = writeln!(io::stderr(), "{errors}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.check {
        return match writeln!(io::stdout(), "ok") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    run(config)
}

fn run(_: Config) -> ExitCode {
    not_there("serve")
}

fn demo(_: &DemoArgs) -> ExitCode {
    not_there("demo")
}

fn replay(_: &ReplayArgs) -> ExitCode {
    not_there("replay")
}

fn not_there(command: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "livekit-otel: this build has no `{command}`");
    ExitCode::FAILURE
}
