//! A configuration file's values as text, by their dotted paths, whatever its format.

use std::collections::BTreeMap;

/// The values of a file; an empty one where there is no file.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The file's name, as errors have it.
    pub name: String,
    /// Single values.
    pub leaves: BTreeMap<String, String>,
    /// Maps whose keys are the user's, in their order.
    pub maps: BTreeMap<String, Vec<(String, String)>>,
    /// Lists.
    pub lists: BTreeMap<String, Vec<String>>,
}

impl Document {
    /// The value at `path`.
    pub fn leaf(&self, path: &str) -> Option<&str> {
        self.leaves.get(path).map(String::as_str)
    }

    /// The user's keys at `path`, if there are any.
    pub fn map(&self, path: &str) -> &[(String, String)] {
        self.maps.get(path).map_or(&[], Vec::as_slice)
    }

    /// The list at `path`, if there is one.
    pub fn list(&self, path: &str) -> Option<&[String]> {
        self.lists.get(path).map(Vec::as_slice)
    }

    /// How errors name `path`.
    pub fn at(&self, path: &str) -> String {
        if path.is_empty() { self.name.clone() } else { format!("{path} in {}", self.name) }
    }
}
