//! Where captures and simulations are sent, and how long a server that is away is waited for.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use livekit_otel_transport::chain;
use livekit_otel_transport::greeting::Unexpected;
use livekit_otel_transport::hint::{Attempt, hint};
use livekit_otel_transport::proxy::port;

const CONNECT: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const BETWEEN_NOTICES: Duration = Duration::from_secs(10);

/// Where a capture or a simulation is sent.
#[derive(Clone)]
pub struct Destination {
    /// The URL for webhooks; `http` only.
    pub webhook: Uri,
    /// The address for analytics streams, as `http://host:port`.
    pub analytics: Uri,
    /// What the paths of uploads follow, like `LIVEKIT_OBSERVABILITY_URL`; `http` only.
    pub uploads: Uri,
    /// The key that signs webhooks, and the tokens of streams and uploads. If it is empty, streams
    /// have no token.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// How many times faster than recorded to send. Infinity leaves out all pauses.
    pub speed: f64,
    /// How long what a server does not acknowledge is sent again, from its first failure.
    pub retry_for: Duration,
}

impl Destination {
    /// The default of `retry_for`: longer than a restart.
    pub const RETRY_FOR: Duration = Duration::from_secs(30);
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Destination");
        shown.field("webhook", &self.webhook).field("analytics", &self.analytics);
        shown.field("uploads", &self.uploads).field("retry_for", &self.retry_for);
        shown.field("key", &self.key).field("speed", &self.speed).finish_non_exhaustive()
    }
}

/// Nothing accepts connections at an address.
#[derive(Debug, thiserror::Error)]
#[error("{to} can't be reached: {why}")]
pub struct Unreachable {
    /// The address.
    pub to: Attempt,
    /// Why, and what to do.
    pub why: Failure,
}

/// Connects once. A server that is not there at the start is a wrong address, rather than a restart.
pub(crate) async fn reach(to: &Attempt, uri: &Uri) -> Result<(), Unreachable> {
    let host = to.host().trim_matches(['[', ']']);
    let connected = TcpStream::connect((host, port(uri)));
    let connected = timeout(CONNECT, connected).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let unreachable =
        |error: io::Error| Unreachable { to: to.clone(), why: Failure::of(&error, to) };
    connected.map(|_| ()).map_err(unreachable)
}

/// A failed attempt: the error with its causes, and the likely reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    text: String,
    is_for_good: bool,
}

impl Failure {
    pub(crate) fn of(error: &(dyn Error + 'static), to: &Attempt) -> Self {
        let mut text = chain(error);
        if let Some(hint) = hint(error, to) {
            text = format!("{text}. {hint}");
        }
        Self { text, is_for_good: speaks_another_protocol(error) }
    }

    /// Without an error of the connection.
    pub(crate) fn new(text: String) -> Self {
        Self { text, is_for_good: false }
    }

    /// Whether another attempt would fail too: what answers at the address is another server.
    pub(crate) fn is_for_good(&self) -> bool {
        self.is_for_good
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// An `io::Error` returns as its source that of the error within it.
fn speaks_another_protocol(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within as &(dyn Error + 'static)),
            None => error.source(),
        }
    });
    causes.into_iter().any(|cause| cause.is::<Unexpected>())
}

/// How long what failed is tried again.
#[derive(Debug)]
pub(crate) struct Patience {
    retry_for: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(retry_for: Duration) -> Self {
        Self { retry_for, since: None, pause: SHORTEST_PAUSE }
    }

    /// After a failure: the pause before the next attempt, which the server may have `asked` for. `None` if
    /// that is too late.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = asked.unwrap_or(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (since.elapsed() + pause < self.retry_for).then_some(pause)
    }

    /// How long it has failed.
    pub(crate) fn spent(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// After a success.
    pub(crate) fn recovered(&mut self) {
        *self = Self::new(self.retry_for);
    }
}

/// Logs that a server does not acknowledge: once in 10 s, of all connections to it.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Option<Instant>>);

impl Notices {
    pub(crate) fn note(&self, to: &Attempt, why: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN_NOTICES) {
            *last = Some(Instant::now());
            tracing::warn!(%to, why, "not acknowledged: sending it again");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;

    use super::*;

    pub(crate) fn destination(at: SocketAddr) -> Destination {
        let uri = |path: &str| format!("http://{at}{path}").parse().unwrap();
        Destination {
            webhook: uri("/webhook"),
            analytics: uri(""),
            uploads: uri("/base/"),
            key: "key".to_owned(),
            secret: "a-made-up-secret".to_owned(),
            speed: f64::INFINITY,
            retry_for: Destination::RETRY_FOR,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_its_time_and_begins_anew_after_a_success() {
        let mut patience = Patience::new(Duration::from_secs(12));
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause(None) {
            tokio::time::sleep(pause).await;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4]);
        assert_eq!(patience.pause(Some(Duration::ZERO)), Some(Duration::ZERO));
        patience.recovered();
        assert_eq!(patience.pause(None), Some(SHORTEST_PAUSE));
        assert_eq!(patience.pause(Some(Duration::from_secs(12))), None);
    }
}
