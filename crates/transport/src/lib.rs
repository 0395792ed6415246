//! How other programs are called: an HTTP client with the system's certificates ([`client`]), and gRPC
//! calls whose messages are bytes and whose status decides ([`frames`]).

pub mod client;
pub mod frames;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// An error and what it is caused by.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Wrappers often say what they wrap.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Half to all of it: processes that lost one collector don't come back to it in step.
pub fn jittered(backoff: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    let thousandth = backoff / 2000;
    backoff / 2 + thousandth * u32::try_from(random).unwrap_or(0)
}
