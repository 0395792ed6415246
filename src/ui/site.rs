//! Where the pages are, and whom they are for: this machine, and no page of another site.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, REFERRER_POLICY, REFRESH};
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderName, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Shown;
use super::pages::{self, Look};
use livekit_otel_model::event::Time;

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

// No script, nothing from elsewhere, in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
const SAFE: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// GET and HEAD of the pages.
pub(super) fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/", get((StatusCode::FOUND, [(LOCATION, "/ui")])))
        .route("/ui", get(rooms))
        .route("/ui/rooms/{room}", get(room))
        .route("/ui/rooms/{room}/participants/{participant}", get(participant))
        .route("/ui/delivery", get(delivery))
        .route("/ui/style.css", get(([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/ui/icon.svg", get(([(CONTENT_TYPE, "image/svg+xml")], ICON)))
        .fallback(nowhere)
        .layer(from_fn(guard))
        .with_state(shown)
}

// A page of another site that has its name lead here (DNS rebinding) says its own name.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_for_us(request.headers(), request.uri()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "for localhost, 127.0.0.1 and [::1] only\n").into_response()
    };
    for (name, value) in SAFE {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_for_us(headers: &HeaderMap, uri: &Uri) -> bool {
    let is_local = |authority: &str| {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => authority,
        };
        matches!(host, "127.0.0.1" | "[::1]") || host.eq_ignore_ascii_case("localhost")
    };
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(is_local)
        && uri.authority().is_none_or(|authority| is_local(authority.as_str()))
}

impl Shown {
    fn look(&self, uri: &Uri) -> Look {
        Look {
            now: Time::from_system(SystemTime::now()),
            path: uri.path().to_owned(),
            follows: uri.query() == Some("refresh"),
            trace_url: self.trace_url.clone(),
            missed: self.missed.load(Relaxed),
        }
    }
}

fn found(page: String, look: &Look) -> Response {
    let mut response = Html(page).into_response();
    if look.follows {
        response.headers_mut().insert(REFRESH, HeaderValue::from_static("5"));
    }
    response
}

fn missing(what: &str, look: &Look) -> Response {
    (StatusCode::NOT_FOUND, Html(pages::not_found(what, look))).into_response()
}

async fn rooms(State(shown): State<Arc<Shown>>, uri: Uri) -> Response {
    let look = shown.look(&uri);
    let page = pages::rooms(&shown.store(), &look);
    found(page, &look)
}

const NO_ROOM: &str = "This process was told of no such room, or no longer holds it.";

async fn room(State(shown): State<Arc<Shown>>, Path(sid): Path<String>, uri: Uri) -> Response {
    let look = shown.look(&uri);
    let page = shown.store().room(&sid).map(|room| pages::room(room, &look));
    page.map_or_else(|| missing(NO_ROOM, &look), |page| found(page, &look))
}

async fn participant(
    State(shown): State<Arc<Shown>>,
    Path((sid, who)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let look = shown.look(&uri);
    let store = shown.store();
    let page = store.room(&sid).and_then(|room| pages::participant(room, &who, &look));
    page.map_or_else(|| missing(NO_ROOM, &look), |page| found(page, &look))
}

async fn delivery(State(shown): State<Arc<Shown>>, uri: Uri) -> Response {
    let look = shown.look(&uri);
    found(pages::delivery(&shown.ledger.snapshot(), &look), &look)
}

async fn nowhere(State(shown): State<Arc<Shown>>, uri: Uri) -> Response {
    missing("There is no such page.", &shown.look(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(hosts: &[&str], uri: &str) -> bool {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_str(host).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in hosts {
            headers.append(name, value);
        }
        is_for_us(&headers, &uri.parse().unwrap())
    }

    #[test]
    fn only_the_names_of_this_machine_are_answered() {
        for host in ["localhost", "LOCALHOST:9292", "127.0.0.1", "127.0.0.1:1", "[::1]:9292"] {
            assert!(is_taken(&[host], "/ui"), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9292",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "localhost:9292:x",
            "192.0.2.1:9292",
            "[::2]:9292",
        ] {
            assert!(!is_taken(&[host], "/ui"), "{host}");
        }
        assert!(!is_taken(&[], "/ui"));
        assert!(!is_taken(&["localhost", "evil.example"], "/ui"));
        assert!(!is_taken(&["localhost"], "http://evil.example/ui"));
        assert!(is_taken(&["localhost"], "http://localhost:9292/ui"));
    }
}
