//! What is known of a job's spans by their ids. A long session has hundreds of thousands, and copies and children of
//! a span come within minutes of it, so that only the newest are kept.

use serde::{Deserialize, Serialize};

use livekit_otel_model::signal::SpanId;

/// At least so many are kept, and at most twice as many: 2 minutes of a lively talk.
const KEPT: usize = 512;

/// The newest spans. Both parts are sorted: that takes half the memory of a map, of which there are many.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recent<V> {
    young: Vec<(SpanId, V)>,
    old: Vec<(SpanId, V)>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: Vec::new(), old: Vec::new() }
    }
}

impl<V: Copy> Recent<V> {
    /// Adds a span; returns whether it is new.
    pub(super) fn insert(&mut self, id: SpanId, value: V) -> bool {
        if place(&self.old, id).is_ok() {
            return false;
        }
        let Err(place) = place(&self.young, id) else { return false };
        if self.young.len() >= KEPT {
            self.old = std::mem::replace(&mut self.young, vec![(id, value)]);
        } else {
            self.young.insert(place, (id, value));
        }
        true
    }

    pub(super) fn contains(&self, id: SpanId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn get(&self, id: SpanId) -> Option<V> {
        let in_part = |part: &[(SpanId, V)]| place(part, id).ok().map(|place| part[place].1);
        in_part(&self.young).or_else(|| in_part(&self.old))
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

fn place<V>(part: &[(SpanId, V)], id: SpanId) -> Result<usize, usize> {
    part.binary_search_by(|(known, _)| known.cmp(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut recent = Recent::default();
        // Ids are in no order.
        let id = |nth: u64| nth.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        for nth in 0..10_000u64 {
            assert!(recent.insert(id(nth), nth));
            let oldest = nth.saturating_sub(KEPT as u64 - 1);
            for known in [oldest, nth.midpoint(oldest), nth] {
                assert!(!recent.insert(id(known), 0));
                assert_eq!(recent.get(id(known)), Some(known));
            }
            assert_eq!(recent.get(id(nth + 1)), None);
            assert!(recent.len() <= 2 * KEPT);
        }
    }
}
