//! Where `replay` sends a capture.

use http::Uri;

use super::{Env, Errors, Problem};
use crate::cli::ReplayArgs;
use livekit_otel_tools::replay::Destination;

/// Reads the flags of `replay`, and the key that signs from the environment.
///
/// # Errors
/// All errors.
pub fn destination(args: &ReplayArgs, env: &dyn Env) -> Result<Destination, Errors> {
    let mut flags = Flags::default();
    let webhook = flags.url("--webhook", &args.webhook);
    let analytics = flags.url("--analytics", &args.analytics);
    let speed = flags.speed(args.speed.as_deref());
    let (key, secret) = flags.key(env, true);
    flags.end(Destination { webhook, analytics, key, secret, speed })
}

/// Collects the errors of flags.
#[derive(Default)]
pub(super) struct Flags {
    problems: Vec<Problem>,
}

impl Flags {
    pub(super) fn wrong(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(at, what));
    }

    pub(super) fn wrong_value(&mut self, flag: &str, what: impl Into<String>, value: &str) {
        self.problems.push(Problem::new(flag, what).with_value(value));
    }

    pub(super) fn url(&mut self, flag: &str, text: &str) -> Uri {
        let url = text.parse::<Uri>().ok();
        let url = url.filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
        if url.is_none() {
            let what = "must be an http URL, such as http://127.0.0.1:9290/webhook";
            self.wrong_value(flag, what, text);
        }
        url.unwrap_or_default()
    }

    pub(super) fn speed(&mut self, text: Option<&str>) -> f64 {
        let text = text.unwrap_or("1");
        let speed = text.parse().unwrap_or(f64::NAN);
        if speed.is_nan() || speed <= 0.0 {
            let what = "must be a number above 0: how many times faster than recorded";
            self.wrong_value("--speed", what, text);
        }
        speed
    }

    /// The key that signs webhooks and streams' tokens, and its secret. Webhooks need it.
    pub(super) fn key(&mut self, env: &dyn Env, webhooks: bool) -> (String, String) {
        let names = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];
        let values = names.map(|name| env.get(name).unwrap_or_default());
        let is_half = values.iter().any(|value| !value.is_empty());
        for (name, value) in names.iter().zip(&values) {
            if value.is_empty() && webhooks {
                self.wrong(name, "must be set: it signs the webhooks");
            } else if value.is_empty() && is_half {
                self.wrong(name, "must be set with the other: they sign the streams' tokens");
            }
        }
        let [key, secret] = values;
        (key, secret)
    }

    pub(super) fn end<T>(self, read: T) -> Result<T, Errors> {
        if self.problems.is_empty() { Ok(read) } else { Err(Errors(self.problems)) }
    }
}
