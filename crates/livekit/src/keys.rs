//! LiveKit's API keys, which sign webhooks and what its API is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// API keys and their secrets. `Debug` shows the keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    secrets: BTreeMap<String, String>,
    for_streams: Option<BTreeSet<String>>,
}

impl Keys {
    /// Adds a key; a key given twice keeps the last secret.
    pub fn insert(&mut self, key: impl Into<String>, secret: impl Into<String>) {
        self.secrets.insert(key.into(), secret.into());
    }

    /// The secret of `key`.
    pub fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(String::as_str)
    }

    /// Lets none but these open the analytics streams, where a token is asked for.
    pub fn restrict_streams(&mut self, keys: impl IntoIterator<Item = String>) {
        self.for_streams = Some(keys.into_iter().collect());
    }

    /// Those that may open the analytics streams; `None` where all may.
    pub fn for_streams(&self) -> Option<&BTreeSet<String>> {
        self.for_streams.as_ref()
    }

    /// The key and its secret, where there is one only.
    pub fn only(&self) -> Option<(&str, &str)> {
        let mut keys = self.secrets.iter().map(|(key, secret)| (key.as_str(), secret.as_str()));
        keys.next().filter(|_| self.secrets.len() == 1)
    }

    /// One of the keys, and its secret.
    pub fn first(&self) -> Option<(String, String)> {
        self.secrets.iter().next().map(|(key, secret)| (key.clone(), secret.clone()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

/// The keys that are in force now; all clones see those that replace them.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Arc<RwLock<Arc<Keys>>>);

impl KeyRing {
    /// The keys.
    pub fn now(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl From<Keys> for KeyRing {
    fn from(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
