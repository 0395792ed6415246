//! `crates/livekit/src/read/schema.txt`, by which messages are read, compared with LiveKit's definitions.

use std::collections::{BTreeMap, BTreeSet};

use protox::prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::fields::{ANSWERS, EVENTS, ROOMS, STATS, WEBHOOK, pool};

const TABLE: &str = include_str!("../../crates/livekit/src/read/schema.txt");

// The tokens of each message and enum; those with a `+` are newer than LiveKit's crate.
type Blocks = BTreeMap<String, BTreeSet<String>>;

fn table() -> (Blocks, Blocks) {
    let (mut known, mut newer) = (Blocks::new(), Blocks::new());
    let mut block = String::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let Some(tokens) = line.strip_prefix("  ") else {
            line.trim_start_matches('+').clone_into(&mut block);
            if !line.starts_with('+') {
                known.insert(block.clone(), BTreeSet::new());
            }
            continue;
        };
        for token in tokens.split(' ') {
            let (blocks, token) = match token.strip_prefix('+') {
                Some(token) => (&mut newer, token),
                None => (&mut known, token),
            };
            let is_new = blocks.entry(block.clone()).or_default().insert(token.to_owned());
            assert!(is_new, "{block} has {token} twice");
        }
    }
    (known, newer)
}

fn short(name: &str) -> String {
    name.strip_prefix("livekit.").unwrap_or(name).to_owned()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => short(message.full_name()),
        Kind::Enum(of) => short(of.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn token(field: &FieldDescriptor) -> String {
    let of = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let [key, value] = [entry.map_entry_key_field(), entry.map_entry_value_field()];
            format!("map<{},{}>", kind(&key.kind()), kind(&value.kind()))
        }
        one if field.is_list() => format!("{}[]", kind(&one)),
        one => kind(&one),
    };
    format!("{}={}:{of}", field.name(), field.number())
}

// Every message and enum that can be received.
fn definitions() -> Blocks {
    let pool = pool();
    let roots = [EVENTS, ROOMS, STATS, WEBHOOK].into_iter().chain(ANSWERS);
    let mut open: Vec<MessageDescriptor> =
        roots.map(|name| pool.get_message_by_name(name).unwrap()).collect();
    let mut blocks = Blocks::new();
    let values = |of: &EnumDescriptor| {
        of.values().map(|value| format!("{}={}", value.name(), value.number())).collect()
    };
    while let Some(message) = open.pop() {
        let name = format!("message {}", short(message.full_name()));
        if blocks.contains_key(&name) || !message.full_name().starts_with("livekit.") {
            continue;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) if !field.is_map() => open.push(inner),
                Kind::Enum(of) => {
                    blocks.insert(format!("enum {}", short(of.full_name())), values(&of));
                }
                _ => {}
            }
        }
        blocks.insert(name, message.fields().map(|field| token(&field)).collect());
    }
    blocks
}

#[test]
fn the_table_has_every_message_field_and_enum_value_of_livekits_crate() {
    let (known, defined) = (table().0, definitions());
    for (block, tokens) in &defined {
        let known = known.get(block).unwrap_or_else(|| panic!("{block} is missing: {tokens:?}"));
        let missing: Vec<_> = tokens.difference(known).collect();
        assert!(missing.is_empty(), "{block} lacks {missing:?}");
        let gone: Vec<_> = known.difference(tokens).collect();
        assert!(gone.is_empty(), "{block} has {gone:?}, which LiveKit's definitions lack");
    }
    let gone: Vec<_> = known.keys().filter(|block| !defined.contains_key(*block)).collect();
    assert!(gone.is_empty(), "{gone:?} can't be received");
}

#[test]
fn what_is_marked_as_newer_is_not_in_livekits_crate() {
    let (newer, defined) = (table().1, definitions());
    assert!(newer["message JobState"].contains("reason=9:JobStateReason"));
    for (block, tokens) in &newer {
        let Some(defined) = defined.get(block) else { continue };
        let numbers = |tokens: &BTreeSet<String>| -> BTreeSet<String> {
            let number = |token: &String| token.split(['=', ':']).nth(1).unwrap().to_owned();
            tokens.iter().map(number).collect()
        };
        let twice: Vec<_> = numbers(tokens).intersection(&numbers(defined)).cloned().collect();
        assert!(twice.is_empty(), "{block} has {twice:?} already: remove the `+`");
    }
}

#[test]
fn the_names_in_json_are_derived_as_livekits() {
    // `json_name` in the crate has no exceptions.
    for message in pool().all_messages().filter(|each| each.full_name().starts_with("livekit.")) {
        for field in message.fields() {
            let mut parts = field.name().split('_');
            let first = parts.next().unwrap().to_owned();
            let json = parts.fold(first, |name, part| {
                let (head, tail) = part.split_at(part.len().min(1));
                name + &head.to_uppercase() + tail
            });
            assert_eq!(field.json_name(), json, "{}", field.full_name());
        }
    }
}
