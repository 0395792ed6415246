//! Forged and misused tokens, against the listeners of a server that asks for them.

pub(crate) mod cases;
mod uploads;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel::source::listen::GrpcAuth;
use livekit_otel_ledger::{Input, Refused};
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::Source;
use livekit_otel_telemetry::messages::{AnalyticsEvent, AnalyticsEvents};
use livekit_otel_transport::frames::RawCodec;
use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use self::cases::{
    BODY, Case, HEADER, OTHER, OTHER_SECRET, a_servers, bearer, claims, forged, forged_signatures,
    granting, jwt, no_tokens, now, with, wrong_headers,
};
use crate::logged::Log;
use crate::serve::{KEY, SECRET, config};

fn one_key() -> Keys {
    let mut keys = Keys::default();
    keys.insert(KEY, SECRET);
    keys
}

async fn serving(change: impl FnOnce(&mut Config)) -> Server {
    // No collector listens there, and most tests send nothing.
    let mut config = config("http://127.0.0.1:1");
    config.keys.insert(OTHER, OTHER_SECRET);
    config.grpc_auth = GrpcAuth::Token;
    config.shutdown_timeout = std::time::Duration::from_millis(10);
    change(&mut config);
    Server::start(config).await.unwrap()
}

fn row(server: &Server, source: Source) -> Input {
    server.ledger().inputs.into_iter().find(|row| row.source == source).unwrap()
}

/// How many requests were refused for their tokens, for whatever cause.
pub(crate) fn unauthorized(row: &Input) -> u64 {
    let causes = [
        Refused::NoToken,
        Refused::UnknownKey,
        Refused::Signature,
        Refused::Expired,
        Refused::NotYetValid,
        Refused::BodyHash,
        Refused::NoGrant,
        Refused::Unauthorized,
    ];
    row.refused.iter().filter(|(why, _)| causes.contains(why)).map(|(_, count)| count).sum()
}

pub(crate) async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.grpc())).unwrap().connect().await.unwrap()
}

// Sends an event on a stream of its own.
pub(crate) async fn send(channel: &Channel, headers: &[String]) -> Result<(), Code> {
    let event = AnalyticsEvent { id: "AE_1".into(), ..AnalyticsEvent::default() };
    let message = Bytes::from(AnalyticsEvents { events: vec![event] }.encode_to_vec());
    let mut request = Request::new(tokio_stream::iter([message]));
    for value in headers {
        request.metadata_mut().append("authorization", value.parse().unwrap());
    }
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = "/livekit.AnalyticsRecorderService/IngestEvents".parse().unwrap();
    grpc.client_streaming(request, path, RawCodec).await.map(drop).map_err(|status| status.code())
}

async fn none_opens(server: &Server, cases: Vec<Case>) {
    let channel = channel(server).await;
    let mut opened = Vec::new();
    for (name, headers) in cases {
        let before = unauthorized(&row(server, Source::Events));
        let answer = send(&channel, &headers).await;
        let row = row(server, Source::Events);
        if answer != Err(Code::Unauthenticated) || unauthorized(&row) != before + 1 {
            opened.push((name, answer));
        }
    }
    assert!(opened.is_empty(), "{opened:#?}");
    assert_eq!(row(server, Source::Events).accepted, 0);
}

async fn each_opens(server: &Server, cases: Vec<Case>) {
    let channel = channel(server).await;
    let count = cases.len() as u64;
    for (name, headers) in cases {
        assert_eq!(send(&channel, &headers).await, Ok(()), "{name}");
    }
    assert_eq!(row(server, Source::Events).accepted, count);
}

#[tokio::test]
async fn no_forged_or_misused_token_opens_the_streams() {
    let server = serving(|_| {}).await;
    let cases = forged();
    assert!(cases.len() >= 30, "{}", cases.len());
    none_opens(&server, cases).await;
    each_opens(&server, a_servers()).await;
}

#[tokio::test]
async fn no_forged_or_misused_token_opens_the_streams_of_a_single_key() {
    let server = serving(|config| config.keys = one_key()).await;
    none_opens(&server, forged()).await;
}

