//! Tokens that an attacker, a user or an operator's mistake may send, and those of servers.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as URL};
use hmac::{Hmac, Mac};
use livekit_token::{AccessToken, ObservabilityGrants, VideoGrants};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::serve::{KEY, SECRET};

pub(super) const OTHER: &str = "other";
pub(super) const OTHER_SECRET: &str = "another-made-up-secret-of-some-length";
pub(crate) const BODY: &str = r#"{"event":"room_started","id":"EV_1","room":{"sid":"RM_1"}}"#;
pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn mac(message: &str, secret: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn jwt(header: &str, claims: &str, secret: &str) -> String {
    let signed = format!("{}.{}", URL.encode(header), URL.encode(claims));
    let signature = URL.encode(mac(&signed, secret));
    format!("{signed}.{signature}")
}

// The claims of a server's token for a minute, with `changes`; null removes a claim.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": KEY, "nbf": now(), "exp": now() + 60, "observability": {"write": true},
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(super) fn with(changes: &Value) -> String {
    jwt(HEADER, &claims(changes).to_string(), SECRET)
}

// A token with only these grants.
pub(crate) fn granting(grants: &Value) -> String {
    let mut changes = grants.clone();
    if grants.get("observability").is_none() {
        changes["observability"] = Value::Null;
    }
    with(&changes)
}

pub(super) fn headed(header: &str) -> String {
    jwt(header, &claims(&json!({})).to_string(), SECRET)
}

/// A case's name, and the values of its Authorization headers.
pub(super) type Case = (&'static str, Vec<String>);

pub(super) fn bearer(name: &'static str, token: impl Into<String>) -> Case {
    (name, vec![format!("Bearer {}", token.into())])
}

pub(super) fn no_tokens() -> Vec<Case> {
    let good = with(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    vec![
        ("no header", vec![]),
        ("an empty header", vec![String::new()]),
        bearer("an empty token", ""),
        bearer("nonsense", "nonsense"),
        bearer("two parts", signed),
        bearer("four parts", format!("{good}.{signature}")),
        bearer("five parts, as of a JWE", format!("{good}.{signature}.{signature}")),
        bearer("three empty parts", ".."),
        bearer("parts that are no base64", "!!!.???.###"),
        bearer(
            "parts that are no JSON",
            format!("{}.{}.{signature}", URL.encode("x"), URL.encode("y")),
        ),
        bearer("a header that is a list", headed("[]")),
        ("another scheme", vec![format!("Basic {good}")]),
        ("the same token twice", vec![format!("Bearer {good}"), format!("Bearer {good}")]),
        ("a token after none", vec!["Bearer x".into(), format!("Bearer {good}")]),
        ("two tokens in one header", vec![format!("Bearer {good}, Bearer {good}")]),
        bearer("a token of 10 KiB", with(&json!({"metadata": "x".repeat(10 << 10)}))),
    ]
}

pub(super) fn forged_signatures() -> Vec<Case> {
    let good = with(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |header: &str| {
        format!("{}.{}.", URL.encode(header), URL.encode(claims(&json!({})).to_string()))
    };
    let jwk = URL.encode("attackers-secret-of-thirty-two-characters");
    let attackers = |header: &str| {
        jwt(header, &claims(&json!({})).to_string(), "attackers-secret-of-thirty-two-characters")
    };
    let changed = claims(&json!({"exp": now() + 600})).to_string();
    let head = signed.split('.').next().unwrap();
    vec![
        bearer("alg none, unsigned", unsigned(r#"{"alg":"none","typ":"JWT"}"#)),
        bearer("alg None, unsigned", unsigned(r#"{"alg":"None","typ":"JWT"}"#)),
        bearer("alg none, signed", headed(r#"{"alg":"none","typ":"JWT"}"#)),
        bearer("no alg", headed(r#"{"typ":"JWT"}"#)),
        bearer("alg HS512", headed(r#"{"alg":"HS512","typ":"JWT"}"#)),
        bearer("alg RS256, signed with the secret", headed(r#"{"alg":"RS256","typ":"JWT"}"#)),
        bearer("alg hs256", headed(r#"{"alg":"hs256","typ":"JWT"}"#)),
        bearer("alg as a list", headed(r#"{"alg":["HS256"],"typ":"JWT"}"#)),
        bearer("a wrong secret", jwt(HEADER, &claims(&json!({})).to_string(), "wrong")),
        bearer("an empty secret", jwt(HEADER, &claims(&json!({})).to_string(), "")),
        bearer("the key as its secret", jwt(HEADER, &claims(&json!({})).to_string(), KEY)),
        bearer("no signature", format!("{signed}.")),
        bearer("half a signature", format!("{signed}.{}", &signature[..20])),
        bearer("a signature with padding", format!("{good}=")),
        bearer("a signature in hex", {
            let hex = livekit_otel_model::hex(&mac(signed, SECRET));
            format!("{signed}.{hex}")
        }),
        bearer("claims of another token", format!("{head}.{}.{signature}", URL.encode(changed))),
        bearer(
            "a jwk of its own",
            attackers(&format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{jwk}"}}}}"#)),
        ),
        bearer("a jku of its own", attackers(r#"{"alg":"HS256","jku":"http://127.0.0.1:1/jwks"}"#)),
        bearer(
            "a kid that is a path",
            jwt(
                r#"{"alg":"HS256","kid":"../../../dev/null"}"#,
                &claims(&json!({})).to_string(),
                "",
            ),
        ),
        bearer("a kid that is another key", attackers(r#"{"alg":"HS256","kid":"devkey"}"#)),
    ]
}

pub(super) fn wrong_headers() -> Vec<Case> {
    let crit = |crit: &str| headed(&format!(r#"{{"alg":"HS256","typ":"JWT","crit":{crit}}}"#));
    vec![
        bearer("an unknown crit", crit(r#"["http://example.com/x"]"#)),
        bearer("crit b64", crit(r#"["b64"],"b64":true"#)),
        bearer("a crit of a claim", crit(r#"["exp"]"#)),
        bearer("an empty crit", crit("[]")),
        bearer("a crit that is a text", crit(r#""exp""#)),
        bearer("a crit that is null", crit("null")),
    ]
}

pub(super) fn wrong_claims() -> Vec<Case> {
    let (now, hour) = (now(), 3600);
    let twice = format!(
        r#"{{"iss":"{KEY}","nbf":{now},"exp":{},"video":{{"roomJoin":true}},"video":{{"roomList":true}}}}"#,
        now + 60
    );
    vec![
        bearer("expired", with(&json!({"nbf": now - 2 * hour, "exp": now - hour}))),
        bearer("no exp", with(&json!({"exp": null}))),
        bearer("an exp that is a text", with(&json!({"exp": (now + 60).to_string()}))),
        bearer("a negative exp", with(&json!({"exp": -1}))),
        bearer("an nbf to come", with(&json!({"nbf": now + hour, "exp": now + 2 * hour}))),
        bearer("an iat to come", with(&json!({"iat": now + hour, "exp": now + 2 * hour}))),
        bearer("it ends before it begins", with(&json!({"nbf": now + 30, "exp": now}))),
        bearer("it lasts for 25 hours", with(&json!({"exp": now + 25 * hour}))),
        bearer("it lasts for ever", with(&json!({"exp": 99_999_999_999_u64}))),
        bearer("it is a day old", with(&json!({"nbf": now - 25 * hour}))),
        bearer("issued a day ago", with(&json!({"iat": now - 25 * hour}))),
        bearer("neither nbf nor iat", with(&json!({"nbf": null}))),
        bearer("no iss", with(&json!({"iss": null}))),
        bearer("an empty iss", with(&json!({"iss": ""}))),
        bearer("an unknown iss", with(&json!({"iss": "nokey"}))),
        bearer("the iss of another key", with(&json!({"iss": OTHER}))),
        bearer("iss as a list", with(&json!({"iss": [KEY]}))),
        bearer("an aud", with(&json!({"aud": "https://example.com"}))),
        bearer("a claim twice", jwt(HEADER, &twice, SECRET)),
    ]
}

pub(super) fn not_a_servers() -> Vec<Case> {
    let sha256 = STANDARD.encode(Sha256::digest(BODY));
    let list = |more: Value| {
        let mut video = json!({"roomList": true});
        video.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        granting(&json!({ "video": video }))
    };
    let alone = |grants: Value| granting(&grants);
    let beside = |grants: Value| with(&grants);
    vec![
        bearer("no grants", granting(&json!({}))),
        bearer("no grants but an identity", granting(&json!({"sub": "server"}))),
        bearer("a webhook's", granting(&json!({"sha256": sha256}))),
        bearer("a webhook's that may write", beside(json!({"sha256": sha256}))),
        bearer(
            "a participant's",
            AccessToken::with_api_key(KEY, SECRET)
                .with_identity("ann")
                .with_grants(VideoGrants {
                    room_join: true,
                    room: "a".into(),
                    ..Default::default()
                })
                .to_jwt()
                .unwrap(),
        ),
        bearer("a participant's that may list", list(json!({"roomJoin": true, "room": "a"}))),
        bearer("a participant's that may write", beside(json!({"video": {"roomJoin": true}}))),
        bearer("a moderator's", alone(json!({"video": {"roomAdmin": true, "room": "a"}}))),
        bearer("a moderator's that may list", list(json!({"roomAdmin": true}))),
        bearer("a moderator's that may write", beside(json!({"video": {"roomAdmin": true}}))),
        bearer("a list of one room", list(json!({"room": "a"}))),
        bearer("a recorder's", list(json!({"recorder": true}))),
        bearer("a hidden one's", list(json!({"hidden": true}))),
        bearer("an agent's", alone(json!({"video": {"agent": true}}))),
        bearer("an agent's that may write", beside(json!({"video": {"agent": true}}))),
        bearer("a publisher's", list(json!({"canPublish": true}))),
        bearer("one that forwards", list(json!({"destinationRoom": "b"}))),
        bearer("of the kind sip", beside(json!({"kind": "sip"}))),
        bearer("of the kind agent", beside(json!({"kind": "agent"}))),
        bearer("with a room's configuration", beside(json!({"roomPreset": "a"}))),
        bearer("sip alone", alone(json!({"sip": {"admin": true, "call": true}}))),
        bearer("agents alone", alone(json!({"agent": {"admin": true}}))),
        bearer("an agent's endpoint alone", alone(json!({"agentEndpoint": {"call": true}}))),
        bearer("an agent's threads beside", beside(json!({"agentThread": {"read": true}}))),
        bearer("inference alone", alone(json!({"inference": {"perform": true}}))),
        bearer("rooms made alone", alone(json!({"video": {"roomCreate": true}}))),
        bearer("rooms recorded alone", alone(json!({"video": {"roomRecord": true}}))),
        bearer("ingress alone", alone(json!({"video": {"ingressAdmin": true}}))),
        bearer("write false", with(&json!({"observability": {"write": false}}))),
        bearer("write as a text", with(&json!({"observability": {"write": "true"}}))),
        bearer("write as a number", with(&json!({"observability": {"write": 1}}))),
        bearer("write outside of its grant", alone(json!({"write": true}))),
        bearer("write as a claim's name", alone(json!({"observability.write": true}))),
        bearer("roomList as a claim's name", alone(json!({"video.roomList": true}))),
        bearer("roomList as a text", alone(json!({"video": {"roomList": "true"}}))),
        bearer("roomJoin as Go reads it", beside(json!({"Video": {"RoomJoin": true}}))),
        bearer("a grant of tomorrow", beside(json!({"room": {"enter": true}}))),
        bearer("a video grant of tomorrow", list(json!({"roomEnter": true}))),
    ]
}

pub(super) fn a_servers() -> Vec<Case> {
    let day = 24 * 3600;
    let minted = AccessToken::with_api_key(KEY, SECRET)
        .with_observability_grants(ObservabilityGrants::default().with_write());
    let listing = VideoGrants { room_list: true, ..VideoGrants::default() };
    let api = json!({
        "video": {"roomList": true, "roomCreate": true, "roomRecord": true, "ingressAdmin": true},
        "sip": {"admin": true, "call": true},
    });
    vec![
        bearer("write", with(&json!({}))),
        bearer("write, by LiveKit's library for 6 hours", minted.to_jwt().unwrap()),
        bearer(
            "list, by LiveKit's library for 6 hours",
            AccessToken::with_api_key(KEY, SECRET)
                .with_identity("server")
                .with_grants(listing)
                .to_jwt()
                .unwrap(),
        ),
        bearer("list and all of the API that is no room's", granting(&api)),
        bearer(
            "of the other key",
            jwt(HEADER, &claims(&json!({"iss": OTHER})).to_string(), OTHER_SECRET),
        ),
        bearer("for a day", with(&json!({"exp": now() + day - 60}))),
        bearer("iat and no nbf", with(&json!({"nbf": null, "iat": now()}))),
        bearer(
            "of a clock that is 30 s ahead",
            with(&json!({"nbf": now() + 30, "iat": now() + 30})),
        ),
        bearer(
            "of a clock that is 90 s late",
            with(&json!({"nbf": now() - 90, "exp": now() - 30})),
        ),
        bearer(
            "with what allows nothing",
            with(&json!({
                "sub": "server", "name": "n", "metadata": "{}", "attributes": {"a": "b"}, "jti": "1",
                "video": {"roomJoin": false, "canPublish": false, "room": ""}, "kind": "",
            })),
        ),
        bearer("a kid, which is not looked at", headed(r#"{"alg":"HS256","kid":"x"}"#)),
        ("no scheme", vec![with(&json!({}))]),
        ("a scheme in lower case", vec![format!("bearer {}", with(&json!({})))]),
        ("a scheme in upper case", vec![format!("BEARER {}", with(&json!({})))]),
    ]
}

pub(super) fn forged() -> Vec<Case> {
    [no_tokens(), forged_signatures(), wrong_headers(), wrong_claims(), not_a_servers()].concat()
}
