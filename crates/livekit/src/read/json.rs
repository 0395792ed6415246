//! Reads proto3 JSON (<https://protobuf.dev/programming-guides/json/>) as Go's protojson does, which
//! LiveKit's own receivers use, with DiscardUnknown: the same message as protobuf. What this version
//! does not know is counted.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pbjson_types::{Duration, Timestamp};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};

use super::number::{integer, without_fractions};
use super::schema::{Field, Kind, Message, Shape};
use super::unknown::{Unknown, is_identifier};
use super::unreadable::Unreadable;

/// Encodes the JSON text `body`, which is a `message`, as protobuf. Unknown enum values are numbers
/// of `unknown`. `google.protobuf.Any` is left out.
pub(super) fn encode(
    body: &[u8],
    message: &'static Message,
    unknown: &mut Unknown,
) -> Result<Vec<u8>, Unreadable> {
    let mut reader = Reader::new(unknown);
    let mut read = reader.read(body, message);
    if reader.has_fraction {
        // serde_json reads `1.0` as a float, which is not exact.
        reader = Reader::new(reader.unknown);
        read = reader.read(&without_fractions(body), message);
    }
    match read {
        Ok(()) => Ok(reader.bytes),
        Err(error) if error.is_data() => {
            Err(Unreadable::new(format!("wrong value at {}", Path(&reader.path))))
        }
        Err(error) => {
            Err(Unreadable::new(format!("invalid JSON at {}:{}", error.line(), error.column())))
        }
    }
}

struct Reader<'u> {
    bytes: Vec<u8>,
    unknown: &'u mut Unknown,
    // Where it reads, for errors.
    path: Vec<Step>,
    // Whether an integer was written as a float.
    has_fraction: bool,
}

enum Step {
    Field(&'static str),
    Item(usize),
    // The key of a map is the sender's data, not a name of the schema.
    Key,
}

struct Path<'a>(&'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("its top");
        }
        f.write_str("`")?;
        for (nth, step) in self.0.iter().enumerate() {
            let dot = if nth == 0 { "" } else { "." };
            match step {
                Step::Field(name) => write!(f, "{dot}{name}")?,
                Step::Key => write!(f, "{dot}*")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        f.write_str("`")
    }
}

impl<'u> Reader<'u> {
    fn new(unknown: &'u mut Unknown) -> Self {
        unknown.reset();
        Self { bytes: Vec::new(), unknown, path: Vec::new(), has_fraction: false }
    }

    fn read(&mut self, body: &[u8], message: &'static Message) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_map(Fields { reader: self, message })?;
        json.end()
    }

    fn at<T, E>(
        &mut self,
        step: Step,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.path.push(step);
        let value = read(self)?;
        self.path.pop();
        Ok(value)
    }

    fn varint(&mut self, field: &Field, value: u64) {
        encode_key(field.number, WireType::Varint, &mut self.bytes);
        encode_varint(value, &mut self.bytes);
    }

    fn content(&mut self, field: &Field, content: &[u8]) {
        encode_key(field.number, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(content.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(content);
    }

    // A nested message, which `write` writes.
    fn nested<E>(
        &mut self,
        field: &Field,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        encode_key(field.number, WireType::LengthDelimited, &mut self.bytes);
        let start = self.bytes.len();
        write(self)?;
        let end = self.bytes.len();
        encode_varint((end - start) as u64, &mut self.bytes);
        // The length goes first.
        let length = self.bytes.len() - end;
        self.bytes[start..].rotate_right(length);
        Ok(())
    }

    // `None` if the field has another type.
    fn number(&mut self, field: &Field, value: i128) -> Option<()> {
        let value = match field.kind {
            Kind::Int32 => i32::try_from(value).ok()?.into(),
            Kind::Int64 => i64::try_from(value).ok()?,
            Kind::Uint32 => u32::try_from(value).ok()?.into(),
            Kind::Uint64 => u64::try_from(value).ok()?.cast_signed(),
            Kind::Enum(_) => {
                let number = i32::try_from(value).ok()?;
                let known = field.kind.enumeration()?;
                if known.is_counted() && known.value(number).is_none() {
                    self.unknown.enum_values += 1;
                }
                number.into()
            }
            _ => return self.float(field, value as f64),
        };
        self.varint(field, value.cast_unsigned());
        Some(())
    }

    fn float(&mut self, field: &Field, value: f64) -> Option<()> {
        match field.kind {
            Kind::Double => {
                encode_key(field.number, WireType::SixtyFourBit, &mut self.bytes);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Float => {
                #[allow(clippy::cast_possible_truncation)]
                let narrow = value as f32;
                if value.is_finite() && !narrow.is_finite() {
                    return None;
                }
                encode_key(field.number, WireType::ThirtyTwoBit, &mut self.bytes);
                self.bytes.extend_from_slice(&narrow.to_le_bytes());
            }
            _ => return None,
        }
        Some(())
    }

    fn text(&mut self, field: &Field, text: &str) -> Option<()> {
        match field.kind {
            Kind::Text => self.content(field, text.as_bytes()),
            Kind::Bytes => self.content(field, &bytes(text)?),
            Kind::Enum(_) => self.value(field, text),
            Kind::Float | Kind::Double => {
                let number = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => serde_json::from_str(text).ok()?,
                };
                self.float(field, number)?;
            }
            Kind::Timestamp => self.content(field, &parsed::<Timestamp>(text)?.encode_to_vec()),
            Kind::Duration => self.content(field, &parsed::<Duration>(text)?.encode_to_vec()),
            _ => self.number(field, integer(text)?)?,
        }
        Some(())
    }

    // An enum's value by its name.
    fn value(&mut self, field: &Field, name: &str) {
        let Some(known) = field.kind.enumeration() else { return };
        let number = known.number(name).or_else(|| {
            self.unknown.enum_values += u64::from(known.is_counted());
            self.unknown.number(name)
        });
        if let Some(number) = number {
            // A negative number is encoded with 64 bits.
            self.varint(field, i64::from(number).cast_unsigned());
        }
    }
}

fn parsed<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let text: StrDeserializer<'de, ValueError> = text.into_deserializer();
    T::deserialize(text).ok()
}

// Base64 with either alphabet, with or without padding. Go's decoder ignores line breaks.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const ANY: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY);
    let text: String = text.chars().filter(|each| !matches!(each, '\r' | '\n')).collect();
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).ok()
}

