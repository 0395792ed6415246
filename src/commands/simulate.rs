//! `livekit-otel simulate`: the messages of a simulated LiveKit server, sent to a running server.

use std::io::Write;
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::flags::Flags;
use crate::cli::SimulateArgs;
use crate::config::{Env, ProcessEnv};
use crate::observe;
use livekit_otel_model::event::Time;
use livekit_otel_tools::demo::Progress;
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::{Settings, Simulation, send};

const SIGINT: u8 = 2;

pub(super) async fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let (settings, to) = simulation(args, &ProcessEnv)?;
    let start = send::start(settings.duration, to.speed, Time::from_system(SystemTime::now()));
    let progress = Progress::new(settings.duration.as_secs(), "simulating");
    let writer = progress.writer();
    observe::log_warnings(move || writer.clone())?;
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

fn simulation(args: &SimulateArgs, env: &dyn Env) -> Result<(Settings, Destination), Failure> {
    let mut flags = Flags::default();
    let [has_webhook, has_analytics, has_uploads] =
        [&args.webhook, &args.analytics, &args.uploads].map(Option::is_some);
    if !has_webhook && !has_analytics && !has_uploads {
        flags.wrong("--webhook", "must be set, or --analytics or --uploads: where to send it");
    }
    let webhook = flags.url("--webhook", args.webhook.as_ref());
    let analytics = flags.url("--analytics", args.analytics.as_ref());
    let uploads = flags.uploads(args.uploads.as_ref(), &webhook);
    let mut speed = 1.0;
    flags.set("--speed", args.speed.as_ref(), &mut speed);
    let mut agents = 0;
    flags.set("--agents", args.agents.as_ref(), &mut agents);
    if agents > 0 && !has_webhook && !has_uploads {
        flags.wrong("--uploads", "must be set: where agents upload");
    }
    let (key, secret) = flags.key(env, has_webhook || agents > 0);
    let mut settings = Settings {
        subscribe: args.subscribe,
        agents,
        webhooks: has_webhook,
        analytics: has_analytics,
        ..Settings::default()
    };
    flags.set("--rooms", args.rooms.as_ref(), &mut settings.rooms);
    flags.set("--participants", args.participants.as_ref(), &mut settings.participants);
    flags.set("--tracks", args.tracks.as_ref(), &mut settings.tracks);
    flags.set("--duration", args.duration.as_ref(), &mut settings.duration);
    flags.set("--interval", args.interval.as_ref(), &mut settings.interval);
    flags.set("--seed", args.seed.as_ref(), &mut settings.seed);
    flags.set("--loss", args.loss.as_ref(), &mut settings.loss);
    flags.set("--failures", args.failures.as_ref(), &mut settings.failures);
    let mut retry_for = Destination::RETRY_FOR;
    flags.set("--retry-for", args.retry_for.as_ref(), &mut retry_for);
    let to = Destination { webhook, analytics, uploads, key, secret, speed, retry_for };
    flags.finish((settings, to))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::Uri;

    use super::*;
    use crate::cli::Flag;

    #[test]
    fn agents_upload_to_the_host_of_the_webhooks_or_elsewhere() {
        let read = |webhook: Option<&str>, uploads: Option<&str>| {
            let url = |url: &str| Flag::Valid(url.parse().unwrap());
            let args = SimulateArgs {
                webhook: webhook.map(url),
                uploads: uploads.map(url),
                analytics: Some(url("http://127.0.0.1:3")),
                agents: Some(Flag::Valid(2)),
                ..SimulateArgs::default()
            };
            let names = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];
            let env: BTreeMap<_, _> =
                names.iter().map(|it| ((*it).to_owned(), "k".into())).collect();
            let read = simulation(&args, &env).map(|(settings, to)| (settings.agents, to.uploads));
            let read = read.map(|(agents, to)| format!("{agents} {to}"));
            read.map_err(|failure| failure.message().unwrap_or_default().to_owned())
        };
        let (webhook, uploads) = ("http://127.0.0.1:1/webhook", "http://127.0.0.1:2/base");
        assert_eq!(read(Some(webhook), None).unwrap(), "2 http://127.0.0.1:1/");
        assert_eq!(read(Some(webhook), Some(uploads)).unwrap(), format!("2 {uploads}"));
        assert_eq!(read(None, Some(uploads)).unwrap(), format!("2 {uploads}"));
        assert!(read(None, None).unwrap_err().contains("--uploads: must be set"));
    }

    #[test]
    fn streams_use_a_key_if_there_is_one_and_webhooks_need_one() {
        let read = |webhook: bool, variables: &[&str]| {
            let url = Some(Flag::Valid(Uri::from_static("http://127.0.0.1:1")));
            let args = SimulateArgs {
                webhook: url.clone().filter(|_| webhook),
                analytics: url,
                ..SimulateArgs::default()
            };
            let set = |name: &&str| ((*name).to_owned(), format!("of {name}"));
            let env = variables.iter().map(set).collect::<BTreeMap<_, _>>();
            simulation(&args, &env)
                .map(|(_, to)| to.key)
                .map_err(|failure| failure.message().unwrap_or_default().to_owned())
        };
        let (key, secret) = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET");
        assert_eq!(read(false, &[key, secret]), Ok(format!("of {key}")));
        assert_eq!(read(true, &[key, secret]), Ok(format!("of {key}")));
        assert_eq!(read(false, &[]), Ok(String::new()));
        for (webhook, given, missing) in
            [(false, key, secret), (false, secret, key), (true, key, secret), (true, secret, key)]
        {
            let wrong = read(webhook, &[given]).unwrap_err();
            assert!(wrong.contains(&format!("{missing}: must be set")), "{wrong}");
        }
    }
}
