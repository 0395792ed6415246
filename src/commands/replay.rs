//! `livekit-otel replay`: a capture, sent to a running server.

use std::io::Write;

use super::Failure;
use super::flags::Flags;
use crate::cli::ReplayArgs;
use crate::config::{Env, ProcessEnv};
use crate::demo;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::replay::{self, Destination, Sent};

pub(super) async fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let to = destination(args, &ProcessEnv)?;
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

fn destination(args: &ReplayArgs, env: &dyn Env) -> Result<Destination, Failure> {
    let mut flags = Flags::default();
    let webhook = flags.url("--webhook", Some(&args.webhook));
    let analytics = flags.url("--analytics", Some(&args.analytics));
    let mut speed = 1.0;
    flags.set("--speed", args.speed.as_ref(), &mut speed);
    let (key, secret) = flags.key(env, true);
    flags.finish(Destination { webhook, analytics, key, secret, speed })
}
