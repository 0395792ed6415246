//! The load that `simulate` sends, and where.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::replay::Flags;
use super::values::{self, Parsed};
use super::{Env, Errors};
use crate::cli::SimulateArgs;
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::Settings;

const MOST_ROOMS: usize = 100_000;
const MOST_PARTICIPANTS: usize = 10_000;
const MOST_TRACKS: usize = 16;
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the flags of `simulate`, and the key that signs from the environment.
///
/// # Errors
/// All errors.
pub fn simulation(args: &SimulateArgs, env: &dyn Env) -> Result<(Settings, Destination), Errors> {
    let mut flags = Flags::default();
    let webhook = args.webhook.as_deref().map(|text| flags.url("--webhook", text));
    let analytics = args.analytics.as_deref().map(|text| flags.url("--analytics", text));
    if webhook.is_none() && analytics.is_none() {
        flags.wrong("--webhook", "must be set, or --analytics: where to send it");
    }
    let speed = flags.speed(args.speed.as_deref());
    let (key, secret) = flags.key(env, webhook.is_some());
    let mut settings = Settings {
        subscribe: args.subscribe,
        webhooks: webhook.is_some(),
        analytics: analytics.is_some(),
        ..Settings::default()
    };
    let counts = [
        ("--rooms", &args.rooms, &mut settings.rooms, 1..=MOST_ROOMS),
        ("--participants", &args.participants, &mut settings.participants, 1..=MOST_PARTICIPANTS),
        ("--tracks", &args.tracks, &mut settings.tracks, 0..=MOST_TRACKS),
    ];
    for (flag, text, count, range) in counts {
        flags.read(flag, text.as_deref(), count, |text| number(text, &range));
    }
    let duration = values::positive_duration;
    flags.read("--duration", args.duration.as_deref(), &mut settings.duration, duration);
    flags.read("--interval", args.interval.as_deref(), &mut settings.interval, interval);
    flags.read("--seed", args.seed.as_deref(), &mut settings.seed, seed);
    flags.read("--loss", args.loss.as_deref(), &mut settings.loss, part);
    flags.read("--failures", args.failures.as_deref(), &mut settings.failures, part);
    let (webhook, analytics) = (webhook.unwrap_or_default(), analytics.unwrap_or_default());
    flags.end((settings, Destination { webhook, analytics, key, secret, speed }))
}

impl Flags {
    // Keeps the default unless the flag is given.
    fn read<T>(
        &mut self,
        flag: &str,
        text: Option<&str>,
        to: &mut T,
        parse: impl Fn(&str) -> Parsed<T>,
    ) {
        let Some(text) = text else { return };
        match parse(text) {
            Ok(value) => *to = value,
            Err(what) => self.wrong_value(flag, what, text),
        }
    }
}

fn number(text: &str, range: &RangeInclusive<usize>) -> Parsed<usize> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| format!("must be a number from {least} to {most}"))
}

fn interval(text: &str) -> Parsed<Duration> {
    let parsed = values::duration(text)?;
    if parsed < LEAST_INTERVAL { Err("must be at least 1s".into()) } else { Ok(parsed) }
}

fn seed(text: &str) -> Parsed<u64> {
    text.parse().map_err(|_| "must be a whole number of at most 64 bits".into())
}

fn part(text: &str) -> Parsed<f64> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "must be a number from 0 to 1, such as 0.02".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn streams_use_a_key_if_there_is_one_and_webhooks_need_one() {
        let read = |webhook: bool, variables: &[&str]| {
            let url = Some("http://127.0.0.1:1".to_owned());
            let args = SimulateArgs {
                webhook: url.clone().filter(|_| webhook),
                analytics: url,
                ..SimulateArgs::default()
            };
            let set = |name: &&str| ((*name).to_owned(), format!("of {name}"));
            let env = variables.iter().map(set).collect::<BTreeMap<_, _>>();
            simulation(&args, &env).map(|(_, to)| to.key).map_err(|errors| errors.to_string())
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
