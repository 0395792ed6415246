//! Where each setting was written, for error messages.

use std::collections::BTreeMap;

/// The places of settings, by their dotted keys; empty if there is no file.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The file's name; empty if there is no file.
    pub file: String,
    /// A line of the file with its key, or a flag or variable that overrides it.
    pub known: BTreeMap<String, String>,
}

impl Places {
    /// How errors name the setting `key`.
    pub fn at(&self, key: &str) -> String {
        match self.known.get(key) {
            Some(place) => place.clone(),
            None if self.file.is_empty() => key.to_owned(),
            None => format!("{}: {key}", self.file),
        }
    }
}
