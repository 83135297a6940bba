//! Small stand-ins for texts: a key that equals if two say the same, a sketch that tells whether two
//! are alike.

use sftprep_quality::{Document, Shingler, Word, ngram_hashes};

/// Hashes of a sketch.
const KEPT: usize = 8;
/// Words of an n-gram.
const NGRAM: usize = 2;

/// The smallest hashes of a text's word pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sketch([u32; KEPT]);

impl Default for Sketch {
    fn default() -> Self {
        Self([u32::MAX; KEPT])
    }
}

impl Sketch {
    pub(super) fn of(words: &[Word]) -> Self {
        let mut kept = [u32::MAX; KEPT];
        ngram_hashes(words, NGRAM, |hash| {
            let hash = (hash >> 32) as u32;
            if hash < kept[KEPT - 1] && !kept.contains(&hash) {
                kept[KEPT - 1] = hash;
                kept.sort_unstable();
            }
        });
        Self(kept)
    }

    /// About the share of word pairs that two texts have in common, 0 to 1.
    pub(super) fn likeness(&self, other: &Self) -> f64 {
        let mut union: Vec<u32> = self.0.iter().chain(&other.0).copied().collect();
        union.retain(|hash| *hash != u32::MAX);
        union.sort_unstable();
        union.dedup();
        union.truncate(KEPT);
        let both = union
            .iter()
            .filter(|hash| self.0.contains(hash) && other.0.contains(hash));
        if union.is_empty() {
            return 0.0;
        }
        both.count() as f64 / union.len() as f64
    }
}

/// A key of what a text says, but for case, white space and the shape of quotes; 0 if it says
/// nothing.
pub(super) fn key(text: &str) -> u64 {
    if text.trim().is_empty() {
        return 0;
    }
    let Document { normal, .. } = Shingler::equality(text);
    ((normal >> 64) as u64 ^ normal as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sftprep_quality::words;

    fn sketch(text: &str) -> Sketch {
        let mut out = Vec::new();
        words(text, &mut out);
        Sketch::of(&out)
    }

    #[test]
    fn alike_and_unlike() {
        let text =
            "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm roof";
        let edited = sketch(&text.replace("warm", "red"));
        assert!(sketch(text).likeness(&edited) > 0.5);
        assert!(sketch(text).likeness(&sketch("A completely different answer to it")) < 0.1);
        assert!((sketch(text).likeness(&sketch(text)) - 1.0).abs() < 1e-9);
        assert!(sketch("").likeness(&sketch("")).abs() < 1e-9);
        assert_eq!(key(" A  b"), key("a b"));
        assert_eq!(key(" \n"), 0);
    }
}
