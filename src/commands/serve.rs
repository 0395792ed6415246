//! `livekit-otel serve`: the server, until a signal or a fault ends it.

use std::io::Write;

use super::{Failure, succeeded};
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::observe;
use crate::serve::{self, Outcome};
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_ledger::report::render_ledger;

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let load = || Config::load(args, &ProcessEnv);
    let config = load().map_err(|errors| Failure::usage(&errors))?;
    if args.check {
        return Ok(writeln!(std::io::stdout(), "ok")?);
    }
    let own_traces = config.observe_traces.then_some(&config.export);
    let log = observe::init_logging(&config.log, own_traces)?;
    let report = match serve::run(config, || load().map(|config| config.keys)).await? {
        Outcome::Drained(report) => report,
        Outcome::Interrupted(signal) => return Err(Failure::Interrupted(signal)),
    };
    log.shutdown().await;
    render_ledger(&report.ledger, &mut std::io::stdout(), 80)?;
    succeeded(&report.failures())
}