fn wrong<E: Error>() -> E {
    E::custom("wrong value")
}

// The fields of a message.
struct Fields<'r, 'u> {
    reader: &'r mut Reader<'u>,
    message: &'static Message,
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, message } = self;
        while let Some(field) = map.next_key_seed(Name { message, unknown: reader.unknown })? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            reader.at(Step::Field(field.name), |reader| {
                map.next_value_seed(Value { reader, field, is_one: field.shape == Shape::One })
            })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

// The name of a field; `None` if it is unknown.
struct Name<'r> {
    message: &'static Message,
    unknown: &'r mut Unknown,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let field = self.message.field_named(name);
        if field.is_none() {
            let name = if is_identifier(name) { name } else { "?" };
            self.unknown.field(self.message.name, name);
        }
        Ok(field)
    }
}

// The value of a field or, if the field has several and this `is_one`, one of them.
struct Value<'r, 'u> {
    reader: &'r mut Reader<'u>,
    field: &'static Field,
    is_one: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.field.kind {
            Kind::Any => json.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            _ => json.deserialize_any(self),
        }
    }
}

impl Value<'_, '_> {
    fn one<E: Error>(
        self,
        write: impl FnOnce(&mut Reader<'_>, &'static Field) -> Option<()>,
    ) -> Result<(), E> {
        let written = if self.is_one { write(self.reader, self.field) } else { None };
        written.ok_or_else(wrong)
    }

    fn entries<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, field, .. } = self;
        let entry = field.kind.message().map_or(&[][..], |entry| &entry.fields);
        let [key, value] = entry else { return Err(wrong()) };
        while let Some(text) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            reader.at(Step::Key, |reader| {
                reader.nested(field, |reader| {
                    reader.text(key, &text).ok_or_else(wrong)?;
                    map.next_value_seed(Value { reader, field: value, is_one: true })
                })
            })?;
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    // The default; not a legal item.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.reader.path.last() {
            Some(Step::Field(_)) => Ok(()),
            _ => Err(wrong()),
        }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.one(|reader, field| {
            (field.kind == Kind::Bool).then(|| reader.varint(field, flag.into()))
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.one(|reader, field| reader.number(field, value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.one(|reader, field| reader.number(field, value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.one(|reader, field| {
            let written = reader.float(field, value);
            reader.has_fraction |= written.is_none();
            written
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.one(|reader, field| reader.text(field, text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { reader, field, is_one } = self;
        if is_one || field.shape != Shape::List {
            return Err(wrong());
        }
        for index in 0.. {
            let item = reader.at(Step::Item(index), |reader| {
                items.next_element_seed(Value { reader, field, is_one: true })
            })?;
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if !self.is_one {
            return if self.field.shape == Shape::Map { self.entries(map) } else { Err(wrong()) };
        }
        let Self { reader, field, .. } = self;
        let Some(message) = field.kind.message() else { return Err(wrong()) };
        reader.nested(field, |reader| Fields { reader, message }.visit_map(map))
    }
}

#[cfg(test)]
mod tests;
