//! Pseudo-random numbers from a seed.

use std::time::Duration;

use livekit_otel_livekit::guid;

/// splitmix64, which is good enough for a load and the same on every platform.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// Different parts produce different numbers, even if they are close.
    pub(super) fn of(parts: &[u64]) -> Self {
        let mut mixed = Self(0);
        for part in parts {
            mixed.0 ^= part;
            mixed.0 = mixed.next();
        }
        mixed
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1, exclusive.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, of: f64) -> bool {
        self.unit() < of
    }

    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.unit())
    }

    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        self.between(Duration::ZERO, most)
    }

    /// One of `all`, which is not empty.
    pub(super) fn of_these<T: Copy>(&mut self, all: &[T]) -> T {
        let nth = usize::try_from(self.next() % all.len() as u64).unwrap_or_default();
        all[nth]
    }

    /// An id like LiveKit's, with its prefix.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        guid::from_bits(prefix, u128::from(self.next()) << 64 | u128::from(self.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_seeds_produce_different_numbers_and_equal_seeds_equal_ones() {
        let first = |parts: &[u64]| Random::of(parts).next();
        let seeds = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]];
        let numbers: std::collections::HashSet<u64> = seeds.iter().map(|of| first(of)).collect();
        assert_eq!(numbers.len(), seeds.len());
        assert_eq!(first(&[7, 9]), first(&[7, 9]));
    }

    #[test]
    fn numbers_stay_in_their_range_and_fill_it() {
        let mut random = Random::of(&[1]);
        let (from, to) = (Duration::from_secs(2), Duration::from_secs(4));
        let drawn: Vec<Duration> = (0..1000).map(|_| random.between(from, to)).collect();
        assert!(drawn.iter().all(|each| (from..to).contains(each)));
        assert!(drawn.iter().any(|each| *each < from.mul_f64(1.1)));
        assert!(drawn.iter().any(|each| *each > to.mul_f64(0.9)));
        let hits = (0..10_000).filter(|_| random.chance(0.2)).count();
        assert!((1800..2200).contains(&hits), "{hits}");
    }
}
