//! The resource's attributes: which program sends.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::SystemTime;

use super::reader::Reader;
use super::schema::Pairs;
use super::values;

const NAME: &str = "service.name";
const VERSION: &str = "service.version";
const INSTANCE: &str = "service.instance.id";

/// Our own attributes, overridden by the file's, then by `OTEL_RESOURCE_ATTRIBUTES`, then by
/// `OTEL_SERVICE_NAME`; the service's name comes first.
pub(super) fn read(file: &Pairs, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut attributes = BTreeMap::from([
        (NAME.to_owned(), "livekit-otel".to_owned()),
        (VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (INSTANCE.to_owned(), instance().to_owned()),
    ]);
    attributes.extend(file.0.iter().cloned());
    let found = reader.variable("OTEL_RESOURCE_ATTRIBUTES");
    attributes.extend(reader.parse_secret(found, values::pairs).unwrap_or_default());
    if let Some(found) = reader.variable("OTEL_SERVICE_NAME") {
        attributes.insert(NAME.to_owned(), found.text);
    }
    let name = attributes.remove(NAME).unwrap_or_default();
    std::iter::once((NAME.to_owned(), name)).chain(attributes).collect()
}

/// This process's id, shaped as a UUID of version 4. It needs to differ between processes, not to
/// be hard to guess: the standard library's hash keys are random by process.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let half =
            |which: u8| RandomState::new().hash_one((which, SystemTime::now(), std::process::id()));
        let bits = u128::from(half(0)) << 64 | u128::from(half(1));
        let bits = bits & !(0xf << 76) | 0x4 << 76;
        let bits = bits & !(0x3 << 62) | 0x2 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_has_the_shape_of_a_random_uuid_and_stays() {
        let id = instance();
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        assert_eq!(id, instance());
    }
}
