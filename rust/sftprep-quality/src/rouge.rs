//! Novelty by ROUGE-L: a text stays unless it has too long a subsequence of words in common with one
//! that stayed before it. Exact, with the definitions of the `rouge_score` package.
//!
//! A word is a run of `a-z0-9` in lower case; everything else separates words. The longest common
//! subsequence is found 64 words at a time (Hyyrö's bit-parallel form of the dynamic programme), and
//! only for texts that share enough words at all: of two texts that are alike by more than the
//! threshold, at least one of the rarest words of each is among those of the other.

use std::collections::HashMap;

use crate::dedup::{Fate, Likeness};
use crate::words::finish;

/// Puts the hashes of the words that ROUGE counts into `out`, which is emptied first.
pub fn rouge_words(text: &str, out: &mut Vec<u64>) {
    out.clear();
    let mut hash = None;
    let mut see = |c: char| {
        if c.is_ascii_alphanumeric() {
            let before = hash.unwrap_or(SEED);
            hash = Some((before ^ u64::from(c as u8)).wrapping_mul(STEP));
        } else if let Some(done) = hash.take() {
            out.push(finish(done));
        }
    };
    for c in text.chars() {
        if c.is_ascii() {
            see(c.to_ascii_lowercase());
        } else {
            // some letters beyond ASCII have a lower case within it, such as the Kelvin sign
            c.to_lowercase().for_each(&mut see);
        }
    }
    see(' ');
}

const SEED: u64 = 0x51_7c_c1_b7_27_22_0a_95;
const STEP: u64 = 0x2127_599b_f432_5c37;

/// F1 of ROUGE-L for two texts of `one` and `other` words with a longest common subsequence of
/// `common`; in the order of operations of `rouge_score`, because thresholds are often met exactly.
fn f1(common: u32, one: usize, other: usize) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let precision = f64::from(common) / other as f64;
    let recall = f64::from(common) / one as f64;
    2.0 * precision * recall / (precision + recall)
}

/// ROUGE-L F1 of two texts, 0 to 1; 0 if one of them has no word.
pub fn rouge_l(one: &str, other: &str) -> f64 {
    let mut novelty = Novelty::default();
    let mut hashes = Vec::new();
    for text in [one, other] {
        rouge_words(text, &mut hashes);
        novelty.push(&hashes);
    }
    let (one, other) = (&novelty.texts[0], &novelty.texts[1]);
    let mut lcs = Lcs::new(novelty.names.len());
    lcs.prepare(one);
    f1(lcs.with(other), one.len(), other.len())
}

/// Texts, in the order in which they are taken.
#[derive(Debug, Default)]
pub struct Novelty {
    names: HashMap<u64, u32>,
    /// How often each word occurs.
    counts: Vec<u32>,
    texts: Vec<Box<[u32]>>,
}

impl Novelty {
    /// Adds a text, given by its [`rouge_words`].
    pub fn push(&mut self, words: &[u64]) {
        let mut name = |hash: &u64| {
            let next = self.counts.len() as u32;
            let name = *self.names.entry(*hash).or_insert(next);
            if name == next {
                self.counts.push(0);
            }
            self.counts[name as usize] += 1;
            name
        };
        let text = words.iter().map(&mut name).collect();
        self.texts.push(text);
    }

    /// Keeps a text iff the F1 of ROUGE-L with every text kept before it is at most `threshold`; of
    /// a text that goes, the partner is the kept one that is most alike, of equally alike ones the
    /// first.
    ///
    /// `check` is called now and then; its error ends the work.
    ///
    /// # Errors
    /// That of `check`.
    pub fn decide<E>(
        &self,
        threshold: f64,
        check: &dyn Fn() -> Result<(), E>,
    ) -> Result<Vec<Fate>, E> {
        let mut index = Index::new(&self.counts, threshold);
        let mut lcs = Lcs::new(self.counts.len());
        let mut fates = Vec::with_capacity(self.texts.len());
        let mut met = Met::new(self.texts.len());
        for (at, text) in self.texts.iter().enumerate() {
            if at % 256 == 0 {
                check()?;
            }
            let own = index.rare(text);
            index.meet(&own, text.len(), &mut met);
            let mut best: Option<(u32, f64)> = None;
            if !met.found.is_empty() {
                lcs.prepare(text);
                met.found.sort_unstable();
            }
            for &other in &met.found {
                let words = &self.texts[other as usize];
                let score = f1(lcs.with(words), text.len(), words.len());
                if score > threshold && best.is_none_or(|(_, known)| score > known) {
                    best = Some((other, score));
                }
            }
            let Some((partner, score)) = best else {
                index.insert(at as u32, &own, text.len());
                fates.push(Fate::Kept);
                continue;
            };
            fates.push(Fate::Dropped {
                partner,
                likeness: Likeness::Sequence,
                score,
            });
        }
        Ok(fates)
    }
}

