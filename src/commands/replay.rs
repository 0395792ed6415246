//! `livekit-otel replay`: captures, sent to a running server.

use std::io::{self, Write};

use super::Failure;
use super::flags::Flags;
use crate::cli::ReplayArgs;
use crate::config::{Env, ProcessEnv};
use crate::demo;
use crate::observe;
use livekit_otel_livekit::method;
use livekit_otel_model::Source;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::replay::{self, Destination, Sent};

pub(super) async fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let to = destination(args, &ProcessEnv)?;
    let capture = demo::read_captures(&args.files)?;
    check(args, &capture)?;
    let progress = Progress::new(capture.lines.len() as u64, "replaying");
    let writer = progress.writer();
    observe::log_warnings(move || writer.clone())?;
    let replayed = replay::replay(&capture, &to, |done| progress.set(done as u64)).await;
    progress.finish();
    let mut out = std::io::stdout();
    match replayed {
        Ok(sent) => Ok(report(&sent, &mut out)?),
        Err(stopped) => {
            report(&stopped.sent, &mut out)?;
            Err(stopped.into())
        }
    }
}

fn report(sent: &Sent, out: &mut impl Write) -> io::Result<()> {
    let Sent { webhooks, events, stats, node_rooms, traces, logs, metrics, recordings, .. } = sent;
    writeln!(
        out,
        "sent {webhooks} webhooks, {events} events, {stats} stats and {node_rooms} node rooms"
    )?;
    if sent.uploads() > 0 {
        writeln!(
            out,
            "sent {} uploads: {traces} of spans, {logs} of log records, {metrics} of metrics, \
             {recordings} of recordings",
            sent.uploads()
        )?;
    }
    if sent.resent > 0 {
        writeln!(out, "sent {} again, as they were not acknowledged at first", sent.resent)?;
    }
    if sent.unacknowledged > 0 {
        writeln!(out, "NOT acknowledged: {} lines", sent.unacknowledged)?;
    }
    Ok(())
}

// With `--uploads`, the other destinations are needed only for what the captures have.
fn check(args: &ReplayArgs, capture: &Capture) -> Result<(), Failure> {
    let mut flags = Flags::default();
    let has = |source| capture.lines.iter().any(|line| line.source == source);
    if args.webhook.is_none() && has(Source::Webhook) {
        flags.wrong("--webhook", "must be set: there are webhooks in the captures");
    }
    if args.analytics.is_none() && Source::ALL.iter().any(|it| method(*it).is_some() && has(*it)) {
        flags.wrong("--analytics", "must be set: there are analytics in the captures");
    }
    flags.finish(())
}

fn destination(args: &ReplayArgs, env: &dyn Env) -> Result<Destination, Failure> {
    let mut flags = Flags::default();
    let webhook = flags.url("--webhook", args.webhook.as_ref());
    let analytics = flags.url("--analytics", args.analytics.as_ref());
    let uploads = flags.uploads(args.uploads.as_ref(), &webhook);
    let mut speed = 1.0;
    flags.set("--speed", args.speed.as_ref(), &mut speed);
    let mut retry_for = Destination::RETRY_FOR;
    flags.set("--retry-for", args.retry_for.as_ref(), &mut retry_for);
    let (key, secret) = flags.key(env, true);
    flags.finish(Destination { webhook, analytics, uploads, key, secret, speed, retry_for })
}
