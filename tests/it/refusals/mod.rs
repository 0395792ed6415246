//! What an operator learns of a refused request: one line of the log for each cause, the ledger and the
//! health.

mod api;
#[cfg(feature = "tls")]
mod connections;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel::source::listen::GrpcAuth;
use livekit_otel_ledger::Refused;
use livekit_otel_ledger::status::Status;
use livekit_otel_livekit::token::sign;
use livekit_otel_model::Source;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::abuse::tokens::cases::{BODY, HEADER, claims, granting, jwt, now};
use crate::abuse::tokens::{channel, send};
use crate::logged::{Log, Logging};
use crate::serve::{KEY, SECRET, stop};
use crate::uploads::{PROTOBUF, get, post, post_to, refused, serving};

async fn logging(change: impl FnOnce(&mut Config)) -> (Server, Log, Logging) {
    let (log, logging) = Log::start();
    (serving(change).await, log, logging)
}

// The health as `/status` has it.
async fn health(server: &Server) -> livekit_otel_ledger::health::Report {
    let answer = get(server.admin().unwrap(), "/status").await;
    serde_json::from_slice::<Status>(&answer.body).unwrap().health
}

fn signed(changes: &Value) -> String {
    let mut changes = changes.clone();
    changes["observability"] = Value::Null;
    let hash = json!(STANDARD.encode(Sha256::digest(BODY)));
    changes.as_object_mut().unwrap().entry("sha256").or_insert(hash);
    let secret = changes.as_object_mut().unwrap().remove("secret");
    let secret = secret.map_or(SECRET.to_owned(), |secret| secret.as_str().unwrap().to_owned());
    jwt(HEADER, &claims(&changes).to_string(), &secret)
}

async fn webhook(server: &Server, token: Option<&str>, body: &str) -> StatusCode {
    let headers: Vec<_> = token.into_iter().map(|token| ("authorization", token)).collect();
    post(server, "/webhook", &headers, body.into()).await.status
}

#[tokio::test]
async fn each_cause_of_a_refused_webhook_is_one_line_with_its_likely_reason() {
    let (server, log, _logging) = logging(|config| config.max_body = 1000).await;
    let cases = [
        (
            Refused::NoToken,
            None,
            "there is no Authorization header. LiveKit signs its webhooks: did",
        ),
        (
            Refused::UnknownKey,
            Some(signed(&json!({"iss": "APIother"}))),
            "the token's `iss` is none of the API keys. Is the key that LiveKit signs webhooks with",
        ),
        (
            Refused::Signature,
            Some(signed(&json!({"secret": "made-up-wrong-one"}))),
            "the token is not signed with the secret of its API key. Is the key's secret in livekit.keys",
        ),
        (
            Refused::Expired,
            Some(signed(&json!({"nbf": now() - 612, "exp": now() - 312}))),
            "the token expired 31",
        ),
        (
            Refused::NotYetValid,
            Some(signed(&json!({"nbf": now() + 612, "exp": now() + 912}))),
            "the token becomes valid in 6",
        ),
        (
            Refused::BodyHash,
            Some(sign(b"{}", KEY, SECRET).unwrap()),
            "Does a proxy before this listener",
        ),
        (Refused::NoGrant, Some(granting(&json!({}))), "the token has no `sha256` of a body. "),
        (
            Refused::Unauthorized,
            Some("nonsense".to_owned()),
            "the Authorization header has no JWT. ",
        ),
    ];
    for (nth, (why, token, text)) in cases.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(webhook(&server, token.as_deref(), BODY).await, 401, "{why:?}");
        }
        assert_eq!(refused(&server, Source::Webhook, *why), 3, "{why:?}");
        let line = log.line(&format!("reason=\"{}\"", why.as_str())).await;
        assert!(line.contains("WARN") && line.contains(text), "{line}");
        assert!(line.contains(r#"source="webhook""#) && line.contains("refused=1"), "{line}");
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
        let refusal = &health(&server).await.refusals[nth];
        assert_eq!((refusal.source, &*refusal.reason), (Source::Webhook, why.as_str()));
        assert!(refusal.text.contains(text), "{refusal:?}");
    }
    for hidden in [SECRET, "made-up-wrong-one", "eyJ"] {
        assert!(!log.text().contains(hidden), "{hidden}");
    }
    stop(server).await;
}

