//! `livekit-otel demo`: a recorded call through `serve` to a collector, and a report of it.

use std::io::{self, IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, succeeded};
use crate::cli::DemoArgs;
use crate::demo::{self, Collect};
use crate::ui;
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_tools::demo::Style;

pub(super) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let collect = match args.endpoint {
        None => Collect::Own,
        endpoint => {
            let config = demo::config_for(endpoint, args.protocol, &ProcessEnv);
            Collect::Yours(Box::new(config.map_err(|errors| Failure::usage(&errors))?))
        }
    };
    let stdout = io::stdout();
    let is_coloured = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = if is_coloured { Style::coloured() } else { Style::plain() };
    let mut out = stdout.lock();
    let ran = demo::run(&args.capture, collect, args.open, style, &mut out).await?;
    if let Some(ui) = &ran.ui {
        show(ui, &mut out).await?;
    }
    succeeded(&ran.report.failures())
}

// Until Ctrl-C.
async fn show(ui: &ui::Ui, out: &mut impl Write) -> io::Result<()> {
    // Before the URL is printed: without a handler, an early Ctrl-C ends the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    writeln!(out, "\nThe same call in the live view, until Ctrl-C: {}", ui.url())?;
    out.flush()?;
    ui::open(&ui.url());
    interrupt.recv().await;
    Ok(())
}
