//! What becomes of personal data on its way out: kept, hashed or left out.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use livekit_otel_model::semconv::PERSONAL;
use livekit_otel_model::signal::Value;

/// `privacy.pii`: what becomes of the attributes of [`PERSONAL`] keys.
#[derive(Debug, Clone, Default)]
pub enum Privacy {
    /// They are sent as they are.
    #[default]
    Plain,
    /// Their values are hashed: the same person is the same value everywhere.
    Hash(HashKey),
    /// They are not sent.
    Drop,
}

impl Privacy {
    /// What is sent in place of an attribute's value; `None` where it is left out.
    pub fn value<'a>(&self, key: &str, value: &'a Value) -> Option<Cow<'a, Value>> {
        if matches!(self, Self::Plain) || !PERSONAL.contains(&key) {
            return Some(Cow::Borrowed(value));
        }
        match (self, value) {
            (Self::Hash(key), Value::Text(text)) => {
                Some(Cow::Owned(Value::Text(key.hash(text).into())))
            }
            // What is no text can't be hashed to anything that isn't soon guessed.
            _ => None,
        }
    }

    /// Tells apart what makes different values of the same attributes.
    pub fn encoder(&self) -> u128 {
        match self {
            Self::Plain => 0,
            Self::Drop => 1,
            Self::Hash(key) => key.fingerprint,
        }
    }

    /// What is sent in place of a failed span's message: it is a text as `error.message` is.
    pub fn failure<'a>(&self, message: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => Cow::Borrowed(message),
            Self::Hash(key) => Cow::Owned(key.hash(message)),
            Self::Drop => Cow::Borrowed(""),
        }
    }
}

/// The key of the hashes. `Debug` does not show it.
#[derive(Clone)]
pub struct HashKey {
    hmac: Hmac<Sha256>,
    fingerprint: u128,
}

// What a key's fingerprint is the hash of.
const FINGERPRINT: &str = "livekit-otel/fingerprint";

// Shorter ones are guessed, and with them the identities.
const SHORTEST: usize = 16;
// Of the hash's 32 bytes.
const SENT: usize = 16;

impl HashKey {
    /// A key of at least 16 bytes.
    pub fn new(secret: &str) -> Option<Self> {
        let hmac = Hmac::new_from_slice(secret.as_bytes()).ok()?;
        let fingerprint = hash(&hmac, FINGERPRINT);
        (secret.len() >= SHORTEST).then_some(Self { hmac, fingerprint })
    }

    // Lower-case hex of the first half of HMAC-SHA-256.
    fn hash(&self, text: &str) -> String {
        format!("{:032x}", hash(&self.hmac, text))
    }
}

fn hash(hmac: &Hmac<Sha256>, text: &str) -> u128 {
    let hash = hmac.clone().chain_update(text).finalize().into_bytes();
    hash.iter().take(SENT).fold(0, |sent, byte| sent << 8 | u128::from(*byte))
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::semconv::key;

    const SECRET: &str = "sixteen-bytes-of";

    fn hash() -> Privacy {
        Privacy::Hash(HashKey::new(SECRET).unwrap())
    }

    fn sent(privacy: &Privacy, key: &str, value: impl Into<Value>) -> Option<Value> {
        privacy.value(key, &value.into()).map(Cow::into_owned)
    }

    #[test]
    fn a_hash_is_the_first_half_of_hmac_sha_256_in_hex() {
        // printf ada | openssl dgst -sha256 -hmac sixteen-bytes-of | cut -c1-32, without its label.
        let expected = "c5b5a69adcfd908b51387626d19a1b70";
        assert_eq!(sent(&hash(), key::PARTICIPANT_IDENTITY, "ada"), Some(expected.into()));
        assert_eq!(hash().failure("ada"), expected);
    }

    #[test]
    fn only_personal_attributes_change() {
        for privacy in [Privacy::Plain, hash(), Privacy::Drop] {
            assert_eq!(sent(&privacy, key::ROOM_SID, "RM_1"), Some("RM_1".into()));
            assert_eq!(sent(&privacy, key::TRACK_MUTES, 2_i64), Some(2_i64.into()));
        }
        assert_eq!(sent(&Privacy::Plain, key::ERROR_MESSAGE, "no"), Some("no".into()));
        assert_eq!(sent(&Privacy::Drop, key::ERROR_MESSAGE, "no"), None);
        assert_eq!(Privacy::Drop.failure("no"), "");
        assert_eq!(sent(&hash(), key::PARTICIPANT_IDENTITY, 7_i64), None);
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        assert!(HashKey::new(&SECRET[1..]).is_none());
        assert_eq!(format!("{:?}", hash()), "Hash(HashKey { .. })");
    }
}
