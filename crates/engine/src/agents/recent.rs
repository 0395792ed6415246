//! What is known of a job's spans by their ids. A long session has hundreds of thousands, and copies and children of
//! a span come within minutes of it, so that only the newest are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use livekit_otel_model::signal::SpanId;

/// At least so many are kept, and at most twice as many: 2 minutes of a lively talk.
const KEPT: usize = 512;

/// The newest spans.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recent<V> {
    young: BTreeMap<SpanId, V>,
    old: BTreeMap<SpanId, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<V: Copy> Recent<V> {
    /// Adds a span; returns whether it is new.
    pub(super) fn insert(&mut self, id: SpanId, value: V) -> bool {
        if self.contains(id) {
            return false;
        }
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, value).is_none()
    }

    pub(super) fn contains(&self, id: SpanId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn get(&self, id: SpanId) -> Option<V> {
        self.young.get(&id).or_else(|| self.old.get(&id)).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut recent = Recent::default();
        for nth in 0..10_000u64 {
            assert!(recent.insert(nth.to_be_bytes(), nth));
            assert!(!recent.insert(nth.to_be_bytes(), 0));
            let oldest = nth.saturating_sub(KEPT as u64 - 1);
            assert_eq!(recent.get(oldest.to_be_bytes()), Some(oldest));
            assert!(recent.len() <= 2 * KEPT);
        }
    }
}
