//! `livekit-otel serve`: the server, until a signal or a fault ends it.

use std::io::Write;
use std::time::SystemTime;

use super::{Failure, succeeded};
use crate::cli::ServeArgs;
use crate::config::{Checked, Config, Errors};
use crate::observe;
use crate::serve::{self, Outcome};
use crate::version;
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_ledger::report::render_ledger;

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let load = || Config::load(args, &ProcessEnv);
    let checked = Checked::load(args, &ProcessEnv, SystemTime::now());
    let checked = checked.map_err(|errors| Failure::usage(&errors))?;
    if args.check {
        return check(checked);
    }
    let own_traces = checked.config.observe_traces.then_some(&checked.config.export);
    let log = observe::init_logging(&checked.config.log, own_traces)?;
    let (version, build) = (env!("CARGO_PKG_VERSION"), version::BUILD);
    tracing::info!(version, build, "livekit-otel starts");
    checked.log();
    let config = checked.config;
    let report = match serve::run(config, || load().map(|config| config.keys)).await? {
        Outcome::Drained(report) => report,
        Outcome::Interrupted(signal) => return Err(Failure::Interrupted(signal)),
    };
    log.shutdown().await;
    render_ledger(&report.ledger, &mut std::io::stdout(), 80)?;
    succeeded(&report.failures())
}

// What does not work now is an error here; the server would start, and log it.
fn check(checked: Checked) -> Result<(), Failure> {
    if !checked.failing.is_empty() {
        return Err(Failure::usage(&Errors(checked.failing)));
    }
    Ok(write!(std::io::stdout(), "ok\n{}", checked.essentials())?)
}
