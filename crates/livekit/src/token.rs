//! Access tokens (livekit/protocol auth/): what each opens, and the rule that refuses it.
//!
//! All that a LiveKit deployment does is signed by the same few keys: its webhooks, its API's
//! requests, and the tokens that its participants are given. So a valid signature says little; what a
//! token was made for says the rest.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use livekit_token::{AccessToken, AccessTokenError, ObservabilityGrants, TokenVerifier};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::keys::Keys;
use livekit_otel_model::REMEMBERED;

/// The longest that a token which opens the streams may last, from its `nbf` or `iat` to its `exp`.
/// LiveKit's libraries make them for 6 hours where nothing else is asked for.
const LONGEST: Duration = Duration::from_hours(24);
/// How long a token lasts that is made here: it is looked at when its stream opens.
const MINTED: Duration = Duration::from_mins(1);
// How far clocks may be apart, in seconds: as much as `TokenVerifier` allows.
const LEEWAY: u64 = 60;
// Those of servers have some hundred bytes.
const MAX_TOKEN: usize = 8 << 10;
// From one warning to the next.
const QUIET: Duration = Duration::from_mins(1);

// A claim, and the name in it; a claim that is no map has none.
type Grant<'a> = [&'a str; 2];

// What opens the streams.
const OPENING: [Grant<'_>; 2] = [["observability", "write"], ["video", "roomList"]];
// What a token may grant beside: LiveKit's API as far as it is of no room and no participant.
const BESIDE: [Grant<'_>; 5] = [
    ["video", "roomCreate"],
    ["video", "roomRecord"],
    ["video", "ingressAdmin"],
    ["sip", "admin"],
    ["sip", "call"],
];
// What is known of participants' and agents' tokens, to name it in the log.
const NAMED: [Grant<'_>; 12] = [
    ["video", "roomJoin"],
    ["video", "roomAdmin"],
    ["video", "room"],
    ["video", "destinationRoom"],
    ["video", "recorder"],
    ["video", "agent"],
    ["video", "hidden"],
    ["video", "canPublish"],
    ["video", "canSubscribe"],
    ["kind", ""],
    ["agent", "admin"],
    ["inference", "perform"],
];
// Claims that say whose a token is, and when; they grant nothing.
const DESCRIBING: [&str; 10] =
    ["iss", "sub", "nbf", "iat", "exp", "jti", "identity", "name", "metadata", "attributes"];

/// The rule that a request's token fails; it shows nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // each has its text
pub enum Refusal {
    #[error("there is no Authorization header")]
    Missing,
    #[error("there is more than one Authorization header")]
    Several,
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the Authorization header has no JWT")]
    Malformed,
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    #[error("the token's header has a `crit`, and no extension is understood")]
    Critical,
    #[error("the token has no `iss`")]
    NoIssuer,
    #[error("the token's `iss` is none of the API keys")]
    UnknownKey,
    #[error("the token has an `aud`: it is for another service")]
    Audience,
    #[error(
        "the token's signature is not of its API key's secret, or its claims are not LiveKit's"
    )]
    Signature,
    #[error("the token has no `exp` that is a whole number")]
    NoEnd,
    #[error("the token has no `nbf` or `iat` that is a whole number")]
    NoBeginning,
    #[error("the token is expired: it is late, or the clocks differ")]
    Expired,
    #[error("the token is not valid yet: the clocks differ")]
    NotYet,
    #[error("the token was signed longer ago than {} minutes", REMEMBERED.as_secs() / 60)]
    Old,
    #[error("the token lasts for longer than {} hours", LONGEST.as_secs() / 3600)]
    Lasting,
    #[error("the token has no `sha256` of a body")]
    NoHash,
    #[error("the body is not the one that was signed")]
    OtherBody,
    #[error("the token is a webhook's: it has a `sha256`")]
    Webhook,
    #[error("the token's API key is none of listen.grpc_keys")]
    KeyNotListed,
    #[error("the token grants {}, which servers do not have", named(.0))]
    Grants(Grant<'static>),
    #[error("the token grants neither `observability.write` nor `video.roomList`")]
    NoGrant,
}

