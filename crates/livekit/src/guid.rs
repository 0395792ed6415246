//! Ids as LiveKit's guid package makes them: a prefix and 12 letters or digits.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 12;

/// A new id. It differs from all others, of this process and of others, but may be guessed: it is
/// made of two hashes whose keys are random for each process.
pub fn new(prefix: &str) -> String {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    let nth = NEXT.fetch_add(1, Relaxed);
    from_bits(prefix, u128::from(keys[0].hash_one(nth)) << 64 | u128::from(keys[1].hash_one(nth)))
}

/// The id that `bits` determine.
pub fn from_bits(prefix: &str, mut bits: u128) -> String {
    let mut id = String::with_capacity(prefix.len() + LENGTH);
    id.push_str(prefix);
    for _ in 0..LENGTH {
        // Below 57 in any case.
        let letter = usize::try_from(bits % ALPHABET.len() as u128).unwrap_or_default();
        id.push(char::from(ALPHABET[letter]));
        bits /= ALPHABET.len() as u128;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_prefix_and_12_letters_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| new("AE_")).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let letters = id.strip_prefix("AE_").unwrap();
            assert_eq!(letters.len(), 12);
            assert!(letters.bytes().all(|letter| ALPHABET.contains(&letter)));
        }
    }
}
