//! Where a webhook goes.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use livekit_otel_transport::hint::{Attempt, Protocol};
use livekit_otel_transport::repeats::Minutely;

/// Identifies a target: each has its own queues.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum TargetId {
    /// The endpoint with this index in the settings.
    Endpoint(usize),
    /// An extra webhook, by its whole URL.
    Extra(Uri),
}

/// A URL, and how to send there.
pub(super) struct Target {
    pub(super) id: TargetId,
    pub(super) uri: Uri,
    /// The URL without its secrets.
    pub(super) printable: String,
    /// The key that signs; `None` for the default one.
    pub(super) key: Option<String>,
    pub(super) requests: Arc<Semaphore>,
    pub(super) lines: Arc<Lines>,
}

/// How often the log says that webhooks fail, and are dropped.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) failed: Mutex<Minutely>,
    pub(super) dropped: Mutex<Minutely>,
}

impl Target {
    /// `uri` is from [`parse`].
    pub(super) fn new(
        id: TargetId,
        uri: Uri,
        key: Option<String>,
        requests: Arc<Semaphore>,
        lines: Arc<Lines>,
    ) -> Self {
        Self { id, printable: printable(&uri), uri, key, requests, lines }
    }

    /// A request to it.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt::new(&self.uri, Protocol::Http)
    }

    /// The permit of one request. Never `None`, as the semaphore is not closed.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).acquire_owned().await.ok()
    }
}

/// An http or https URL without its user and password, which must not be sent.
pub(super) fn parse(url: &str) -> Option<Uri> {
    let uri: Uri = url.trim().parse().ok()?;
    let scheme = uri
        .scheme_str()
        .filter(|&scheme| scheme == "http" || (scheme == "https" && cfg!(feature = "tls")))?;
    let authority = uri.authority()?.as_str();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().ok()?;
    uri.host().is_some_and(|host| !host.is_empty()).then_some(uri)
}

/// Scheme, host, port and path: a query may contain a secret. LiveKit's own mask keeps the names of a query's
/// parameters, and a parameter without a name as it is.
pub(super) fn printable(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printable_url_has_no_user_and_no_query() {
        let table = [
            ("http://host", "http://host/"),
            ("http://user:hidden@host:81/hook?token=hidden", "http://host:81/hook"),
            ("http://[::1]:80/a/b?c", "http://[::1]:80/a/b"),
        ];
        for (url, expected) in table {
            let uri = parse(url).unwrap();
            assert_eq!(printable(&uri), expected);
            assert!(!uri.to_string().contains('@'), "{uri}");
        }
        let uri = parse("http://user@host/hook?token=kept").unwrap();
        assert_eq!(uri, "http://host/hook?token=kept");
    }

    #[test]
    fn a_url_must_be_an_http_url_with_a_host() {
        for url in ["", "/hook", "host:80", "ftp://host/", "http://", "http://user@/", "http:///a"]
        {
            assert!(parse(url).is_none(), "{url}");
        }
        assert_eq!(parse("https://host/").is_some(), cfg!(feature = "tls"));
    }
}
