//! What a message contains that this version does not know.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use livekit_otel_model::event;

// The numbers that stand for unknown enum values whose message, which is JSON, has only their names.
// Protobuf enums that LiveKit defines have no negative numbers.
const FIRST_TEXT: i32 = i32::MIN;
// Of one message. More are counted, and read as unspecified.
const MOST_TEXTS: usize = 64;
// An enum value is an identifier. Longer texts, and what is no identifier, are counted and dropped.
const LONGEST: usize = 64;
// So many unknown fields are named in the log, once for each process.
const MOST_NAMED: usize = 16;

static NAMED: Once = Once::new();

/// Counts, and the names of unknown enum values.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// Events of an unknown type.
    pub(super) event_types: u64,
    /// Values of known enums without a name in this version.
    pub(super) enum_values: u64,
    /// Fields of known messages without a name in this version.
    pub(super) fields: u64,
    texts: Vec<Arc<str>>,
    without_names: bool,
}

impl Unknown {
    /// Names of enum values are not kept.
    pub(super) fn without_names() -> Self {
        Self { without_names: true, ..Self::default() }
    }

    /// As nothing was counted yet.
    pub(super) fn reset(&mut self) {
        *self = Self { without_names: self.without_names, ..Self::default() };
    }

    /// The counts.
    pub(super) fn counts(&self) -> event::Unknown {
        let Self { event_types, enum_values, fields, .. } = *self;
        event::Unknown { event_types, enum_values, fields }
    }

    /// Counts a field. The first few different ones are named in the log, without their values.
    pub(super) fn field(&mut self, message: &str, field: impl Display + Hash) {
        self.fields += 1;
        if NAMED.is_first((message, &field)) {
            tracing::info!(
                field = format!("livekit.{message}.{field}"),
                "LiveKit sends a field that this version does not know; it is counted and not read"
            );
        }
    }

    /// A number that stands for the unknown enum value `text`.
    pub(super) fn number(&mut self, text: &str) -> Option<i32> {
        let known = self.texts.iter().position(|known| **known == *text);
        let at = known.or_else(|| {
            let is_kept = !self.without_names && self.texts.len() < MOST_TEXTS;
            (is_kept && is_identifier(text)).then(|| {
                self.texts.push(text.into());
                self.texts.len() - 1
            })
        })?;
        Some(FIRST_TEXT + i32::try_from(at).ok()?)
    }

    /// The unknown enum value that `number` is or stands for.
    pub(super) fn value(&self, number: i32) -> Arc<str> {
        let at = number.checked_sub(FIRST_TEXT).and_then(|at| usize::try_from(at).ok());
        let text = at.and_then(|at| self.texts.get(at));
        text.map_or_else(|| number.to_string().into(), Arc::clone)
    }
}

/// Whether it looks like a name in LiveKit's definitions.
pub(super) fn is_identifier(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|each| each.is_ascii_alphanumeric() || each == '_')
}

// A set of few hashes, without a lock.
struct Once([AtomicU64; MOST_NAMED]);

impl Once {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MOST_NAMED])
    }

    // Whether this is the first call with that value. Once the set is full, no value is new.
    fn is_first(&self, value: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish().max(1);
        for slot in &self.0 {
            match slot.compare_exchange(0, hash, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(known) if known == hash => return false,
                Err(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_is_its_name_if_the_message_has_one_and_its_number_otherwise() {
        let mut unknown = Unknown::default();
        assert_eq!(&*unknown.value(99), "99");
        assert_eq!(&*unknown.value(FIRST_TEXT), "-2147483648");
        let (one, two) = (unknown.number("ONE").unwrap(), unknown.number("TWO").unwrap());
        assert_eq!(unknown.number("ONE"), Some(one));
        assert_eq!((&*unknown.value(one), &*unknown.value(two)), ("ONE", "TWO"));
    }

    #[test]
    fn a_text_that_is_no_name_and_a_flood_of_names_are_dropped() {
        let mut unknown = Unknown::default();
        for text in ["", "4", "a secret", "+49 30 123", "ä", &"A".repeat(LONGEST + 1)] {
            assert_eq!(unknown.number(text), None, "{text}");
        }
        let numbers = (0..1000).filter_map(|nth| unknown.number(&format!("VALUE_{nth}")));
        assert_eq!(numbers.count(), MOST_TEXTS);
        assert!(unknown.number("VALUE_0").is_some());
    }

    #[test]
    fn a_field_is_named_once_and_few_are() {
        let named = Once::new();
        assert!(named.is_first(("Room", "a")) && !named.is_first(("Room", "a")));
        assert!(named.is_first(("Room", 7)) && named.is_first(("Job", 7)));
        let more = (0..1000).filter(|nth| named.is_first(nth));
        assert_eq!(more.count(), MOST_NAMED - 3);
        assert!(!named.is_first("another") && !named.is_first(("Room", "a")));
    }
}
