//! The `livekit-otel` binary: arguments, configuration, run.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use livekit_otel::cli::{
    self, Cli, Command, Deadletter, DeadletterArgs, DemoArgs, EXIT_USAGE, ReplayArgs, ServeArgs,
    SimulateArgs, StatusArgs, TraceIdArgs,
};
use livekit_otel::commands::{self, DeadLetterFiles};
use livekit_otel::config;
use livekit_otel::config::Config;
use livekit_otel::demo;
use livekit_otel::demo::Collect;
use livekit_otel::observe;
use livekit_otel::serve;
use livekit_otel::serve::Outcome;
use livekit_otel::ui;
use livekit_otel_engine::session::{hex, ids};
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_ledger::report::render_ledger;
use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_tools::demo::{Progress, Style};
use livekit_otel_tools::replay;
use livekit_otel_tools::simulate::{Simulation, send};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why the program ends early, and with which code.
enum Failure {
    /// Wrong arguments or configuration.
    Usage(String),
    /// It could not start, or not do all that it was asked for.
    Failed(String),
    /// A second signal, of this number, ended it.
    Interrupted(u8),
}

fn main() -> ExitCode {
    observe::log_panics();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Where stderr is closed nothing can be said.
            let _ = error.print();
            return ExitCode::from(cli::exit_code(&error));
        }
    };
    let outcome = match cli.command {
        Command::Serve(args) => serve(&args),
        Command::Demo(args) => demo(args),
        Command::Replay(args) => replay(&args),
        Command::Simulate(args) => simulate(&args),
        Command::Status(args) => status(&args),
        Command::TraceId(args) => trace_id(&args),
        Command::Deadletter(args) => deadletter(args),
    };
    let (message, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (message, ExitCode::from(EXIT_USAGE)),
        Err(Failure::Failed(message)) => (message, ExitCode::FAILURE),
        // As a shell has it of what a signal ends.
        Err(Failure::Interrupted(signal)) => return ExitCode::from(128 + signal),
    };
    let _ = writeln!(std::io::stderr(), "{message}");
    code
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let config = Config::load(args, &ProcessEnv).map_err(usage)?;
    if args.check {
        return writeln!(std::io::stdout(), "ok").map_err(failed);
    }
    run(async {
        let own_traces = config.observe_traces.then_some(&config.export);
        let log = observe::init_logging(&config.log, own_traces).map_err(failed)?;
        let keys = || Config::load(args, &ProcessEnv).map(|config| config.keys);
        let report = match serve::run(config, keys).await.map_err(failed)? {
            Outcome::Drained(report) => report,
            Outcome::Interrupted(signal) => return Err(Failure::Interrupted(signal)),
        };
        log.shutdown().await;
        render_ledger(&report.ledger, &mut std::io::stdout(), 80).map_err(failed)?;
        succeeded(&report.failures())
    })
}

fn demo(args: DemoArgs) -> Result<(), Failure> {
    let collect = match args.endpoint {
        None => Collect::Own,
        endpoint => {
            let config = demo::config_for(endpoint, args.protocol, &ProcessEnv);
            Collect::Yours(Box::new(config.map_err(usage)?))
        }
    };
    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if colour { Style::coloured() } else { Style::plain() };
    run(async {
        let mut out = stdout.lock();
        let ran = demo::run(args.capture.as_deref(), collect, args.open, style, &mut out);
        let ran = ran.await.map_err(failed)?;
        if let Some(ui) = &ran.ui {
            show(ui, &mut out).await.map_err(failed)?;
        }
        succeeded(&ran.report.failures())
    })
}

// Until somebody has seen enough.
async fn show(ui: &ui::Ui, out: &mut impl Write) -> std::io::Result<()> {
    // Before it is announced: a Ctrl-C that comes first would end the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    writeln!(out, "\nThe same as a page, until Ctrl-C: {}", ui.url())?;
    out.flush()?;
    ui::open(&ui.url());
    interrupt.recv().await;
    Ok(())
}

fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let to = config::destination(args, &ProcessEnv).map_err(usage)?;
    let capture = demo::read_capture(&args.file).map_err(failed)?;
    let progress = Progress::new(capture.lines.len() as u64, "replaying");
    let sent = run(async {
        replay::replay(&capture, &to, |done| progress.set(done as u64)).await.map_err(failed)
    });
    progress.finish();
    let replay::Sent { webhooks, events, stats, node_rooms } = sent?;
    writeln!(
        std::io::stdout(),
        "sent {webhooks} webhooks, and messages of {events} events, {stats} stats, \
         {node_rooms} node rooms"
    )
    .map_err(failed)
}

fn simulate(args: &SimulateArgs) -> Result<(), Failure> {
    let (settings, to) = config::simulation(args, &ProcessEnv).map_err(usage)?;
    let start = send::start(settings.duration, to.speed, Time::from_system(SystemTime::now()));
    let progress = Progress::new(settings.duration.as_secs(), "simulating");
    let report = run(async {
        let stop = async {
            // Where no signal can be had it ends in its time.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let simulation = Simulation::new(settings, start);
        let sending = send::send(simulation, &to, stop, |at| progress.set(at.as_secs()));
        tokio::select! {
            sent = sending => sent.map_err(failed),
            signal = second_interrupt() => Err(Failure::Interrupted(signal)),
        }
    });
    progress.finish();
    let (report, mut out) = (report?, std::io::stdout());
    if args.json {
        let json = serde_json::to_string_pretty(&report.json()).map_err(failed)?;
        writeln!(out, "{json}").map_err(failed)?;
    } else {
        report.render(&mut out).map_err(failed)?;
    }
    match report.unacknowledged() {
        0 => Ok(()),
        n => Err(Failure::Failed(format!("livekit-otel: {n} messages were not acknowledged"))),
    }
}

// The first lets all leave; that may take as long as the server does not answer.
async fn second_interrupt() -> u8 {
    let kind = SignalKind::interrupt();
    let Ok(mut signals) = signal(kind) else { return std::future::pending().await };
    signals.recv().await;
    signals.recv().await;
    u8::try_from(kind.as_raw_value()).unwrap_or_default()
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let status = run(async { commands::status(&args.admin).await.map_err(failed) })?;
    if args.json {
        let json = serde_json::to_string_pretty(&status).map_err(failed)?;
        return writeln!(out, "{json}").map_err(failed);
    }
    render_ledger(&status.ledger, &mut out, 80).map_err(failed)?;
    status.ledger.check().map_err(failed)
}

fn trace_id(args: &TraceIdArgs) -> Result<(), Failure> {
    let is_room = |sid: &&String| sid.starts_with("RM_");
    let room = Some(&args.room).filter(is_room).and_then(|sid| RoomSid::new(sid));
    let room = room.ok_or_else(|| usage("ROOM: must be a room's session id, RM_…"))?;
    let participant = args.participant.as_ref().and_then(|sid| ParticipantSid::new(sid));
    let trace =
        participant.map_or_else(|| ids::trace(&room), |sid| ids::participant_trace(&room, &sid));
    let id = hex(&trace);
    let line = args.url.as_ref().map_or_else(|| id.clone(), |url| url.replace("{trace_id}", &id));
    writeln!(std::io::stdout(), "{line}").map_err(failed)
}

fn deadletter(command: Deadletter) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let find = |args: &DeadletterArgs| DeadLetterFiles::find(&args.journal_dir, &args.ids);
    match command {
        Deadletter::List(args) => find(&args).and_then(|letters| letters.list(&mut out)),
        Deadletter::Drop(args) => find(&args).and_then(|letters| letters.forget(&mut out)),
        Deadletter::Retry(args) => {
            let config = Config::load(&args.serve, &ProcessEnv).map_err(usage)?;
            let journal = config.journal.as_ref();
            let journal = journal.ok_or_else(|| usage("journal.dir: must be set"))?;
            let letters = DeadLetterFiles::find(&journal.directory, &args.ids).map_err(failed)?;
            return run(async { letters.retry(&config, &mut out).await.map_err(failed) });
        }
    }
    .map_err(failed)
}

fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let outcome = runtime.block_on(command);
    // A thread that waits for a disk that hangs is not waited for.
    runtime.shutdown_background();
    outcome
}

fn succeeded(failures: &[String]) -> Result<(), Failure> {
    if failures.is_empty() { Ok(()) } else { Err(failed(failures.join("\nlivekit-otel: "))) }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("livekit-otel: {error}"))
}
