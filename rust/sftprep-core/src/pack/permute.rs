//! A keyed permutation of `0..n` in constant memory: who goes where, without a shuffled list.
//!
//! A Feistel network over the smallest power of two that holds `n`, walked until the value falls
//! below `n` (fewer than two steps on average). It is part of the format: the same key gives the
//! same permutation on every machine, so its constants never change within a format version.

/// Rounds of the network. Eight are plenty for mixing; nothing here resists an adversary.
const ROUNDS: u32 = 8;

/// A permutation of `0..n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permutation {
    n: u32,
    key: u64,
    low_bits: u32,
    low_mask: u32,
    high_mask: u32,
}

impl Permutation {
    /// The permutation of `0..n` that belongs to `key`.
    pub(super) fn new(n: u32, key: u64) -> Self {
        let bits = (32 - n.saturating_sub(1).leading_zeros()).max(2);
        let low_bits = bits / 2;
        Self {
            n,
            key,
            low_bits,
            low_mask: (1 << low_bits) - 1,
            high_mask: ((1u64 << (bits - low_bits)) - 1) as u32,
        }
    }

    /// Where `index` goes; `index` itself if it is not below `n`.
    pub(super) fn apply(&self, index: u32) -> u32 {
        if index >= self.n || self.n < 2 {
            return index;
        }
        let mut value = index;
        loop {
            value = self.step(value);
            if value < self.n {
                return value;
            }
        }
    }

    fn step(&self, value: u32) -> u32 {
        let mut low = value & self.low_mask;
        let mut high = value >> self.low_bits;
        for round in 0..ROUNDS / 2 {
            low ^= self.round(high, 2 * round) & self.low_mask;
            high ^= self.round(low, 2 * round + 1) & self.high_mask;
        }
        high << self.low_bits | low
    }

    fn round(&self, half: u32, round: u32) -> u32 {
        let word = self.key ^ (u64::from(half) << 8 | u64::from(round));
        (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u32
    }
}

/// Key of one use of a seed; `domain` tells the uses apart.
pub(super) fn derive_key(seed: u64, domain: u64) -> u64 {
    // The finalizer of SplitMix64, a bijection that mixes every bit into every other.
    let mut word = seed.wrapping_add(domain.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_permutation_at_every_size() {
        for n in (0..200).chain([255, 256, 257, 1000, 4095, 4097, 65_537]) {
            for seed in 0..3 {
                let permutation = Permutation::new(n, derive_key(seed, 7));
                let mut seen: Vec<u32> = (0..n).map(|index| permutation.apply(index)).collect();
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..n), "n={n} seed={seed}");
            }
        }
    }

    /// Computed from the words of FORMAT.md by another implementation.
    #[test]
    fn it_is_the_one_that_the_format_describes() {
        let permutation = Permutation::new(9, derive_key(0, 1 << 32));
        let all: Vec<u32> = (0..9).map(|index| permutation.apply(index)).collect();
        assert_eq!(all, [7, 4, 8, 5, 1, 3, 2, 0, 6]);
    }

    #[test]
    fn the_largest_domain_stays_in_range() {
        let permutation = Permutation::new(u32::MAX, derive_key(1, 2));
        let mut last = u32::MAX;
        for index in [0, 1, u32::MAX - 1] {
            let value = permutation.apply(index);
            assert!(value < u32::MAX && value != last);
            last = value;
        }
    }

    #[test]
    fn keys_and_positions_are_mixed() {
        let n = 10_000;
        let one = Permutation::new(n, derive_key(0, 1));
        let two = Permutation::new(n, derive_key(0, 2));
        let same = (0..n).filter(|i| one.apply(*i) == two.apply(*i)).count();
        assert!(same < 20, "{same} fixed between two keys");
        // Neighbours end up apart: the mean distance of a random permutation is n / 3.
        let distance: u64 = (1..n)
            .map(|i| u64::from(one.apply(i).abs_diff(one.apply(i - 1))))
            .sum();
        let mean = distance / u64::from(n - 1);
        assert!((3000..3700).contains(&mean), "mean distance {mean}");
    }
}