/// The hash of the body that a webhook's token signs. One that was signed longer ago than ids are
/// remembered is none, however long it claims to last: it may be a replay.
///
/// # Errors
/// With the rule that the token fails.
pub fn webhook(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<[u8; 32], Refusal> {
    let token = Verified::of(headers, keys, now)?;
    if seconds(now).saturating_sub(token.begins) > REMEMBERED.as_secs() {
        return Err(Refusal::Old);
    }
    let hash = token.claims.get("sha256").and_then(Value::as_str).unwrap_or_default();
    let hash = STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
    hash.ok_or(Refusal::NoHash)
}

/// Whether a token opens the analytics streams: a server's does, which grants
/// `observability.write` or `video.roomList`, and beside them nothing but what [`BESIDE`] has.
/// Where the keys for streams are listed, one of them must have signed it, and one that grants
/// nothing at all opens them too.
///
/// # Errors
/// With the rule that the token fails.
pub fn streams(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<(), Refusal> {
    let token = Verified::of(headers, keys, now)?;
    if token.ends.saturating_sub(token.begins) > LONGEST.as_secs() {
        return Err(Refusal::Lasting);
    }
    if keys.for_streams().is_some_and(|listed| !listed.contains(&token.key)) {
        return Err(Refusal::KeyNotListed);
    }
    let granted = granted(&token.claims);
    if granted.iter().any(|(grant, _)| *grant == ["sha256", ""]) {
        return Err(Refusal::Webhook);
    }
    let is_servers = |grant: &Grant<'_>, value: &Value| {
        *value == Value::Bool(true) && OPENING.iter().chain(&BESIDE).any(|each| each == grant)
    };
    if let Some((grant, _)) = granted.iter().find(|(grant, value)| !is_servers(grant, value)) {
        let named = OPENING.iter().chain(&BESIDE).chain(&NAMED).find(|named| *named == grant);
        return Err(Refusal::Grants(named.copied().unwrap_or_default()));
    }
    let opens = granted.iter().any(|(grant, _)| OPENING.contains(grant));
    let needs_no_grant = keys.for_streams().is_some() && granted.is_empty();
    if opens || needs_no_grant { Ok(()) } else { Err(Refusal::NoGrant) }
}

/// A server's token for the analytics streams.
///
/// # Errors
/// Where key or secret are empty.
pub fn mint(key: &str, secret: &str) -> Result<String, AccessTokenError> {
    AccessToken::with_api_key(key, secret)
        .with_ttl(MINTED)
        .with_observability_grants(ObservabilityGrants::default().with_write())
        .to_jwt()
}

/// The token that signs `body`, as LiveKit's server makes it: 5 minutes, with the body's hash.
///
/// # Errors
/// Where key or secret are empty.
pub fn sign(
    body: &[u8],
    key: &str,
    secret: &str,
) -> Result<String, livekit_token::AccessTokenError> {
    livekit_token::AccessToken::with_api_key(key, secret)
        .with_ttl(Duration::from_mins(5))
        .with_sha256(&STANDARD.encode(Sha256::digest(body)))
        .to_jwt()
}

// What a token grants; what is false or empty grants nothing. What is not known to describe counts, so
// that the grants of tomorrow do, and those that Go reads in another case.
fn granted(claims: &Map<String, Value>) -> Vec<(Grant<'_>, &Value)> {
    let mut granted = Vec::new();
    for (claim, value) in claims.iter().filter(|(claim, _)| !DESCRIBING.contains(&claim.as_str())) {
        match value {
            Value::Object(grants) => {
                granted.extend(grants.iter().map(|(name, value)| ([claim, name.as_str()], value)));
            }
            value => granted.push(([claim, ""], value)),
        }
    }
    granted.retain(|(_, value)| !is_empty(value));
    granted
}

// Names from outside are not shown.
fn named(grant: &Grant<'_>) -> String {
    match grant {
        ["", ""] => "something that is not known".to_owned(),
        [claim, ""] => format!("`{claim}`"),
        [claim, name] => format!("`{claim}.{name}`"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

// A token that one of the keys signed, now that it is valid.
struct Verified {
    key: String,
    claims: Map<String, Value>,
    begins: u64,
    ends: u64,
}

impl Verified {
    fn of(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<Self, Refusal> {
        let token = bearer(headers)?;
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, _] = parts[..] else { return Err(Refusal::Malformed) };
        let (header, claims) = (object(header)?, object(claims)?);
        // RFC 7515, 4.1.11: what is in it must be understood, and it must not be empty.
        if header.contains_key("crit") {
            return Err(Refusal::Critical);
        }
        if header.get("alg").and_then(Value::as_str) != Some("HS256") {
            return Err(Refusal::Algorithm);
        }
        let key = claims.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        if key.is_empty() {
            return Err(Refusal::NoIssuer);
        }
        // An empty secret would be everybody's.
        let secret = keys.secret(&key).filter(|secret| !secret.is_empty());
        let secret = secret.ok_or(Refusal::UnknownKey)?;
        let time = time(&claims, now);
        if TokenVerifier::with_api_key(&key, secret).verify(token).is_err() {
            // It looks at more than the signature.
            time?;
            let has_audience = claims.get("aud").is_some_and(|audience| !audience.is_null());
            return Err(if has_audience { Refusal::Audience } else { Refusal::Signature });
        }
        let (begins, ends) = time?;
        Ok(Self { key, claims, begins, ends })
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let header = headers.next().ok_or(Refusal::Missing)?;
    if headers.next().is_some() {
        return Err(Refusal::Several);
    }
    if header.len() > MAX_TOKEN {
        return Err(Refusal::TooLong);
    }
    let token = header.to_str().map_err(|_| Refusal::Malformed)?;
    // LiveKit's webhooks have no scheme.
    Ok(token.strip_prefix("Bearer ").unwrap_or(token))
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}

// When a token begins, which is the earlier one of `nbf` and `iat`, and when it ends.
fn time(claims: &Map<String, Value>, now: SystemTime) -> Result<(u64, u64), Refusal> {
    let now = seconds(now);
    let mut begins = None;
    for claim in ["nbf", "iat"].into_iter().filter_map(|claim| claims.get(claim)) {
        let at = claim.as_u64().ok_or(Refusal::NoBeginning)?;
        if at > now.saturating_add(LEEWAY) {
            return Err(Refusal::NotYet);
        }
        begins = Some(begins.map_or(at, |begins: u64| begins.min(at)));
    }
    let begins = begins.ok_or(Refusal::NoBeginning)?;
    let ends = claims.get("exp").and_then(Value::as_u64).ok_or(Refusal::NoEnd)?;
    if ends.saturating_add(LEEWAY) < now || ends < begins {
        return Err(Refusal::Expired);
    }
    Ok((begins, ends))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Says why requests are refused: of each at debug, and once a minute as a warning, so that who
/// configured something wrongly sees it, and nobody fills the log.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Unsaid>);

#[derive(Debug, Default)]
struct Unsaid {
    said: Option<Instant>,
    refused: u64,
}

impl Refusals {
    /// `what` was refused: a listener's word for its requests.
    pub fn note(&self, what: &'static str, rule: Refusal) {
        tracing::debug!(what, %rule, "refused for its token");
        if let Some(refused) = self.due(Instant::now()) {
            tracing::warn!(what, refused, %rule, "refused for their tokens, the last one by this rule");
        }
    }

    // How many were refused since the last warning, where another one is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut unsaid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unsaid.refused += 1;
        if unsaid.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET) {
            return None;
        }
        unsaid.said = Some(now);
        Some(std::mem::take(&mut unsaid.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_one_warning_and_it_counts_what_was_refused_since() {
        let refusals = Refusals::default();
        let began = Instant::now();
        let at = |seconds| refusals.due(began + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59].map(at), [Some(1), None, None]);
        assert_eq!([60, 61, 200].map(at), [Some(3), None, Some(2)]);
    }
}
