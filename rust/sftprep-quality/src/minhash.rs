//! MinHash with bands: likely similar pairs out of sets that are too many to hold.
//!
//! A document keeps a few band keys instead of its n-grams. Two documents that agree in a band are
//! candidates, nothing more: whoever asks has to verify them by the sets themselves
//! ([`similarity`](crate::similarity)). Bands and rows follow from the threshold so that a pair
//! just at it is missed once in 2,000 cases, and pairs above it far less often.

use crate::words::finish;

/// Hash functions of a signature, at most.
const MAX_HASHES: usize = 128;
/// Share of pairs at the threshold that may be missed.
const MISSED: f64 = 0.0005;
/// Documents of one band bucket that are all paired with each other; of a larger bucket each is
/// paired with so many before it.
const PAIRED: usize = 64;

/// Bands of a threshold.
#[derive(Debug, Clone)]
pub struct MinHash {
    bands: usize,
    rows: usize,
    factors: Vec<(u32, u32)>,
}

impl MinHash {
    /// Bands for pairs of Jaccard similarity `threshold` (above 0, at most 1) or more.
    pub fn new(threshold: f64) -> Self {
        let bands_for = |rows: usize| {
            let agree = threshold.powi(rows as i32).min(1.0 - 1e-12);
            (MISSED.ln() / (1.0 - agree).ln()).ceil().max(1.0) as usize
        };
        let fits = |rows: &usize| rows * bands_for(*rows) <= MAX_HASHES;
        let rows = (1..=16).rev().find(fits).unwrap_or(1);
        let bands = bands_for(rows).min(MAX_HASHES);
        let mut state = 0x5f37_59df_u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            finish(state)
        };
        let factors = (0..bands * rows)
            .map(|_| (next() as u32 | 1, next() as u32))
            .collect();
        Self {
            bands,
            rows,
            factors,
        }
    }

    /// Number of band keys of a document.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// Hash functions per band.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the band keys of a set that is not empty.
    pub fn keys(&self, shingles: &[u64], out: &mut Vec<u64>) {
        let mut least = [u32::MAX; MAX_HASHES];
        let least = &mut least[..self.factors.len()];
        for hash in shingles {
            let x = (hash >> 32) as u32;
            for (low, (factor, offset)) in least.iter_mut().zip(&self.factors) {
                *low = (*low).min(x.wrapping_mul(*factor).wrapping_add(*offset));
            }
        }
        out.extend(
            least
                .chunks_exact(self.rows)
                .enumerate()
                .map(|(band, rows)| {
                    rows.iter().fold(band as u64, |key, low| {
                        finish(key.rotate_left(17) ^ u64::from(*low))
                    })
                }),
        );
    }

    /// Pairs that agree in a band, each once, in sorted order; `keys` holds the band keys of
    /// `names`, one document after the other.
    pub fn candidates(&self, names: &[u32], keys: &[u64]) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        let mut bucket: Vec<(u64, u32)> = Vec::with_capacity(names.len());
        for band in 0..self.bands {
            bucket.clear();
            let of_band = keys.iter().skip(band).step_by(self.bands);
            bucket.extend(of_band.copied().zip(names.iter().copied()));
            bucket.sort_unstable();
            for same in bucket.chunk_by(|a, b| a.0 == b.0) {
                for (at, (_, name)) in same.iter().enumerate() {
                    let before = &same[at.saturating_sub(PAIRED)..at];
                    pairs.extend(before.iter().map(|(_, other)| (*other, *name)));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_follow_from_the_threshold() {
        for threshold in [0.3, 0.5, 0.7, 0.8, 0.9, 1.0] {
            let bands = MinHash::new(threshold);
            let agree = threshold.powi(bands.rows() as i32);
            let missed = (1.0 - agree).powi(bands.bands() as i32);
            assert!(missed <= MISSED + 1e-9, "{threshold}: {missed}");
            assert!(bands.bands() * bands.rows() <= MAX_HASHES);
        }
        assert_eq!(MinHash::new(0.7).rows(), 4);
    }

    #[test]
    fn equal_sets_are_candidates_once() {
        let bands = MinHash::new(0.8);
        let mut keys = Vec::new();
        for set in [
            [1_u64 << 40, 2 << 40],
            [1 << 40, 2 << 40],
            [7 << 50, 9 << 50],
        ] {
            bands.keys(&set, &mut keys);
        }
        assert_eq!(bands.candidates(&[3, 5, 8], &keys), [(3, 5)]);
    }
}
