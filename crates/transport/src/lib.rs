//! How other programs are called: an HTTP client with the system's certificates ([`client`]), and gRPC
//! calls whose messages are bytes and whose status decides ([`frames`]).

pub mod client;
pub mod frames;

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

/// Half to all of `backoff`, at random: clients that lost the same server don't reconnect in step.
pub fn jittered(backoff: Duration) -> Duration {
    backoff / 2 + backoff / 2000 * fastrand::u32(..1000)
}
