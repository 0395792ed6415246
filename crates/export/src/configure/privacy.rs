//! How personal data is sent: `privacy.pii`, and the key of its hashes.

use super::flags::{Flags, option};
use super::reader::{Found, Reader};
use super::schema::Personal;
use super::values::{self, Pii};
use livekit_otel_model::privacy::Privacy;

// There is no flag, as other users of the machine can see a command line.
const KEY: &str = "LIVEKIT_OTEL_PRIVACY_HASH_KEY";
const MODE: &str = "--privacy-pii";

pub(super) fn read(flags: &Flags<'_>, file: &Personal, reader: &mut Reader<'_>) -> Privacy {
    let of_file = file
        .hash_key
        .as_ref()
        .map(|key| Found { text: key.0.clone(), at: reader.places.at("privacy.hash_key") });
    let found = reader.variable(KEY).or(of_file);
    let is_given = found.is_some();
    let key = reader.parse_secret(found, values::hash_key);
    let (at, mode) = match option(reader, MODE, flags.privacy_pii) {
        Some(found) => (found.at.clone(), reader.parse(Some(found), values::pii)),
        None => (reader.places.at("privacy.pii"), Some(file.pii)),
    };
    match (mode.unwrap_or_default(), key) {
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

/// Whether a flag or variable overrides `privacy.pii`.
pub(super) fn is_overridden(flags: &Flags<'_>, reader: &Reader<'_>) -> bool {
    option(reader, MODE, flags.privacy_pii).is_some()
}