#[tokio::test]
async fn an_unknown_key_is_named_in_the_log_alone_and_a_secret_nowhere() {
    let (server, log, _logging) = logging(|_| {}).await;
    let name = format!("API\u{1b}[2J\n{}", "x".repeat(100));
    assert_eq!(webhook(&server, Some(&signed(&json!({"iss": name}))), BODY).await, 401);
    let line = log.line("none of the API keys").await;
    let shown = format!("key=\"API\u{fffd}[2J\u{fffd}{}\"", "x".repeat(64 - 8));
    assert!(line.contains(&shown), "{line}");
    let health = format!("{:?}", health(&server).await.refusals);
    assert!(health.contains("none of the API keys") && !health.contains("xxx"), "{health}");
    stop(server).await;

    let (server, log, _logging) = logging(|_| {}).await;
    assert_eq!(webhook(&server, Some(&signed(&json!({"iss": SECRET}))), BODY).await, 401);
    let line = log.line("Are key and secret swapped").await;
    assert!(line.contains(r#"reason="unknown_key""#), "{line}");
    assert!(!log.text().contains(&SECRET[..8]), "{}", log.text());
    stop(server).await;
}

#[tokio::test]
async fn the_scheme_of_a_token_has_any_case() {
    let server = serving(|_| {}).await;
    let token = sign(BODY.as_bytes(), KEY, SECRET).unwrap();
    for scheme in ["", "Bearer ", "bearer ", "BEARER ", "bEaReR  "] {
        let token = format!("{scheme}{token}");
        assert_eq!(webhook(&server, Some(&token), BODY).await, 200, "{scheme:?}");
    }
    assert_eq!(webhook(&server, Some(&format!("Basic {token}")), BODY).await, 401);
    stop(server).await;
}

#[tokio::test]
async fn a_webhook_that_is_too_large_names_its_size_the_limit_and_the_setting() {
    let (server, log, _logging) = logging(|config| config.max_body = 1000).await;
    let body = " ".repeat(1234);
    let token = sign(body.as_bytes(), KEY, SECRET).unwrap();
    assert_eq!(webhook(&server, Some(&token), &body).await, 413);
    let line = log.line(r#"reason="too_large""#).await;
    assert!(
        line.contains("it has 1234 bytes or more, and limits.webhook_body allows 1000"),
        "{line}"
    );
    stop(server).await;
}

#[tokio::test]
async fn a_wrong_path_is_a_warning_for_a_sender_and_a_count_for_a_scanner() {
    let (server, log, _logging) = logging(|_| {}).await;
    for path in ["/", "/webhook/", "/v1/trace", "/webhooks"] {
        assert_eq!(post(&server, path, &[], Vec::new()).await.status, 404, "{path}");
    }
    let line = log.line(r#"reason="wrong_path""#).await;
    assert!(line.contains("LiveKit's webhook URL must end in /webhook"), "{line}");
    assert!(line.contains(r#"path="/""#), "{line}");
    for path in ["/.env", "/webhook", "/v1/traces"] {
        let status = get(server.http(), path).await.status;
        assert!(status == 404 || status == 405, "{path}: {status}");
    }
    assert_eq!(log.lines("wrong_path").len(), 1);
    // With the two GET requests to other paths than those of uploads.
    assert_eq!(refused(&server, Source::Webhook, Refused::WrongPath), 6);
    assert_eq!(refused(&server, Source::OtlpTraces, Refused::WrongPath), 1);
    assert_eq!(health(&server).await.refusals.len(), 1);
    stop(server).await;
}

#[tokio::test]
async fn webhooks_to_the_admin_listener_are_a_warning() {
    let (server, log, _logging) = logging(|_| {}).await;
    let admin = server.admin().unwrap();
    assert_eq!(get(admin, "/favicon.ico").await.status, 404);
    assert_eq!(post_to(admin, "/webhook", &[], BODY.into()).await.status, 404);
    let line = log.line("this is the admin listener").await;
    assert!(line.contains("Webhooks are for /webhook on listen.http"), "{line}");
    assert_eq!(refused(&server, Source::Webhook, Refused::WrongPath), 1);
    stop(server).await;
}

#[tokio::test]
async fn unreadable_webhooks_are_one_line() {
    let (server, log, _logging) = logging(|_| {}).await;
    for body in ["{", "[]", "nonsense"] {
        let token = sign(body.as_bytes(), KEY, SECRET).unwrap();
        assert_eq!(webhook(&server, Some(&token), body).await, 200);
    }
    let line = log.line("signed webhooks can't be read and become dead letters").await;
    assert!(line.contains("webhooks=1"), "{line}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_is_not_authorized_names_what_its_token_lacks() {
    let (server, log, _logging) = logging(|config| config.grpc_auth = GrpcAuth::Token).await;
    let channel = channel(&server).await;
    let participant = granting(&json!({"video": {"roomJoin": true, "room": "standup"}}));
    let cases = [
        (Refused::NoToken, None, "With listen.grpc_auth: token, the sender signs a token"),
        (
            Refused::NoGrant,
            Some(granting(&json!({}))),
            "neither `observability.write` nor `video.roomList`",
        ),
        (
            Refused::NoGrant,
            Some(participant),
            "the token grants `video.room`, which servers do not",
        ),
        (Refused::Signature, Some(signed(&json!({"secret": "x"}))), "the one that the sender has?"),
    ];
    for (why, token, text) in cases {
        let headers: Vec<_> = token.into_iter().map(|token| format!("bearer {token}")).collect();
        assert_eq!(send(&channel, &headers).await, Err(Code::Unauthenticated));
        // Each rule has a line, also of the same reason.
        let (line, reason) = (log.line(text).await, format!("reason=\"{}\"", why.as_str()));
        assert!(line.contains("analytics stream refused: ") && line.contains(&reason), "{line}");
    }
    assert_eq!(refused(&server, Source::Events, Refused::NoGrant), 2);
    assert!(!log.text().contains("standup"));
    stop(server).await;
}

#[tokio::test]
async fn uploads_that_are_not_served_or_too_large_name_the_setting() {
    let (server, log, _logging) = logging(|config| config.uploads.enabled = Some(false)).await;
    let headers = [("content-type", PROTOBUF)];
    assert_eq!(post(&server, "/v1/traces", &headers, Vec::new()).await.status, 404);
    let line = log.line(r#"reason="wrong_path""#).await;
    assert!(
        line.contains("upload refused: ") && line.contains("unless agents.enabled is true"),
        "{line}"
    );
    stop(server).await;

    let (server, log, _logging) = logging(|config| config.uploads.max_body = 1000).await;
    assert_eq!(post(&server, "/v1/logs", &headers, vec![0; 2000]).await.status, 413);
    let line = log.line(r#"reason="too_large""#).await;
    assert!(line.contains("it has 2000 bytes or more, and agents.max_body allows 1000"), "{line}");
    assert_eq!(
        post(&server, "/observability/logs/otlp/v0", &headers, Vec::new()).await.status,
        401
    );
    let line = log.line(r#"reason="no_token""#).await;
    assert!(
        line.contains(r#"source="agent_logs""#) && line.contains("Agents send a token"),
        "{line}"
    );
    stop(server).await;
}