/// Texts met for one text, each once.
struct Met {
    found: Vec<u32>,
    /// By text: the number of the search that met it last.
    seen: Vec<u32>,
    search: u32,
}

impl Met {
    fn new(texts: usize) -> Self {
        Self {
            found: Vec::new(),
            seen: vec![0; texts],
            search: 0,
        }
    }
}

/// Kept texts by their rarest words.
struct Index<'c> {
    counts: &'c [u32],
    threshold: f64,
    /// By word: the kept texts that have it among their rarest, with their lengths.
    holders: Vec<Vec<(u32, u32)>>,
}

impl<'c> Index<'c> {
    fn new(counts: &'c [u32], threshold: f64) -> Self {
        Self {
            counts,
            threshold,
            holders: vec![Vec::new(); counts.len()],
        }
    }

    /// The words that a text of which more than `threshold` is shared has at least one of.
    ///
    /// Two texts of `m` and `n` words that are alike by `t` share `t (m + n) / 2` words (as bags),
    /// and `n` is at least `m t / (2 - t)`: so more than `m t / (2 - t)` of the `m`. Sorted by rarity,
    /// the first words of both bags up to what may be missing have one in common. A word that occurs
    /// twice stands there twice, which only makes the list longer than it has to be.
    fn rare(&self, text: &[u32]) -> Vec<u32> {
        let mut words = text.to_vec();
        words.sort_unstable_by_key(|word| (self.counts[*word as usize], *word));
        let length = text.len() as f64;
        // a little below, so that rounding cannot lose a pair
        let shared = length * self.threshold / (2.0 - self.threshold) - 1e-9 * length;
        let least = (shared.floor().max(0.0) as usize).max(1);
        words.truncate((text.len() + 1).saturating_sub(least));
        words.dedup();
        words
    }

    /// Kept texts that share a rare word and are neither too short nor too long.
    fn meet(&self, rare: &[u32], length: usize, met: &mut Met) {
        met.found.clear();
        met.search += 1;
        for word in rare {
            for &(other, others) in &self.holders[*word as usize] {
                let both = others.min(length as u32);
                let seen = &mut met.seen[other as usize];
                if *seen != met.search && f1(both, length, others as usize) > self.threshold {
                    *seen = met.search;
                    met.found.push(other);
                }
            }
        }
    }

    fn insert(&mut self, text: u32, rare: &[u32], length: usize) {
        for word in rare {
            self.holders[*word as usize].push((text, length as u32));
        }
    }
}

/// Longest common subsequences of one text with many.
struct Lcs {
    /// By word: where its mask begins, in the text that was prepared last; `NONE` elsewhere.
    places: Vec<u32>,
    used: Vec<u32>,
    /// Masks of the places of each word, `blocks` each.
    masks: Vec<u64>,
    rest: Vec<u64>,
    blocks: usize,
    length: usize,
}

const NONE: u32 = u32::MAX;

impl Lcs {
    fn new(words: usize) -> Self {
        Self {
            places: vec![NONE; words],
            used: Vec::new(),
            masks: Vec::new(),
            rest: Vec::new(),
            blocks: 0,
            length: 0,
        }
    }

    fn prepare(&mut self, text: &[u32]) {
        for word in self.used.drain(..) {
            self.places[word as usize] = NONE;
        }
        self.masks.clear();
        self.length = text.len();
        self.blocks = text.len().div_ceil(64);
        for (at, word) in text.iter().enumerate() {
            let place = &mut self.places[*word as usize];
            if *place == NONE {
                *place = self.masks.len() as u32;
                self.masks.resize(self.masks.len() + self.blocks, 0);
                self.used.push(*word);
            }
            self.masks[*place as usize + at / 64] |= 1 << (at % 64);
        }
    }

