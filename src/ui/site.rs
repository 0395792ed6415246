//! The routes of the pages. Only this machine gets an answer, and no other site's page does.

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

use super::pages::{self, Context, Filter};
use super::view::View;
use livekit_otel_model::event::Time;

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

// No JavaScript, no external resources, no frames. The filters are forms, which this process answers.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";
const SAFE: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Serves the pages for GET and HEAD.
pub(super) fn router(view: Arc<View>) -> Router {
    Router::new()
        .route("/", get((StatusCode::FOUND, [(LOCATION, "/ui")])))
        .route("/ui", get(rooms))
        .route("/ui/rooms/{room}", get(room))
        .route("/ui/rooms/{room}/participants/{participant}", get(participant))
        .route("/ui/failures", get(failures))
        .route("/ui/outside", get(outside))
        .route("/ui/delivery", get(delivery))
        .route("/ui/style.css", get(([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/ui/icon.svg", get(([(CONTENT_TYPE, "image/svg+xml")], ICON)))
        .fallback(nowhere)
        .layer(from_fn(guard))
        .with_state(view)
}

// A site whose name resolves to this address (DNS rebinding) sends its own name as the host.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_local_request(request.headers(), request.uri()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only for localhost, 127.0.0.1 and [::1]\n").into_response()
    };
    for (name, value) in SAFE {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn is_local_request(headers: &HeaderMap, uri: &Uri) -> bool {
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

impl View {
    fn context(&self, uri: &Uri) -> Context {
        let (filter, refreshes) = Filter::read(uri.query().unwrap_or_default());
        Context {
            now: Time::from_system(SystemTime::now()),
            path: uri.path().to_owned(),
            filter,
            refreshes,
            trace_url: self.trace_url.clone(),
            missed: self.missed.load(Relaxed),
            health: self.ledger.health().report(),
            ledger: self.ledger.snapshot(),
        }
    }
}

fn found(page: String, context: &Context) -> Response {
    let mut response = Html(page).into_response();
    if context.refreshes {
        response.headers_mut().insert(REFRESH, HeaderValue::from_static("5"));
    }
    response
}

fn missing(what: &str, context: &Context) -> Response {
    (StatusCode::NOT_FOUND, Html(pages::not_found(what, context))).into_response()
}

async fn rooms(State(view): State<Arc<View>>, uri: Uri) -> Response {
    let context = view.context(&uri);
    let page = pages::rooms(&view.store(), &context);
    found(page, &context)
}

async fn failures(State(view): State<Arc<View>>, uri: Uri) -> Response {
    let context = view.context(&uri);
    let page = pages::everywhere(&view.store(), &context);
    found(page, &context)
}

async fn outside(State(view): State<Arc<View>>, uri: Uri) -> Response {
    let context = view.context(&uri);
    let page = pages::apart(view.store().apart(), &context);
    found(page, &context)
}

const NO_ROOM: &str = "This process never received such a room, or no longer holds it.";

async fn room(State(view): State<Arc<View>>, Path(sid): Path<String>, uri: Uri) -> Response {
    let context = view.context(&uri);
    let page = view.store().room(&sid).map(|room| pages::room(room, &context));
    page.map_or_else(|| missing(NO_ROOM, &context), |page| found(page, &context))
}

async fn participant(
    State(view): State<Arc<View>>,
    Path((sid, who)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let context = view.context(&uri);
    let store = view.store();
    let page = store.room(&sid).and_then(|room| pages::participant(room, &who, &context));
    page.map_or_else(|| missing(NO_ROOM, &context), |page| found(page, &context))
}

async fn delivery(State(view): State<Arc<View>>, uri: Uri) -> Response {
    let context = view.context(&uri);
    found(pages::delivery(&context), &context)
}

async fn nowhere(State(view): State<Arc<View>>, uri: Uri) -> Response {
    missing("There is no such page.", &view.context(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(hosts: &[&str], uri: &str) -> bool {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_str(host).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in hosts {
            headers.append(name, value);
        }
        is_local_request(&headers, &uri.parse().unwrap())
    }

    #[test]
    fn only_requests_with_a_local_host_are_accepted() {
        for host in ["localhost", "LOCALHOST:9292", "127.0.0.1", "127.0.0.1:1", "[::1]:9292"] {
            assert!(is_accepted(&[host], "/ui"), "{host}");
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
            assert!(!is_accepted(&[host], "/ui"), "{host}");
        }
        assert!(!is_accepted(&[], "/ui"));
        assert!(!is_accepted(&["localhost", "evil.example"], "/ui"));
        assert!(!is_accepted(&["localhost"], "http://evil.example/ui"));
        assert!(is_accepted(&["localhost"], "http://localhost:9292/ui"));
    }
}
