//! Where a webhook goes.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What tells targets apart: each has queues of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum TargetId {
    /// The endpoint of this place in the settings.
    Endpoint(usize),
    /// An extra webhook, by its whole URL.
    Extra(Uri),
}

/// A URL, and what is needed to send something there.
pub(super) struct Target {
    pub(super) id: TargetId,
    pub(super) uri: Uri,
    /// What of the URL may be told.
    pub(super) shown: String,
    /// The key that signs; none is the default one.
    pub(super) key: Option<String>,
    pub(super) requests: Arc<Semaphore>,
}

impl Target {
    /// `uri` is one that [`parse`] gave.
    pub(super) fn new(
        id: TargetId,
        uri: Uri,
        key: Option<String>,
        requests: Arc<Semaphore>,
    ) -> Self {
        Self { id, shown: shown(&uri), uri, key, requests }
    }

    /// The right to have a request open. None never comes: the semaphore is not closed.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).acquire_owned().await.ok()
    }
}

/// An http or https URL without its userinfo, which must not leave.
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

/// Scheme, host, port and path: a query may hold a secret.
pub(super) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_without_userinfo_and_query() {
        let table = [
            ("http://host", "http://host/"),
            ("http://user:hidden@host:81/hook?token=hidden", "http://host:81/hook"),
            ("http://[::1]:80/a/b?c", "http://[::1]:80/a/b"),
        ];
        for (url, told) in table {
            let uri = parse(url).unwrap();
            assert_eq!(shown(&uri), told);
            assert!(!uri.to_string().contains('@'), "{uri}");
        }
        let uri = parse("http://user@host/hook?token=kept").unwrap();
        assert_eq!(uri, "http://host/hook?token=kept");
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for url in ["", "/hook", "host:80", "ftp://host/", "http://", "http://user@/", "http:///a"]
        {
            assert!(parse(url).is_none(), "{url}");
        }
        assert_eq!(parse("https://host/").is_some(), cfg!(feature = "tls"));
    }
}
