//! What becomes of personal data: `privacy.pii`, and the key of its hashes.

use super::option;
use super::otlp::Flags;
use super::reader::Reader;
use super::values::{self, Pii};
use crate::privacy::Privacy;

// No flag: a command line is seen by others.
const KEY: &str = "LIVEKIT_OTEL_PRIVACY_HASH_KEY";

pub(super) fn read(flags: &Flags<'_>, reader: &mut Reader<'_>) -> Privacy {
    let found = reader.variable(KEY).or_else(|| reader.leaf("privacy.hash_key"));
    let is_given = found.is_some();
    let key = reader.parse(found, values::hash_key);
    let mode = option(reader, "--privacy-pii", flags.privacy_pii, "privacy.pii");
    let at = mode.as_ref().map(|found| found.at.clone()).unwrap_or_default();
    match (reader.parse(mode, values::pii).unwrap_or_default(), key) {
        (Pii::Plain, _) => Privacy::Plain,
        (Pii::Hash, Some(key)) => Privacy::Hash(key),
        (Pii::Drop, _) => Privacy::Drop,
        (Pii::Hash, None) => {
            if !is_given {
                reader.wrong(at, format!("needs privacy.hash_key in the file, or {KEY}"));
            }
            Privacy::Drop
        }
    }
}
