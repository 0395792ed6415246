//! What the notifier is told at start.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::target;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::messages::FilterParams;

/// Whom the notifier tells, and how long it tries.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Who is told of every event that the filters let through.
    pub endpoints: Vec<WebhookEndpoint>,
    /// The API keys and their secrets.
    pub keys: Keys,
    /// The key that signs where an endpoint or an extra webhook names none.
    pub default_key: String,
    /// Which events any of the endpoints is told of. Extra webhooks have only their own filter.
    pub filter: FilterParams,
    /// How many events may wait for one resource at one URL; 200.
    pub max_depth: usize,
    /// An event that waited for longer is not sent; 30 s.
    pub max_age: Duration,
    /// A queue that was empty for so long is removed; 5 minutes.
    pub idle: Duration,
    /// How many requests there may be at once to one endpoint, and to all extra webhooks together:
    /// a dead endpoint does not hold up the others. At least 1; 50.
    pub max_requests: usize,
    /// How long one attempt may take; 10 s.
    pub timeout: Duration,
    /// How often an event is tried again; 4.
    pub retries: u32,
    /// The pause before the first retry, which doubles with each; 1 s.
    pub min_backoff: Duration,
    /// The longest pause before a retry; 30 s.
    pub max_backoff: Duration,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            keys: Keys::default(),
            default_key: String::new(),
            filter: FilterParams::default(),
            max_depth: 200,
            max_age: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            max_requests: 50,
            timeout: Duration::from_secs(10),
            retries: 4,
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// One webhook that is always told. `Debug` shows no more of its URL than scheme, host and path.
#[derive(Clone, Default)]
pub struct WebhookEndpoint {
    /// An http or https URL. A user and password in it are not sent.
    pub url: String,
    /// The API key that signs what goes there, if not the default one.
    pub key: Option<String>,
    /// Which events go there.
    pub filter: FilterParams,
}

impl WebhookEndpoint {
    /// Signed with the default key, without a filter.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl fmt::Debug for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = target::parse(&self.url);
        f.debug_struct("WebhookEndpoint")
            .field("url", &uri.as_ref().map(target::shown))
            .field("key", &self.key)
            .field("filter", &self.filter)
            .finish()
    }
}

/// Why the notifier can't start, or not have its keys replaced. An endpoint is named by its place.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum WebhookError {
    /// An endpoint's URL can't be used.
    #[error("webhook endpoint {0}: not an http URL, or https where the build has TLS")]
    BadUrl(usize),
    /// There is no secret for an endpoint's key.
    #[error("webhook endpoint {0}: no secret for its signing key")]
    UnknownKey(usize),
    /// An endpoint is https, and the system has no certificates.
    #[error("the system's certificates can't be used: {0}")]
    Certificates(String),
    /// It was not started on a tokio runtime.
    #[error("there is no tokio runtime to send on")]
    NoRuntime,
}
