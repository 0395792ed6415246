//! Where `replay` sends a capture.

use http::Uri;

use super::{Env, Errors, Problem};
use crate::cli::ReplayArgs;
use crate::source::replay::Destination;

/// Reads the flags of `replay`, and the key that signs from the environment.
///
/// # Errors
/// All that is wrong with them.
pub fn destination(args: &ReplayArgs, env: &dyn Env) -> Result<Destination, Errors> {
    let mut problems = Vec::new();
    let mut problem = |at: &str, what: &str| {
        problems.push(Problem { at: at.to_owned(), what: what.to_owned() });
    };
    let mut url = |flag: &str, text: &str| {
        let url = text.parse::<Uri>().ok();
        let url = url.filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
        if url.is_none() {
            problem(flag, "must be an http URL, such as http://127.0.0.1:9290/webhook");
        }
        url.unwrap_or_default()
    };
    let webhook = url("--webhook", &args.webhook);
    let analytics = url("--analytics", &args.analytics);
    let speed = args.speed.as_deref().unwrap_or("1").parse().unwrap_or(f64::NAN);
    if speed.is_nan() || speed <= 0.0 {
        problem("--speed", "must be a number above 0: how many times faster than recorded");
    }
    let mut variable = |name: &str| {
        let value = env.get(name).unwrap_or_default();
        if value.is_empty() {
            problem(name, "must be set: it signs the webhooks");
        }
        value
    };
    let key = variable("LIVEKIT_API_KEY");
    let secret = variable("LIVEKIT_API_SECRET");
    if problems.is_empty() {
        Ok(Destination { webhook, analytics, key, secret, speed })
    } else {
        Err(Errors(problems))
    }
}
