//! HTTP and gRPC clients, and helpers for their errors and retries.
//!
//! - [`client`]: an HTTP client with the system's certificates.
//! - [`frames`]: gRPC messages as bytes, and answers that are judged by their status alone.
//! - [`tls`]: the PEM files of a client.
//! - [`chain`] formats an error with its causes, [`jittered`] spreads retries.
//!
//! This crate knows none of the other members: neither LiveKit's messages nor OTLP. The tests of its users
//! test it against servers: `crates/export/src/tests` and the root's `tests/it`.

#[cfg(feature = "tls")]
pub mod certificates;
pub mod client;
pub mod frames;
pub mod tls;

use std::time::Duration;

/// An error and its causes, separated by colons.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Many errors quote their source already.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Half to all of `backoff`, at random: clients that lost the same server don't reconnect in step.
pub fn jittered(backoff: Duration) -> Duration {
    backoff / 2 + backoff / 2000 * fastrand::u32(..1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_chain_quotes_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the file: {0}")]
        struct Quoting(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("no answer")]
        struct Silent(#[source] Quoting);
        let error = Silent(Quoting(io::Error::other("no disk")));
        assert_eq!(chain(&error), "no answer: the file: no disk");
    }

    #[test]
    fn a_jittered_pause_is_half_to_all_of_the_backoff() {
        let backoff = Duration::from_secs(4);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(backoff)).collect();
        assert!(pauses.iter().all(|pause| (backoff / 2..=backoff).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
