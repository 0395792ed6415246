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
        let line = log.line("request to LiveKit's API refused").await;
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
async fn an_api_that_is_not_there_is_named_with_its_port() {
    let closed = crate::port::unused_address();
    let url = format!("http://{closed}/").parse().unwrap();
    let (server, log, _logging) = logging(|config| with_api(config, url)).await;
    let line = log.line(r#"reason="unavailable""#).await;
    assert!(line.contains(&closed.to_string()) && line.contains("refused (os error"), "{line}");
    stop(server).await;
}
