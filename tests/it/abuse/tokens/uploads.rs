//! Tokens of uploads: those of LiveKit's agents, and all others.

use livekit_otel_model::Source;
use serde_json::json;

use super::cases::{Case, a_servers, bearer, forged, granting, headed, now, with};
use super::{answer, row, serving, unauthorized};
use crate::uploads::{PROTOBUF, post};

const LOGS: &str = "/observability/logs/otlp/v0";

// As Python's and Node's agents make them.
fn an_agents() -> Vec<Case> {
    let hours = |hours: u64| now() + hours * 3600;
    vec![
        bearer("Python's", with(&json!({"sub": "", "exp": hours(6)}))),
        bearer("Node's of its logs", headed(r#"{"alg":"HS256"}"#)),
        bearer("Node's", with(&json!({"sub": "livekit-agents-telemetry", "exp": hours(6)}))),
        bearer("for a day", with(&json!({"exp": hours(24)}))),
    ]
}

#[tokio::test]
async fn no_forged_or_misused_token_allows_an_upload() {
    let server = serving(|_| {}).await;
    let lists = |(name, _): &Case| name.starts_with("list");
    let listing: Vec<_> = a_servers().into_iter().filter(lists).collect();
    assert!(!listing.is_empty());
    let cases =
        [forged(), listing, vec![bearer("list", granting(&json!({"video": {"roomList": true}})))]];
    for (nth, (name, headers)) in cases.concat().into_iter().enumerate() {
        // The body is never sent.
        let answer = answer(&server, LOGS, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{name}: {answer}");
        // An agent would stop its uploads.
        let silencing = ["data recording is disabled", "disabled by owner"];
        assert!(!silencing.iter().any(|text| answer.contains(text)), "{answer}");
        assert_eq!(unauthorized(&row(&server, Source::AgentLogs)), nth as u64 + 1, "{name}");
    }
}

#[tokio::test]
async fn agents_tokens_allow_uploads_whatever_keys_are_listed_for_streams() {
    let server = serving(|config| config.keys.restrict_streams(["other".to_owned()])).await;
    for (name, headers) in an_agents() {
        let headers = [("content-type", PROTOBUF), ("authorization", headers[0].as_str())];
        assert_eq!(post(&server, LOGS, &headers, Vec::new()).await.status, 200, "{name}");
    }
}
