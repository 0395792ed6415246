//! What happens to personal data before it is sent or shown: it is kept, hashed or dropped.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::event::{RoomName, StreamStat};
use crate::semconv::{PERSONAL, key};
use crate::signal::{Attribute, LogRecord, Span, Value};

/// `privacy.pii`: what is sent of attributes with [`PERSONAL`] keys.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Privacy {
    /// They are sent unchanged.
    #[default]
    Plain,
    /// Their values are hashed. The same person has the same hash everywhere.
    Hash(HashKey),
    /// They are not sent.
    Drop,
}

/// `privacy.content`: what leaves of what was said, and of other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    /// Nothing.
    #[default]
    Drop,
    /// All of it, but for jobs whose content is redacted.
    Plain,
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
            // The hash of anything but a text is too easy to guess.
            _ => None,
        }
    }

    /// Identifies the rule and its key, so that encoded attributes can be cached by it.
    pub fn encoder(&self) -> u128 {
        match self {
            Self::Plain => 0,
            Self::Drop => 1,
            Self::Hash(key) => key.fingerprint,
        }
    }

    /// Turns a span into what is sent of it.
    pub fn redact_span(&self, span: &mut Span) {
        self.redact(&mut span.attributes);
    }

    /// Turns a log record into what is sent of it.
    pub fn redact_log(&self, record: &mut LogRecord) {
        self.redact(&mut record.attributes);
    }

    /// Turns a stats window into what is sent of it.
    pub fn redact_window(&self, window: &mut StreamStat) {
        let Some(name) = &window.room_name else { return };
        let sent = match self.value(key::ROOM_NAME, &Value::Text(name.shared())).as_deref() {
            Some(Value::Text(sent)) => RoomName::new(sent),
            _ => None,
        };
        window.room_name = sent;
    }

    fn redact(&self, attributes: &mut Vec<Attribute>) {
        attributes.retain_mut(|attribute| {
            let sent = self.value(attribute.key, &attribute.value).map(Cow::into_owned);
            sent.map(|sent| attribute.value = sent).is_some()
        });
    }
}

/// The key of the hashes. `Debug` does not show it.
#[derive(Clone)]
pub struct HashKey {
    hmac: Hmac<Sha256>,
    fingerprint: u128,
}

// A key's fingerprint is its hash of this text.
const FINGERPRINT: &str = "livekit-otel/fingerprint";

// A shorter key can be guessed, and identities with it.
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
    }

    #[test]
    fn only_personal_attributes_change() {
        for privacy in [Privacy::Plain, hash(), Privacy::Drop] {
            assert_eq!(sent(&privacy, key::ROOM_ID, "RM_1"), Some("RM_1".into()));
            assert_eq!(sent(&privacy, key::TRACK_MUTES, 2_i64), Some(2_i64.into()));
        }
        assert_eq!(sent(&Privacy::Plain, key::ERROR, "no"), Some("no".into()));
        assert_eq!(sent(&Privacy::Drop, key::ERROR, "no"), None);
        assert_eq!(sent(&hash(), key::PARTICIPANT_IDENTITY, 7_i64), None);
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        assert!(HashKey::new(&SECRET[1..]).is_none());
        assert_eq!(format!("{:?}", hash()), "Hash(HashKey { .. })");
    }
}
