//! Reads proto3 JSON from a server that may be newer than this program. Unknown fields and enum
//! values are left out and counted; livekit-protocol's own reader refuses a message that has one.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::unreadable::Unreadable;
use livekit_otel_model::event::Unknown;

// A signed message with more unknown values is of a version too far from this one.
const MAX_UNKNOWN_VALUES: u64 = 256;

/// Reads a message, leaving out unknown fields and enum values.
pub(super) fn read<T: DeserializeOwned>(
    mut json: Value,
    unknown: &mut Unknown,
) -> Result<T, Unreadable> {
    for enum_values in 0..MAX_UNKNOWN_VALUES {
        let fields = Cell::new(0);
        match T::deserialize(Lenient { value: &json, unknown_fields: &fields }) {
            Ok(message) => {
                unknown.fields += fields.get();
                unknown.enum_values += enum_values;
                return Ok(message);
            }
            Err(Error { unknown_value: true, path }) if remove(&mut json, &path) => {}
            Err(error) => return Err(Unreadable::new(format!("wrong value at `{error}`"))),
        }
    }
    Err(Unreadable::new("too many unknown values"))
}

// Removes the value at `path` (innermost step first) from the message.
fn remove(json: &mut Value, path: &[Step]) -> bool {
    let Some((last, way)) = path.split_first() else { return false };
    let parent = way.iter().rev().try_fold(json, |value, step| match step {
        Step::Field(name) | Step::Key(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(object)), Step::Field(name) | Step::Key(name)) => {
            object.remove(name).is_some()
        }
        (Some(Value::Array(array)), Step::Index(index)) if *index < array.len() => {
            array.remove(*index);
            true
        }
        _ => false,
    }
}

#[derive(Debug)]
enum Step {
    Field(String),
    // The key of a map is the sender's data, not a name of the schema.
    Key(String),
    Index(usize),
}

// Where reading stopped, innermost step first. It carries no value, which may be a secret.
#[derive(Debug)]
struct Error {
    unknown_value: bool,
    path: Vec<Step>,
}

impl Error {
    fn at(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, step) in self.path.iter().rev().enumerate() {
            let dot = if nth == 0 { "" } else { "." };
            match step {
                Step::Field(name) => write!(f, "{dot}{name}")?,
                Step::Key(_) => write!(f, "{dot}*")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self { unknown_value: false, path: Vec::new() }
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self { unknown_value: true, path: Vec::new() }
    }

    // Enums report an unknown number with this error.
    fn invalid_value(unexpected: Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        let number = matches!(unexpected, Unexpected::Signed(_) | Unexpected::Unsigned(_));
        Self { unknown_value: number, path: Vec::new() }
    }
}

#[derive(Clone, Copy)]
struct Lenient<'a> {
    value: &'a Value,
    unknown_fields: &'a Cell<u64>,
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0, of: self }),
            Value::Object(_) => self.map(None, visitor),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => Err(Error::custom("number")),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(_) => self.map(Some(fields), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> Lenient<'de> {
    fn map<V: Visitor<'de>>(
        self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(object) = self.value else { return Err(Error::custom("object")) };
        visitor.visit_map(Entries { entries: object.iter(), known, current: None, of: self })
    }
}

struct Items<'a> {
    items: &'a [Value],
    next: usize,
    of: Lenient<'a>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let index = self.next;
        let Some(value) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(Lenient { value, ..self.of })
            .map(Some)
            .map_err(|error| error.at(Step::Index(index)))
    }
}

struct Entries<'a> {
    entries: serde_json::map::Iter<'a>,
    known: Option<&'static [&'static str]>,
    current: Option<(&'a String, &'a Value)>,
    of: Lenient<'a>,
}

impl Entries<'_> {
    fn step(&self, name: &str) -> Step {
        match self.known {
            Some(_) => Step::Field(name.to_owned()),
            None => Step::Key(name.to_owned()),
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for (name, value) in self.entries.by_ref() {
            if self.known.is_some_and(|known| !known.contains(&name.as_str())) {
                self.of.unknown_fields.set(self.of.unknown_fields.get() + 1);
                continue;
            }
            self.current = Some((name, value));
            let key = serde::de::value::BorrowedStrDeserializer::new(name);
            return seed
                .deserialize(key)
                .map(Some)
                .map_err(|error: Error| error.at(self.step(name)));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, value)) = self.current.take() else { return Err(Error::custom("value")) };
        seed.deserialize(Lenient { value, ..self.of }).map_err(|error| error.at(self.step(name)))
    }
}

#[cfg(test)]
mod tests {
    use livekit_protocol::WebhookEvent;
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_and_enum_names_are_left_out_and_counted() {
        let mut unknown = Unknown::default();
        let event: WebhookEvent = read(
            json!({
                "event": "track_published",
                "novelty": {"deep": 1},
                "track": {"sid": "TR_1", "source": "HOLOGRAM", "type": 77, "audioFeatures": ["TF_STEREO", "TF_NEW"]},
                "participant": {"sid": "PA_1", "kind": "ROBOT", "mood": "good"},
            }),
            &mut unknown,
        )
        .unwrap();
        let track = event.track.unwrap();
        assert_eq!((track.sid.as_str(), track.source, track.r#type), ("TR_1", 0, 0));
        assert_eq!(track.audio_features.len(), 1);
        assert_eq!(event.participant.unwrap().sid, "PA_1");
        assert_eq!(unknown, Unknown { event_types: 0, enum_values: 4, fields: 2 });
    }

    #[test]
    fn a_wrong_type_is_refused_by_its_path_without_its_value() {
        let body = json!({"room": {"sid": ["secret"]}});
        let error = read::<WebhookEvent>(body, &mut Unknown::default()).unwrap_err();
        assert_eq!(error.to_string(), "unreadable message: wrong value at `room.sid`");
    }

    #[test]
    fn a_map_key_does_not_show_in_the_error() {
        let body = json!({"participant": {"attributes": {"secret-key": 5}}});
        let error = read::<WebhookEvent>(body, &mut Unknown::default()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_flood_of_unknown_values_is_refused() {
        let kinds: Vec<_> = (0..300).map(|_| "TF_NEW").collect();
        let body = json!({"track": {"audioFeatures": kinds}});
        assert!(read::<WebhookEvent>(body, &mut Unknown::default()).is_err());
    }
}
