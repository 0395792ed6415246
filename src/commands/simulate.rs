//! `livekit-otel simulate`: the messages of a simulated LiveKit server, sent to a running server.

use std::io::Write;
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::cli::SimulateArgs;
use crate::config;
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_model::event::Time;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::simulate::{Simulation, send};

const SIGINT: u8 = 2;

pub(super) async fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let simulation = config::simulation(args, &ProcessEnv);
    let (settings, to) = simulation.map_err(|errors| Failure::usage(&errors))?;
    let start = send::start(settings.duration, to.speed, Time::from_system(SystemTime::now()));
    let progress = Progress::new(settings.duration.as_secs(), "simulating");
    let simulation = Simulation::new(settings, start);
    let sending = send::send(simulation, &to, interrupted(1), |at| progress.set(at.as_secs()));
    let sent = tokio::select! {
        sent = sending => sent.map_err(Failure::from),
        () = interrupted(2) => Err(Failure::Interrupted(SIGINT)),
    };
    progress.finish();
    let (report, mut out) = (sent?, std::io::stdout());
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report.json())?)?;
    } else {
        report.render(&mut out)?;
    }
    match report.unacknowledged() {
        0 => Ok(()),
        n => Err(Failure::failed(&format!("{n} messages were not acknowledged"))),
    }
}

// Returns at the SIGINT of this count: the first ends the rooms, the second the program. Without a
// handler, the simulation runs for its whole duration.
async fn interrupted(count: usize) {
    let Ok(mut signals) = signal(SignalKind::interrupt()) else {
        return std::future::pending().await;
    };
    for _ in 0..count {
        signals.recv().await;
    }
}