    /// Its length with a text: the zeros that are left of a row of ones.
    fn with(&mut self, text: &[u32]) -> u32 {
        self.rest.clear();
        self.rest.resize(self.blocks, u64::MAX);
        for word in text {
            let place = self.places[*word as usize];
            if place == NONE {
                continue;
            }
            let masks = &self.masks[place as usize..][..self.blocks];
            let mut carry = false;
            for (rest, mask) in self.rest.iter_mut().zip(masks) {
                let hit = *rest & mask;
                let (sum, over) = rest.overflowing_add(hit);
                let (sum, again) = sum.overflowing_add(u64::from(carry));
                carry = over || again;
                *rest = sum | (*rest & !mask);
            }
        }
        let ones: u32 = self.rest.iter().map(|rest| rest.count_ones()).sum();
        // the bits behind the last word are ones, or were carried into and count as before
        let beyond = self.blocks * 64 - self.length;
        let Some(last) = self.rest.last() else {
            return 0;
        };
        let behind = match self.length % 64 {
            0 => 0,
            bits => (last >> bits).count_ones(),
        };
        debug_assert!(behind as usize <= beyond);
        self.length as u32 - (ones - behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumb(one: &[u32], other: &[u32]) -> u32 {
        let mut row = vec![0; other.len() + 1];
        for a in one {
            let mut corner = 0;
            for (at, b) in other.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if a == b {
                    corner + 1
                } else {
                    above.max(row[at])
                };
                corner = above;
            }
        }
        row[other.len()]
    }

    #[test]
    fn subsequences_are_those_of_the_table() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = finish(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            state % below
        };
        let mut lcs = Lcs::new(6);
        for _ in 0..3000 {
            let words = 1 + draw(6);
            let lengths = [draw(150), draw(150)];
            let [one, other] =
                lengths.map(|length| (0..length).map(|_| draw(words) as u32).collect::<Vec<_>>());
            lcs.prepare(&one);
            assert_eq!(lcs.with(&other), dumb(&one, &other), "{one:?} {other:?}");
        }
        let long: Vec<u32> = (0..64).chain(0..64).map(|it| it % 5).collect();
        lcs.prepare(&long);
        assert_eq!(lcs.with(&long), 128);
        lcs.prepare(&[]);
        assert_eq!(lcs.with(&long), 0);
    }

    #[test]
    fn words_are_those_of_ascii_in_lower_case() {
        let hashes = |text: &str| {
            let mut out = Vec::new();
            rouge_words(text, &mut out);
            out
        };
        assert_eq!(hashes("It's 2 MUCH_of café"), hashes("it s 2 much of caf"));
        assert_eq!(hashes("\u{212a}ELVIN"), hashes("kelvin"));
        assert!(hashes("我爱你 … é").is_empty());
        assert!((rouge_l("the cat sat", "The cat ran") - 2.0 / 3.0).abs() < 1e-12);
        assert!(rouge_l("", "a").abs() < 1e-12);
    }

    #[test]
    fn the_index_loses_nothing() {
        let mut state = 3_u64;
        let mut draw = |below: u64| {
            state = finish(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            state % below
        };
        for threshold in [0.1, 0.5, 0.7, 0.9, 1.0] {
            let mut novelty = Novelty::default();
            for _ in 0..400 {
                // words of very different frequency, texts that are near one another
                let start = draw(12) * 40;
                let length = draw(14);
                let words: Vec<u64> = (0..length)
                    .map(|at| if draw(5) == 0 { draw(9) } else { start + at })
                    .collect();
                novelty.push(&words);
            }
            let fates = novelty.decide::<()>(threshold, &|| Ok(())).unwrap();
            let mut kept: Vec<usize> = Vec::new();
            for (at, text) in novelty.texts.iter().enumerate() {
                let mut best: Option<(usize, f64)> = None;
                for &other in &kept {
                    let words = &novelty.texts[other];
                    let score = f1(dumb(text, words), text.len(), words.len());
                    if score > threshold && best.is_none_or(|(_, known)| score > known) {
                        best = Some((other, score));
                    }
                }
                let expected = match best {
                    None => Fate::Kept,
                    Some((partner, score)) => Fate::Dropped {
                        partner: partner as u32,
                        likeness: Likeness::Sequence,
                        score,
                    },
                };
                assert_eq!(fates[at], expected, "text {at} at {threshold}");
                if best.is_none() {
                    kept.push(at);
                }
            }
        }
    }
}
