//! The settings of a notifier.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::target;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_livekit::messages::FilterParams;
use livekit_otel_livekit::post;

/// Where webhooks go, and how long the notifier tries.
#[derive(Debug, Clone)]
#[must_use]
pub struct WebhookSettings {
    pub(super) endpoints: Vec<WebhookEndpoint>,
    pub(super) keys: Keys,
    pub(super) default_key: String,
    pub(super) filter: FilterParams,
    pub(super) max_depth: usize,
    pub(super) max_age: Duration,
    pub(super) idle: Duration,
    pub(super) max_requests: usize,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) min_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) user_agent: String,
}

impl WebhookSettings {
    /// No endpoints yet. `default_key` is the key in `keys` that signs unless an endpoint or an extra
    /// webhook names another one.
    pub fn new(keys: Keys, default_key: impl Into<String>) -> Self {
        Self {
            endpoints: Vec::new(),
            keys,
            default_key: default_key.into(),
            filter: FilterParams::default(),
            max_depth: 200,
            max_age: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            max_requests: 50,
            timeout: post::ATTEMPT,
            retries: post::RETRIES,
            min_backoff: post::SHORTEST_PAUSE,
            max_backoff: post::LONGEST_PAUSE,
            user_agent: post::USER_AGENT.to_owned(),
        }
    }

    /// Adds an endpoint, which receives every event that the filters allow.
    pub fn endpoint(mut self, endpoint: WebhookEndpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds endpoints.
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = WebhookEndpoint>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }

    /// The events that endpoints receive. Extra webhooks have only their own filter.
    pub fn filter(mut self, filter: FilterParams) -> Self {
        self.filter = filter;
        self
    }

    /// The most events that wait for one resource at one URL; 200.
    pub fn max_depth(mut self, events: usize) -> Self {
        self.max_depth = events;
        self
    }

    /// How long an event may wait before it is dropped; 30 s.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// How long a queue may be empty before it is removed; 5 minutes.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// The most concurrent requests to one endpoint, and to all extra webhooks together, so that a dead
    /// endpoint does not delay the others. At least 1; 50.
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.max_requests = requests;
        self
    }

    /// How long one attempt may take, from the connection to the end of the answer; 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often an event is sent again; 4.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The pause before the first retry, which doubles with each, and the longest pause, which also limits
    /// the `Retry-After` of a receiver; 1 s and 30 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.min_backoff, self.max_backoff) = (min, max);
        self
    }

    /// The `User-Agent` of the requests: `LiveKit`, as receivers' firewalls may expect.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }
}

/// A configured webhook. `Debug` shows only scheme, host and path of its URL.
#[derive(Clone, Default)]
#[must_use]
pub struct WebhookEndpoint {
    pub(super) url: String,
    pub(super) key: Option<String>,
    pub(super) filter: FilterParams,
}

impl WebhookEndpoint {
    /// To an http or https URL, signed with the default key, without a filter. A user and password in
    /// the URL are not sent.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The API key that signs, in place of the default one.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The events that it receives.
    pub fn filter(mut self, filter: FilterParams) -> Self {
        self.filter = filter;
        self
    }
}

impl fmt::Debug for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = target::parse(&self.url);
        f.debug_struct("WebhookEndpoint")
            .field("url", &uri.as_ref().map(target::printable))
            .field("key", &self.key)
            .field("filter", &self.filter)
            .finish()
    }
}

/// Why the notifier can't start, or can't replace its keys. An endpoint is named by its index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// An endpoint's URL can't be used.
    #[error("webhook endpoint {0}: not an http URL, or https where the build has TLS")]
    BadUrl(usize),
    /// There is no secret for an endpoint's key.
    #[error("webhook endpoint {0}: no secret for its signing key")]
    UnknownKey(usize),
    /// The `User-Agent` has characters that a header can't have.
    #[error("the webhooks' user agent can't be a header")]
    BadUserAgent,
    /// An endpoint is https, and the system has no certificates.
    #[error("the system's certificates can't be used")]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    /// It was not started on a tokio runtime.
    #[error("there is no tokio runtime to send on")]
    NoRuntime,
}
