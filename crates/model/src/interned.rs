//! Constant names of the program (keys, rules) in a snapshot: written as text, read back as a
//! `&'static str`. Each name is leaked once, however often it is read.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A constant name. An alias, as serde's derive borrows fields that are written as `&str`.
pub type Name = &'static str;

fn interned(text: &str) -> &'static str {
    static NAMES: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let names = NAMES.get_or_init(Mutex::default);
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(text) {
        return name;
    }
    let name: &'static str = Box::leak(Box::from(text));
    names.insert(name);
    name
}

pub fn serialize<S: Serializer>(name: &'static str, to: S) -> Result<S::Ok, S::Error> {
    name.serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    <&str>::deserialize(from).map(interned)
}

/// The same for an optional name.
pub mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, clippy::ref_option_ref)] // serde's signature
    pub fn serialize<S: Serializer>(name: &Option<&'static str>, to: S) -> Result<S::Ok, S::Error> {
        name.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<&'static str>, D::Error> {
        Ok(Option::<&str>::deserialize(from)?.map(super::interned))
    }
}
