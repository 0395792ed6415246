//! Access tokens (livekit/protocol auth/): what a token allows, and why it is refused.
//!
//! A LiveKit deployment signs everything with the same few keys: webhooks, API requests, and its
//! participants' tokens. So a valid signature is not enough, and a token's grants decide.

mod refusal;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use livekit_token::{AccessToken, AccessTokenError, ObservabilityGrants, TokenVerifier};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use self::refusal::Refusal;
use self::refusal::{Grant, LONGEST, MAX_TOKEN};
use crate::keys::Keys;
use livekit_otel_model::REMEMBERED;
use livekit_otel_model::printable;

/// The validity of a token made here. It is checked only when its stream opens.
const MINTED: Duration = Duration::from_mins(1);
// How far clocks may differ, in seconds: the leeway of `TokenVerifier`.
const LEEWAY: u64 = 60;
// The longest name of a key that is shown, in characters.
const MAX_NAME: usize = 64;

// The grant of uploads.
const UPLOADING: Grant<'_> = ["observability", "write"];
// Grants that open streams.
const OPENING: [Grant<'_>; 2] = [UPLOADING, ["video", "roomList"]];
// Grants that a token may also have: the parts of LiveKit's API that concern no single room or
// participant.
const ALSO_ALLOWED: [Grant<'_>; 5] = [
    ["video", "roomCreate"],
    ["video", "roomRecord"],
    ["video", "ingressAdmin"],
    ["sip", "admin"],
    ["sip", "call"],
];
// Known grants of participants and agents, which the log may name.
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
// Claims that describe a token and grant nothing.
const DESCRIBING: [&str; 10] =
    ["iss", "sub", "nbf", "iat", "exp", "jti", "identity", "name", "metadata", "attributes"];

/// Returns the hash of the body that a webhook's token signs. A token that was signed longer ago
/// than message ids are remembered is refused, even if it is still valid, since it may be a replay.
///
/// # Errors
/// The rule that the token breaks.
pub fn webhook(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<[u8; 32], Refusal> {
    let token = Verified::of(headers, keys, now)?;
    let ago = seconds(now).saturating_sub(token.begins);
    if ago > REMEMBERED.as_secs() {
        return Err(Refusal::Old { ago });
    }
    let hash = token.claims.get("sha256").and_then(Value::as_str).unwrap_or_default();
    let hash = STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
    hash.ok_or(Refusal::NoHash)
}

/// Checks whether a token opens analytics streams. Only a server's token does: it grants
/// `observability.write` or `video.roomList`, and besides these at most `video.roomCreate`,
/// `video.roomRecord`, `video.ingressAdmin`, `sip.admin` and `sip.call`. If the keys for streams are
/// listed, one of them must have signed it, and a token without any grant is accepted too.
///
/// # Errors
/// The rule that the token breaks.
pub fn streams(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<(), Refusal> {
    let token = Verified::of(headers, keys, now)?;
    token.check_validity()?;
    if keys.for_streams().is_some_and(|listed| !listed.contains(&token.key)) {
        return Err(Refusal::KeyNotListed);
    }
    let granted = servers_grants(&token.claims)?;
    let opens = granted.iter().any(|grant| OPENING.contains(grant));
    let needs_no_grant = keys.for_streams().is_some() && granted.is_empty();
    if opens || needs_no_grant { Ok(()) } else { Err(Refusal::NoGrant) }
}

/// Checks whether a token allows uploads, as LiveKit's agents make it: it grants `observability.write`,
/// and besides this at most what a server's token grants, as for [`streams`]. Any of LiveKit's keys may
/// have signed it, and its `sub` may be empty or absent.
///
/// # Errors
/// The rule that the token breaks.
pub fn uploads(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<(), Refusal> {
    let token = Verified::of(headers, keys, now)?;
    token.check_validity()?;
    let granted = servers_grants(&token.claims)?;
    if granted.contains(&UPLOADING) { Ok(()) } else { Err(Refusal::NoUploadGrant) }
}

/// The API key that a token names, for the log: cut to 64 characters, and printable. It comes from the
/// sender, whatever signed the token. `None` without one, and for a text that is the secret of a key.
pub fn named_key(headers: &HeaderMap, keys: &Keys) -> Option<String> {
    let claims = object(bearer(headers).ok()?.split('.').nth(1)?).ok()?;
    let name =
        claims.get("iss")?.as_str().filter(|name| !name.is_empty() && !keys.is_secret(name))?;
    Some(name.chars().take(MAX_NAME).map(printable::shown).collect())
}

/// Makes a server's token for analytics streams.
///
/// # Errors
/// If the key or the secret is empty.
pub fn mint(key: &str, secret: &str) -> Result<String, AccessTokenError> {
    AccessToken::with_api_key(key, secret)
        .with_ttl(MINTED)
        .with_observability_grants(ObservabilityGrants::default().with_write())
        .to_jwt()
}

/// Makes the token that signs a webhook's `body`, like LiveKit's server: valid for 5 minutes, with
/// the body's hash.
///
/// # Errors
/// If the key or the secret is empty.
pub fn sign(body: &[u8], key: &str, secret: &str) -> Result<String, AccessTokenError> {
    AccessToken::with_api_key(key, secret)
        .with_ttl(Duration::from_mins(5))
        .with_sha256(&STANDARD.encode(Sha256::digest(body)))
        .to_jwt()
}

// A token's grants; a false or empty value grants nothing. Every claim that is not known to
// describe the token counts, which includes future grants, and those that Go reads in another case.
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

// The grants of a token that has none but a server's.
fn servers_grants(claims: &Map<String, Value>) -> Result<Vec<Grant<'_>>, Refusal> {
    let granted = granted(claims);
    if granted.iter().any(|(grant, _)| *grant == ["sha256", ""]) {
        return Err(Refusal::Webhook);
    }
    let is_servers = |grant: &Grant<'_>, value: &Value| {
        *value == Value::Bool(true) && OPENING.iter().chain(&ALSO_ALLOWED).any(|each| each == grant)
    };
    if let Some((grant, _)) = granted.iter().find(|(grant, value)| !is_servers(grant, value)) {
        let named = OPENING.iter().chain(&ALSO_ALLOWED).chain(&NAMED).find(|named| *named == grant);
        return Err(Refusal::Grants(named.copied().unwrap_or_default()));
    }
    Ok(granted.into_iter().map(|(grant, _)| grant).collect())
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

// A valid token that one of the keys signed.
struct Verified {
    key: String,
    claims: Map<String, Value>,
    begins: u64,
    ends: u64,
}

impl Verified {
    fn check_validity(&self) -> Result<(), Refusal> {
        let lasting = self.ends.saturating_sub(self.begins) > LONGEST.as_secs();
        if lasting { Err(Refusal::Lasting) } else { Ok(()) }
    }

    fn of(headers: &HeaderMap, keys: &Keys, now: SystemTime) -> Result<Self, Refusal> {
        let token = bearer(headers)?;
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, _] = parts[..] else { return Err(Refusal::Malformed) };
        let (header, claims) = (object(header)?, object(claims)?);
        // RFC 7515, 4.1.11: every extension in `crit` must be understood.
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
        // Anybody can sign with an empty secret.
        let secret = keys.secret(&key).filter(|secret| !secret.is_empty());
        let unknown =
            || if keys.is_secret(&key) { Refusal::SecretAsKey } else { Refusal::UnknownKey };
        let secret = secret.ok_or_else(unknown)?;
        let time = time(&claims, now);
        if TokenVerifier::with_api_key(&key, secret).verify(token).is_err() {
            // The verifier checks more than the signature; find out what failed.
            if !is_signed(token, secret) {
                return Err(Refusal::Signature);
            }
            time?;
            let has_audience = claims.get("aud").is_some_and(|audience| !audience.is_null());
            return Err(if has_audience { Refusal::Audience } else { Refusal::Claims });
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
    // LiveKit's webhooks have the token without a scheme. A scheme's case does not matter (RFC 9110, 11.1).
    Ok(match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim_matches(' '),
        _ => token,
    })
}

// Whether the signature is HS256 with that secret; `TokenVerifier` does not say so.
fn is_signed(token: &str, secret: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(signed.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}

// When a token becomes valid (the earlier of `nbf` and `iat`), and when it expires.
fn time(claims: &Map<String, Value>, now: SystemTime) -> Result<(u64, u64), Refusal> {
    let now = seconds(now);
    let mut begins = None;
    for claim in ["nbf", "iat"].into_iter().filter_map(|claim| claims.get(claim)) {
        let at = claim.as_u64().ok_or(Refusal::NoBeginning)?;
        if at > now.saturating_add(LEEWAY) {
            return Err(Refusal::NotYet { within: at - now });
        }
        begins = Some(begins.map_or(at, |begins: u64| begins.min(at)));
    }
    let begins = begins.ok_or(Refusal::NoBeginning)?;
    let ends = claims.get("exp").and_then(Value::as_u64).ok_or(Refusal::NoEnd)?;
    if ends.saturating_add(LEEWAY) < now {
        return Err(Refusal::Expired { ago: now - ends });
    }
    if ends < begins { Err(Refusal::EndsFirst) } else { Ok((begins, ends)) }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
