//! OTLP's JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>) to the same message as protobuf:
//! ids in hex, 64-bit integers as numbers or texts, unknown fields ignored, `null` for what is not set.

mod schema;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::unreadable::Unreadable;
use schema::{Field, Kind};
pub(crate) use schema::{LOGS, METRICS, Message, TRACES};

/// Encodes the JSON text of a `message` as protobuf.
pub(crate) fn encode(json: &[u8], message: &'static Message) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::with_capacity(json.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let fields = Fields { bytes: &mut bytes, message };
    fields.deserialize(&mut reader).map_err(|_| Unreadable)?;
    reader.end().map_err(|_| Unreadable)?;
    Ok(bytes)
}

// The fields of a message.
struct Fields<'b> {
    bytes: &'b mut Vec<u8>,
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { bytes, message } = self;
        while let Some(field) = map.next_key_seed(Name(message))? {
            match field {
                Some(field) => {
                    map.next_value_seed(Value { bytes: &mut *bytes, field, is_one: false })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

// The name of a message's field; `None` if it is unknown.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.0.iter().find(|field| field.name == name))
    }
}

// The value of a field; one of its values if it is an item of a list.
struct Value<'b> {
    bytes: &'b mut Vec<u8>,
    field: &'static Field,
    is_one: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Value<'_> {
    fn key(&mut self, wire: WireType) {
        encode_key(self.field.number, wire, self.bytes);
    }

    fn content(mut self, content: &[u8]) {
        self.key(WireType::LengthDelimited);
        encode_varint(content.len() as u64, self.bytes);
        self.bytes.extend_from_slice(content);
    }

    // `None` if the field has another type.
    fn number(mut self, value: i128) -> Option<()> {
        match self.field.kind {
            Kind::Int64 | Kind::Enum => {
                self.key(WireType::Varint);
                encode_varint(i64::try_from(value).ok()?.cast_unsigned(), self.bytes);
            }
            Kind::Uint32 => {
                self.key(WireType::Varint);
                encode_varint(u32::try_from(value).ok()?.into(), self.bytes);
            }
            Kind::Fixed32 => {
                self.key(WireType::ThirtyTwoBit);
                self.bytes.extend_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
            }
            Kind::Fixed64 => {
                self.key(WireType::SixtyFourBit);
                self.bytes.extend_from_slice(&u64::try_from(value).ok()?.to_le_bytes());
            }
            Kind::Sfixed64 => {
                self.key(WireType::SixtyFourBit);
                self.bytes.extend_from_slice(&i64::try_from(value).ok()?.to_le_bytes());
            }
            Kind::Double => self.double(value as f64),
            _ => return None,
        }
        Some(())
    }

    fn double(mut self, value: f64) {
        self.key(WireType::SixtyFourBit);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn float(self, value: f64) -> Option<()> {
        // JavaScript writes whole numbers beyond 2^53 as such, others may write `1.0`.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.field.kind == Kind::Double {
            self.double(value);
            return Some(());
        }
        #[allow(clippy::cast_possible_truncation)]
        let whole = (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i128)?;
        self.number(whole)
    }

    fn text(self, text: &str) -> Option<()> {
        match self.field.kind {
            Kind::Text => self.content(text.as_bytes()),
            Kind::Id => self.content(&hex(text)?),
            Kind::Bytes => self.content(&base64(text)?),
            Kind::Double => {
                let value = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => text.parse().ok()?,
                };
                self.double(value);
            }
            _ => self.number(text.parse().ok()?)?,
        }
        Some(())
    }

    // A nested message. Its length takes five bytes, which protobuf allows, so that nothing has to move.
    fn nested<E>(
        mut self,
        write: impl FnOnce(&mut Vec<u8>, &'static Message) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: Error,
    {
        let Kind::Message(message) = self.field.kind else { return Err(wrong()) };
        self.key(WireType::LengthDelimited);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 5]);
        write(self.bytes, message)?;
        let mut length = self.bytes.len() - at - 5;
        for (nth, byte) in self.bytes[at..at + 5].iter_mut().enumerate() {
            let has_more = if nth < 4 { 0x80 } else { 0 };
            *byte = length.to_le_bytes()[0] & 0x7f | has_more;
            length >>= 7;
        }
        Ok(())
    }

    fn one<E: Error>(self, write: impl FnOnce(Self) -> Option<()>) -> Result<(), E> {
        let is_item = self.is_one || !self.field.is_list;
        is_item.then(|| write(self)).flatten().ok_or_else(wrong)
    }
}

fn wrong<E: Error>() -> E {
    E::custom("wrong value")
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let standard = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
    standard.or_else(|_| URL_SAFE.decode(text)).ok()
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    // Not set. An item of a list keeps its place.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.is_one, self.field.kind) {
            (false, _) => Ok(()),
            (true, Kind::Message(_)) => self.nested(|_, _| Ok(())),
            (true, _) => Err(wrong()),
        }
    }

    fn visit_bool<E: Error>(mut self, flag: bool) -> Result<(), E> {
        if self.field.kind != Kind::Bool || self.field.is_list {
            return Err(wrong());
        }
        self.key(WireType::Varint);
        encode_varint(flag.into(), self.bytes);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.one(|field| field.number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.one(|field| field.number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.one(|field| field.float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.one(|field| field.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { bytes, field, is_one } = self;
        if is_one || !field.is_list {
            return Err(wrong());
        }
        while items.next_element_seed(Value { bytes: &mut *bytes, field, is_one: true })?.is_some()
        {
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if self.field.is_list && !self.is_one {
            return Err(wrong());
        }
        self.nested(|bytes, message| Fields { bytes, message }.visit_map(map))
    }
}

#[cfg(test)]
mod tests;
