//! The whole stack: LiveKit's server, clients of it with audio and video, `livekit-otel serve`, an
//! OpenTelemetry Collector, Jaeger and Prometheus, and what those say of two calls when they are asked.
//! `make stack` runs it, `make stack KEEP=1` holds it up. Where Go can't be had it says so and ends;
//! `REQUIRE_REAL=1` makes that a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod agents;
mod arguments;
mod call;
mod kills;
mod ledger;
mod live_check;
mod metrics;
mod otlp;
#[path = "../parts/mod.rs"]
mod parts;
#[path = "../crash/program.rs"]
#[allow(dead_code)] // that it is killed
mod program;
mod queries;
mod report;
#[allow(dead_code)] // what the static tests need
mod shipped;
mod stack;
mod tree;

use std::process::ExitCode;
use std::time::Instant;

use arguments::Task;
use call::Room;
use live_check::livekit::LiveKit;
use parts::{Part, Parts};
use report::Report;
use stack::{Binaries, Stack};

const ROOM: &str = "standup";

fn main() -> ExitCode {
    match arguments::task(std::env::args().skip(1)) {
        Task::Run { keep } => run(keep),
        Task::List => {
            println!("stack: test");
            ExitCode::SUCCESS
        }
        Task::Help => {
            println!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Task::Nothing => ExitCode::SUCCESS,
    }
}

fn run(keep: bool) -> ExitCode {
    let begin = Instant::now();
    println!("\nThe stack's parts");
    let Some(binaries) = parts::or_say("NO STACK", build()) else {
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let report = Report::default();
    let had = tasks.block_on(&runtime, async {
        // A task: what it has started ends with it, by a panic too.
        let calls = tokio::task::spawn_local(calls(binaries, report.clone()));
        let end = calls.abort_handle();
        tokio::select! {
            had = calls => had.map_err(|_| "a panic"),
            _ = tokio::signal::ctrl_c() => {
                end.abort();
                Err("Ctrl-C")
            }
        }
    });
    let (stack, room) = match had {
        Ok(had) => had,
        Err(why) => {
            report.found("the calls come to their end", &[why.to_owned()]);
            report.end();
            return ExitCode::FAILURE;
        }
    };
    report::took("all of it", begin);
    if keep {
        let is_well = report.end();
        stack.say_where(&room);
        runtime.block_on(tokio::signal::ctrl_c()).unwrap();
        return ExitCode::from(u8::from(!is_well));
    }
    report.found("livekit-otel stops in order", &stack.stop());
    ExitCode::from(u8::from(!report.end()))
}

fn build() -> Result<Binaries, String> {
    let part = |part: Part| {
        let built = parts::build_part(part)?;
        if built.took.is_none() {
            println!("  {}: built before", part.title());
        }
        Ok::<_, String>(built.path)
    };
    let livekit = Parts { server: part(Part::Livekit)?, client: part(Part::Client)? };
    let (collector, prometheus) = (part(Part::Collector)?, part(Part::Prometheus)?);
    Ok(Binaries { livekit, collector, prometheus, jaeger: part(Part::Jaeger)? })
}

async fn calls(binaries: Binaries, report: Report) -> (Stack, Room) {
    println!("\nStarting them");
    let mut stack = Stack::start(binaries);
    println!(
        "\nA call: three talk, one of them loses packets, one is muted, one leaves; one is killed, one can't connect"
    );
    let begin = Instant::now();
    let room = call::run(&stack, &report).await;
    report::took("the call", begin);
    println!("\nA call with kills");
    kills::run(&mut stack, &report).await;
    ledger::check(&stack, &report).await;
    let livekit = parts::livekit_registry().and_then(|otel| LiveKit::read(&otel));
    let livekit = parts::or_say("NOT COMPARED WITH LIVEKIT'S REGISTRY", livekit);
    match live_check::check(&stack.files(), &livekit.unwrap_or_default()) {
        Ok(what) => report.found(&what, &[]),
        Err(problems) => report.found("all that was emitted is in semconv/", &problems),
    }
    (stack, room)
}
