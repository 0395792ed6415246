//! The table of LiveKit's messages, `schema.txt`: their fields by number and by name.

use std::sync::LazyLock;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!("schema.txt")));

// What a wrong table would lead to; tests/it/schema.rs excludes it.
static NO_MESSAGE: Message =
    Message { name: "", fields: Vec::new(), by_number: Vec::new(), by_name: Vec::new() };

/// The message of that name, without `livekit.`
pub(super) fn message(name: &str) -> &'static Message {
    let at = SCHEMA.messages.binary_search_by(|message| message.name.cmp(name));
    at.ok().and_then(|at| SCHEMA.messages.get(at)).unwrap_or(&NO_MESSAGE)
}

struct Schema {
    messages: Vec<Message>,
    // A map's field is a list of messages of two fields.
    entries: Vec<Message>,
    enums: Vec<Enum>,
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name, without `livekit.`
    pub(super) name: &'static str,
    /// Its fields.
    pub(super) fields: Vec<Field>,
    // Indices of fields plus one, by number; 0 for none.
    by_number: Vec<u8>,
    // Indices of fields, by their names in JSON and in the definition.
    by_name: Vec<(String, u8)>,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in the definition.
    pub(super) name: &'static str,
    /// Its number.
    pub(super) number: u32,
    /// Whether it has several values.
    pub(super) shape: Shape,
    /// The type of a value.
    pub(super) kind: Kind,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    /// `google.protobuf.Any`, which is not read.
    Any,
    Message(u16),
    /// The entry of a map.
    Entry(u16),
    Enum(u16),
}

impl Kind {
    /// The message that a value is.
    pub(super) fn message(self) -> Option<&'static Message> {
        match self {
            Self::Message(at) => SCHEMA.messages.get(usize::from(at)),
            Self::Entry(at) => SCHEMA.entries.get(usize::from(at)),
            _ => None,
        }
    }

    /// The enum that a value is of.
    pub(super) fn enumeration(self) -> Option<&'static Enum> {
        match self {
            Self::Enum(at) => SCHEMA.enums.get(usize::from(at)),
            _ => None,
        }
    }
}

/// An enum.
#[derive(Debug)]
pub(super) struct Enum {
    /// Its name, without `livekit.`
    pub(super) name: &'static str,
    values: Vec<(&'static str, i32)>,
}

impl Enum {
    /// The numbers and names of its values.
    #[cfg(test)]
    pub(super) fn values(&self) -> &[(&'static str, i32)] {
        &self.values
    }

    /// The number of a value.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// Whether its unknown values are counted as such. Unknown types of events are counted as events,
    /// and SIP has more status codes than LiveKit names.
    pub(super) fn is_counted(&self) -> bool {
        !matches!(self.name, "AnalyticsEventType" | "SIPStatusCode")
    }

    /// The name of a value.
    pub(super) fn value(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
    }
}

impl Message {
    fn new(name: &'static str, fields: Vec<Field>) -> Self {
        let mut by_number: Vec<u8> = Vec::new();
        let mut by_name = Vec::new();
        for (field, at) in fields.iter().zip(0..u8::MAX) {
            let number = field.number as usize;
            by_number.resize(by_number.len().max(number + 1), 0);
            by_number[number] = at + 1;
            by_name.push((field.name.to_owned(), at));
            by_name.push((json_name(field.name), at));
        }
        by_name.sort_unstable();
        Self { name, fields, by_number, by_name }
    }

    /// The field with that number.
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        let at = *self.by_number.get(usize::try_from(number).ok()?)?;
        self.fields.get(usize::from(at.checked_sub(1)?))
    }

    /// The field with that name, in the definition or in JSON.
    pub(super) fn field_named(&self, name: &str) -> Option<&Field> {
        let at = self.by_name.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.fields.get(usize::from(self.by_name.get(at)?.1))
    }
}

// As protoc makes it: `joined_at_ms` becomes `joinedAtMs`.
pub(super) fn json_name(name: &str) -> String {
    let mut json = String::with_capacity(name.len());
    let mut after_bar = false;
    for each in name.chars() {
        if each != '_' {
            json.push(if after_bar { each.to_ascii_uppercase() } else { each });
        }
        after_bar = each == '_';
    }
    json
}

impl Schema {
    fn parse(table: &'static str) -> Self {
        let blocks = blocks(table);
        let names = |kind: &str| -> Vec<&'static str> {
            blocks.iter().filter(|block| block.kind == kind).map(|block| block.name).collect()
        };
        let mut types = Types { messages: names("message"), enums: names("enum"), entries: vec![] };
        let (mut messages, mut enums) = (Vec::new(), Vec::new());
        for block in blocks {
            if block.kind == "enum" {
                let value = |token: &'static str| {
                    let (name, number) = token.split_once('=')?;
                    Some((name, number.parse().ok()?))
                };
                let values = block.tokens.into_iter().filter_map(value).collect();
                enums.push(Enum { name: block.name, values });
            } else {
                let fields = block.tokens.into_iter().filter_map(|token| types.field(token));
                messages.push(Message::new(block.name, fields.collect()));
            }
        }
        Self { messages, entries: types.entries, enums }
    }
}

// A message or an enum in the table, which is sorted by kind and name.
struct Block {
    kind: &'static str,
    name: &'static str,
    tokens: Vec<&'static str>,
}

fn blocks(table: &'static str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(tokens) = line.strip_prefix("  ") {
            let tokens = tokens.split(' ').map(|token| token.trim_start_matches('+'));
            blocks
                .iter_mut()
                .next_back()
                .into_iter()
                .for_each(|of| of.tokens.extend(tokens.clone()));
        } else if let Some((kind, name)) = line.trim_start_matches('+').split_once(' ') {
            blocks.push(Block { kind, name, tokens: Vec::new() });
        }
    }
    blocks
}

struct Types {
    messages: Vec<&'static str>,
    enums: Vec<&'static str>,
    entries: Vec<Message>,
}

impl Types {
    // Such as `joined_at=6:int64`.
    fn field(&mut self, token: &'static str) -> Option<Field> {
        let (name, rest) = token.split_once('=')?;
        let (number, of) = rest.split_once(':')?;
        let map = of.strip_prefix("map<").and_then(|of| of.strip_suffix('>'));
        let (shape, kind) = if let Some((key, value)) = map.and_then(|map| map.split_once(',')) {
            let one = |name, number, kind| Field { name, number, shape: Shape::One, kind };
            let fields = vec![one("key", 1, self.kind(key)?), one("value", 2, self.kind(value)?)];
            self.entries.push(Message::new("", fields));
            (Shape::Map, Kind::Entry(u16::try_from(self.entries.len() - 1).ok()?))
        } else if let Some(of) = of.strip_suffix("[]") {
            (Shape::List, self.kind(of)?)
        } else {
            (Shape::One, self.kind(of)?)
        };
        Some(Field { name, number: number.parse().ok()?, shape, kind })
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        let at = |names: &[&str]| u16::try_from(names.binary_search(&name).ok()?).ok();
        Some(match name {
            "bool" => Kind::Bool,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "uint32" => Kind::Uint32,
            "uint64" => Kind::Uint64,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "string" => Kind::Text,
            "bytes" => Kind::Bytes,
            "google.protobuf.Timestamp" => Kind::Timestamp,
            "google.protobuf.Duration" => Kind::Duration,
            "google.protobuf.Any" => Kind::Any,
            _ => {
                at(&self.messages).map(Kind::Message).or_else(|| at(&self.enums).map(Kind::Enum))?
            }
        })
    }
}
