//! Where each setting was written, for error messages.

use std::collections::BTreeMap;

use livekit_otel_model::Signal;

/// The places of settings, by their dotted keys; empty if there is no file.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The file's name; empty if there is no file.
    pub file: String,
    /// A line of the file with its key, or a flag or variable that overrides it.
    pub known: BTreeMap<String, String>,
    /// Where options of single signals were set: by the signal's name and the option, such as
    /// `("traces", "ENDPOINT")`. A default has no place.
    pub of_signals: BTreeMap<(&'static str, &'static str), String>,
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

    /// How errors name an option of a signal, which the file sets as `key`.
    pub fn of_signal(&self, signal: Signal, option: &'static str, key: &str) -> String {
        let found = self.of_signals.get(&(signal.as_str(), option));
        found.cloned().unwrap_or_else(|| self.at(key))
    }
}