#[tokio::test]
async fn only_listed_keys_open_the_streams() {
    let server = serving(|config| config.keys.restrict_streams([OTHER.to_owned()])).await;
    none_opens(&server, [forged(), vec![bearer("a good one", with(&json!({})))]].concat()).await;
    let other = |grants: Value| {
        let mut claims = claims(&json!({"iss": OTHER, "observability": null}));
        claims.as_object_mut().unwrap().extend(grants.as_object().unwrap().clone());
        jwt(HEADER, &claims.to_string(), OTHER_SECRET)
    };
    let misused = [
        ("a webhook's", json!({"sha256": STANDARD.encode(Sha256::digest(BODY))})),
        ("a participant's", json!({"video": {"roomJoin": true, "room": "a"}})),
        ("a moderator's", json!({"video": {"roomAdmin": true, "roomList": true}})),
        ("an agent's", json!({"kind": "agent"})),
        ("an agent's threads", json!({"agentThread": {"read": true, "scope": "ann"}})),
        ("rooms made alone", json!({"video": {"roomCreate": true}})),
        ("a grant of tomorrow", json!({"room": {"enter": true}})),
        ("no iss", json!({"iss": ""})),
        ("expired", json!({"nbf": now() - 7200, "exp": now() - 3600})),
        ("for ever", json!({"exp": 99_999_999_999_u64})),
    ];
    none_opens(&server, misused.map(|(name, grants)| bearer(name, other(grants))).to_vec()).await;
    let good = vec![
        bearer("write", other(json!({"observability": {"write": true}}))),
        bearer("list", other(json!({"video": {"roomList": true}}))),
        bearer("no grants", other(json!({}))),
    ];
    each_opens(&server, good).await;
}

#[tokio::test]
async fn a_head_that_is_larger_than_any_token_opens_nothing() {
    let server = serving(|_| {}).await;
    let huge = with(&json!({"metadata": "x".repeat(100 << 10)}));
    assert!(send(&channel(&server).await, &[format!("Bearer {huge}")]).await.is_err());
    assert_eq!(row(&server, Source::Events).accepted, 0);
}

// The body is never sent: an answer shows that the server does not wait for it.
async fn post(server: &Server, headers: &[String]) -> u16 {
    let answer = answer(server, "/webhook", headers).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn answer(server: &Server, path: &str, headers: &[String]) -> String {
    use std::fmt::Write;
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for value in headers {
        write!(head, "Authorization: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", BODY.len()).unwrap();
    let mut stream = TcpStream::connect(server.http()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn no_forged_or_misused_token_has_a_webhooks_body_read() {
    let server = serving(|config| config.keys = one_key()).await;
    let sha256 = STANDARD.encode(Sha256::digest(BODY));
    let quarter = 15 * 60;
    let hashed = |mut changes: Value| {
        changes.as_object_mut().unwrap().entry("sha256").or_insert(json!(sha256));
        changes["observability"] = Value::Null;
        claims(&changes).to_string()
    };
    let good = jwt(HEADER, &hashed(json!({})), SECRET);
    let crit = r#"{"alg":"HS256","crit":["http://example.com/x"]}"#;
    let mut cases = [no_tokens(), forged_signatures(), wrong_headers()].concat();
    for (name, changes) in [
        ("no iss", json!({"iss": null})),
        ("an unknown iss", json!({"iss": "nokey"})),
        ("no exp", json!({"exp": null})),
        ("neither nbf nor iat", json!({"nbf": null})),
        ("signed long ago", json!({"nbf": now() - quarter - 60})),
        ("an iat to come", json!({"iat": now() + 3600})),
        ("an aud", json!({"aud": "x"})),
        ("no hash", json!({"sha256": ""})),
        ("a hash that is too short", json!({"sha256": STANDARD.encode("short")})),
    ] {
        cases.push(bearer(name, jwt(HEADER, &hashed(changes), SECRET)));
    }
    cases.push(bearer("a server's", with(&json!({}))));
    cases.push(bearer("crit", jwt(crit, &hashed(json!({})), SECRET)));
    cases.push(("twice", vec![good.clone(), good]));
    let count = cases.len() as u64;
    for (name, headers) in cases {
        assert_eq!(post(&server, &headers).await, 401, "{name}");
    }
    assert_eq!(unauthorized(&row(&server, Source::Webhook)), count);
}

#[tokio::test]
async fn the_log_has_the_rule_once_and_nothing_of_the_token() {
    let (log, _logging) = Log::start();
    let server = serving(|_| {}).await;
    let channel = channel(&server).await;
    let token = granting(&json!({"video": {"roomJoin": true, "room": "standup"}, "sub": "ann"}));
    for _ in 0..3 {
        assert_eq!(send(&channel, &[format!("Bearer {token}")]).await, Err(Code::Unauthenticated));
        assert_eq!(post(&server, &[with(&json!({"exp": null}))]).await, 401);
    }
    let printed = log.text();
    assert_eq!(printed.matches("the token grants `video.room").count(), 1, "{printed}");
    assert_eq!(printed.matches("the token has no `exp`").count(), 1, "{printed}");
    for hidden in [&token[..], "standup", "ann\"", SECRET] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}
