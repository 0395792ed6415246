//! `livekit-otel replay`: a capture, sent to a running server.

use std::io::Write;

use super::Failure;
use crate::cli::ReplayArgs;
use crate::config;
use crate::demo;
use livekit_otel_export::configure::ProcessEnv;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::replay::{self, Sent};

pub(super) async fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let to = config::destination(args, &ProcessEnv).map_err(|errors| Failure::usage(&errors))?;
    let capture = demo::read_capture(&args.file)?;
    let progress = Progress::new(capture.lines.len() as u64, "replaying");
    let sent = replay::replay(&capture, &to, |done| progress.set(done as u64)).await;
    progress.finish();
    let Sent { webhooks, events, stats, node_rooms } = sent?;
    Ok(writeln!(
        std::io::stdout(),
        "sent {webhooks} webhooks, {events} events, {stats} stats and {node_rooms} node rooms"
    )?)
}
