//! LiveKit's API keys, which sign webhooks and requests to its API.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

/// API keys and their secrets. `Debug` shows the keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    secrets: BTreeMap<String, String>,
    for_streams: Option<BTreeSet<String>>,
}

impl Keys {
    /// Adds a key, or replaces its secret.
    pub fn insert(&mut self, key: impl Into<String>, secret: impl Into<String>) {
        self.secrets.insert(key.into(), secret.into());
    }

    /// The secret of `key`.
    pub fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(String::as_str)
    }

    /// Whether a text is the secret of a key, which must not be shown.
    pub fn is_secret(&self, text: &str) -> bool {
        // Compared by their hashes, so that the time it takes reveals nothing of a secret.
        let hash = Sha256::digest(text);
        self.secrets.values().any(|secret| Sha256::digest(secret) == hash)
    }

    /// Accepts only tokens of these keys on analytics streams, if streams need a token.
    pub fn restrict_streams(&mut self, keys: impl IntoIterator<Item = String>) {
        self.for_streams = Some(keys.into_iter().collect());
    }

    /// The keys whose tokens may open analytics streams; `None` if all may.
    pub fn for_streams(&self) -> Option<&BTreeSet<String>> {
        self.for_streams.as_ref()
    }

    /// The key and its secret, if there is exactly one.
    pub fn only(&self) -> Option<(&str, &str)> {
        let mut keys = self.secrets.iter().map(|(key, secret)| (key.as_str(), secret.as_str()));
        keys.next().filter(|_| self.secrets.len() == 1)
    }

    /// The first key in alphabetical order, and its secret.
    pub fn first(&self) -> Option<(String, String)> {
        self.secrets.iter().next().map(|(key, secret)| (key.clone(), secret.clone()))
    }

    /// The keys, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

/// The current keys. Clones share them, and all see a replacement.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Arc<RwLock<Arc<Keys>>>);

impl KeyRing {
    /// The current keys.
    pub fn now(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read())
    }

    /// Replaces the keys.
    pub fn replace(&self, keys: Keys) {
        *self.0.write() = Arc::new(keys);
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
