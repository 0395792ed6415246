//! Buckets that grow by a factor of 2^(2^-scale), with the finest scale that the range of values
//! allows (OpenTelemetry, metrics data model: exponential histogram). Values are not negative.

use serde::{Deserialize, Serialize};

// The specification's defaults of the base-2 exponential aggregation.
const MAX_BUCKETS: u16 = 160;
const MAX_SCALE: i32 = 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Exponential {
    scale: i32,
    zero: u64,
    offset: i32,
    counts: Vec<u64>,
}

impl Default for Exponential {
    fn default() -> Self {
        // All the memory that it ever needs, so that recording allocates nothing.
        let counts = Vec::with_capacity(MAX_BUCKETS.into());
        Self { scale: MAX_SCALE, zero: 0, offset: 0, counts }
    }
}

impl Exponential {
    pub(super) fn record(&mut self, value: f64) {
        if value > 0.0 {
            self.add(index(value, self.scale), 1);
        } else {
            self.zero += 1;
        }
    }

    /// Adds another.
    pub(super) fn merge(&mut self, more: &Self) {
        self.zero += more.zero;
        if more.scale < self.scale && !more.counts.is_empty() {
            self.coarsen(self.scale - more.scale);
        }
        for (nth, count) in (more.offset..).zip(&more.counts).filter(|(_, count)| **count > 0) {
            // Adding may make it even coarser.
            self.add(nth >> (more.scale - self.scale), *count);
        }
    }

    pub(super) fn clear(&mut self) {
        self.counts.clear();
        (self.scale, self.zero) = (MAX_SCALE, 0);
    }

    /// Scale, zeros, the first bucket's index, and the buckets.
    pub(super) fn parts(&self) -> (i32, u64, i32, Vec<u64>) {
        let offset = if self.counts.is_empty() { 0 } else { self.offset };
        (self.scale, self.zero, offset, self.counts.clone())
    }

    /// A number below `slots` that values of about the same size share.
    pub(super) fn slot(&self, value: f64, slots: usize) -> usize {
        let index = if value > 0.0 { index(value, self.scale) } else { 0 };
        usize::try_from(index.rem_euclid(i32::try_from(slots).unwrap_or(1))).unwrap_or(0)
    }

    fn add(&mut self, mut index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        let last = |of: &Self| of.offset + i32::try_from(of.counts.len()).unwrap_or(0) - 1;
        let (low, high) = (self.offset.min(index), last(self).max(index));
        let too_wide = |by: &i32| (high >> by) - (low >> by) >= i32::from(MAX_BUCKETS);
        let by = (0..32).find(|by| !too_wide(by)).unwrap_or(31);
        if by > 0 {
            self.coarsen(by);
            index >>= by;
        }
        let before = usize::try_from(self.offset - index).unwrap_or(0);
        if before > 0 {
            self.counts.splice(..0, std::iter::repeat_n(0, before));
            self.offset = index;
        }
        let place = usize::try_from(index - self.offset).unwrap_or(0);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += count;
    }

    // Merges each 2^by buckets into one.
    fn coarsen(&mut self, by: i32) {
        self.scale -= by;
        let offset = self.offset >> by;
        for nth in 0..self.counts.len() {
            let index = self.offset + i32::try_from(nth).unwrap_or(0);
            let place = usize::try_from((index >> by) - offset).unwrap_or(0);
            let count = std::mem::take(&mut self.counts[nth]);
            self.counts[place] += count;
        }
        let last = self.offset + i32::try_from(self.counts.len()).unwrap_or(0) - 1;
        if !self.counts.is_empty() {
            self.counts.truncate(usize::try_from((last >> by) - offset).unwrap_or(0) + 1);
        }
        self.offset = offset;
    }
}

// The bucket of a positive value: an upper bound belongs to the bucket below it.
fn index(value: f64, scale: i32) -> i32 {
    let (exponent, fraction) = split(value);
    if scale <= 0 {
        let below = i32::from(fraction <= 1.0);
        return (exponent - below) >> -scale;
    }
    let within = fraction.log2() * f64::from(1_u32 << scale);
    // From 0 to 2^scale, which is at most 2^20.
    #[allow(clippy::cast_possible_truncation)]
    let within = within.ceil() as i32;
    (exponent << scale) + within - 1
}

// A positive value as 2^exponent times a fraction from 1 to 2.
fn split(value: f64) -> (i32, f64) {
    const BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const BIAS: i32 = f64::MAX_EXP - 1;
    if value < f64::MIN_POSITIVE {
        let (exponent, fraction) = split(value * 2_f64.powi(BITS.cast_signed() + 2));
        return (exponent - BITS.cast_signed() - 2, fraction);
    }
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> BITS).unwrap_or(0) - BIAS;
    let fraction = bits & ((1 << BITS) - 1) | (u64::from(BIAS.cast_unsigned()) << BITS);
    (exponent, f64::from_bits(fraction))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Exponential {
        let mut buckets = Exponential::default();
        for value in values {
            buckets.record(*value);
        }
        buckets
    }

    proptest! {
        #[test]
        fn each_value_is_within_its_bucket(values in proptest::collection::vec(1e-9_f64..1e9, 1..50)) {
            let buckets = of(&values);
            prop_assert!(buckets.counts.len() <= usize::from(MAX_BUCKETS));
            prop_assert_eq!(buckets.counts.iter().sum::<u64>(), values.len() as u64);
            // Not a power of the base: its rounding error would grow with the index, which exceeds 10^7.
            let bound = |index: i32| (f64::from(index) * 2_f64.powi(-buckets.scale)).exp2();
            for value in values {
                let index = index(value, buckets.scale);
                let (low, high) = (bound(index), bound(index + 1));
                prop_assert!(value > low * (1.0 - 1e-9) && value <= high * (1.0 + 1e-9));
                let place = usize::try_from(index - buckets.offset).unwrap();
                prop_assert!(buckets.counts[place] > 0);
            }
        }

        #[test]
        fn merging_is_the_same_as_recording_all_values(
            values in proptest::collection::vec(prop_oneof![Just(0.0), 1e-6_f64..1e6], 0..60),
            at in 0usize..60,
        ) {
            let (first, second) = values.split_at(at.min(values.len()));
            let mut merged = of(first);
            merged.merge(&of(second));
            let all = of(&values);
            prop_assert_eq!(merged.counts.iter().sum::<u64>(), all.counts.iter().sum::<u64>());
            prop_assert_eq!(merged.zero, all.zero);
            // A merged one may be coarser than necessary, but never finer.
            prop_assert!(merged.scale <= all.scale);
            let mut all = all;
            all.coarsen(all.scale - merged.scale);
            prop_assert_eq!(merged.parts().3, all.parts().3);
        }
    }

    #[test]
    fn powers_of_two_belong_to_the_bucket_below() {
        for scale in [0, 1, 5, 20] {
            assert_eq!(index(4.0, scale), (2 << scale) - 1);
            assert!(index(4.0 * (1.0 + 1e-5), scale) > index(4.0, scale), "{scale}");
        }
        assert_eq!((index(1.0, 0), index(2.0, 0), index(3.0, 0)), (-1, 0, 1));
        assert_eq!((index(1.0, -2), index(4.0, -2), index(17.0, -2)), (-1, 0, 1));
        assert_eq!(split(f64::from_bits(1)), (-1074, 1.0));
    }
}
