//! Answers of LiveKit's API that refuse this program's requests.

use axum::Router;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::DATE;
use livekit_otel::config::Config;
use livekit_otel::source::reconcile::Settings;
use livekit_otel_transport::proxy::Route;

use super::{health, logging};
use crate::serve::{KEY, stop};

// LiveKit's answer (livekit-server, pkg/service/auth.go), at a clock that is so many seconds late.
async fn answering(words: &'static str, late: u64) -> http::Uri {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(move || async move {
        let date = std::time::SystemTime::now() - std::time::Duration::from_secs(late);
        (StatusCode::UNAUTHORIZED, [(DATE, httpdate::fmt_http_date(date))], words).into_response()
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url.parse().unwrap()
}

fn with_api(config: &mut Config, url: http::Uri) {
    let interval = std::time::Duration::from_millis(20);
    let (key, route) = (KEY.to_owned(), Route::Direct);
    config.api = Some(Settings { url, key, interval, requests_per_second: 1000, route });
}

#[tokio::test]
async fn a_refused_key_is_named_with_livekits_words_and_the_likely_reason() {
    for (words, late, likely) in [
        ("invalid API key", 0, "LiveKit does not have this key"),
        (
            "invalid authorization token: token signature is invalid",
            0,
            "the key's secret is not the one",
        ),
        ("invalid authorization token", 300, "this machine's clock is 30"),
        ("no", 0, "does LiveKit have this key with the same secret, and are both clocks right?"),
    ] {
        let url = answering(words, late).await;
        let address = url.authority().unwrap().to_string();
        let (server, log, _logging) = logging(|config| with_api(config, url)).await;
        let line = log.line("request to LiveKit's API failed: ").await;
        for text in [words, likely, &address, "401 Unauthorized", "key=\"devkey\""] {
            assert!(line.contains(text), "{text:?} is not in {line}");
        }
        let refusals = health(&server).await.refusals;
        assert!(
            refusals[0].text.contains(likely) && !refusals[0].text.contains("devkey"),
            "{refusals:?}"
        );
        stop(server).await;
    }
}

#[tokio::test]
async fn a_token_that_livekit_quotes_is_nowhere_and_hides_no_reason() {
    use axum::http::HeaderMap;
    use http::header::AUTHORIZATION;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    // livekit-server 1.13.5, pkg/service/auth.go, with the error of go-jose.
    let router = Router::new().fallback(|headers: HeaderMap| async move {
        let token = headers[AUTHORIZATION].to_str().unwrap().replace("Bearer ", "");
        let error = "go-jose/go-jose: error in cryptographic primitive";
        (StatusCode::UNAUTHORIZED, format!("invalid token: {token}, error: {error}"))
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (server, log, _logging) = logging(|config| with_api(config, url)).await;
    let line = log.line("request to LiveKit's API").await;
    for text in ["invalid token: …, error: go-jose", "the key's secret is not the one"] {
        assert!(line.contains(text), "{text:?} is not in {line}");
    }
    let text = health(&server).await.refusals.remove(0).text;
    assert!(!line.contains("eyJ") && !text.contains("eyJ"), "{line} {text}");
    stop(server).await;
}

#[tokio::test]
async fn a_proxy_between_is_in_the_line() {
    use livekit_otel_transport::proxy::Proxies;

    let closed = crate::port::unused_address();
    let set = |name: &str| (name == "HTTP_PROXY").then(|| format!("http://{closed}"));
    let url: http::Uri = "http://livekit.test:7880/".parse().unwrap();
    let route = Proxies::new(set).of_http(&url).unwrap();
    let set = |config: &mut Config| {
        with_api(config, url);
        config.api.as_mut().unwrap().route = route;
    };
    let (server, log, _logging) = logging(set).await;
    let line = log.line(r#"reason="unavailable""#).await;
    let at = format!("livekit.test:7880 (http, through the proxy {closed})");
    assert!(line.contains(&at), "{at:?} is not in {line}");
    stop(server).await;
}

#[tokio::test]
async fn an_api_that_answers_again_is_no_problem_any_more() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (is_well, answer) = (Arc::new(AtomicBool::new(false)), StatusCode::SERVICE_UNAVAILABLE);
    let well = Arc::clone(&is_well);
    // No bytes are a list without rooms.
    let router = Router::new()
        .fallback(move || async move { if well.load(Relaxed) { StatusCode::OK } else { answer } });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (server, log, _logging) = logging(|config| with_api(config, url)).await;
    log.line("request to LiveKit's API failed").await;
    assert_eq!(health(&server).await.refusals.len(), 1);
    is_well.store(true, Relaxed);
    log.line("LiveKit's API answers again").await;
    while !health(&server).await.refusals.is_empty() {
        tokio::task::yield_now().await;
    }
    stop(server).await;
}

#[tokio::test]
async fn an_api_that_is_not_there_is_named_with_its_port() {
    let closed = crate::port::unused_address();
    let url = format!("http://{closed}/").parse().unwrap();
    let (server, log, _logging) = logging(|config| with_api(config, url)).await;
    let line = log.line(r#"reason="unavailable""#).await;
    assert!(line.contains(&closed.to_string()) && line.contains("refused (os error"), "{line}");
    stop(server).await;
}
