//! The exact Jaccard join: an index that finds every similar document, and misses none.
//!
//! Two sets of Jaccard similarity `t` or more share one of their rarest elements: of `n` elements
//! ordered by how many documents have them, the first `n - ceil(t n) + 1` (prefix filter; Bayardo,
//! Ma and Srikant, "Scaling up all pairs similarity search", 2007). Only those are indexed. An
//! element of one document alone is ordered first and never stored, which leaves most documents of
//! ordinary text with a handful of entries.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::document::{overlap, ratio};

/// Hash tables whose keys are hashes already.
pub(crate) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;
/// Sets of hashes.
pub(crate) type HashedSet = HashSet<u64, BuildHasherDefault<Identity>>;

/// Passes a hash through.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(8) ^ u64::from(*byte)).wrapping_mul(31);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// In how many documents n-grams occur, about: never less than the truth.
///
/// One byte per slot; two n-grams in one slot are counted together. As an order of elements any
/// numbers will do, and 1 is exact, so that the join stays exact.
#[derive(Debug)]
pub struct Frequencies {
    slots: Vec<u8>,
    mask: usize,
}

impl Frequencies {
    /// Counts for about so many n-grams.
    pub fn with_capacity(shingles: usize) -> Self {
        let size = shingles.next_power_of_two().clamp(1 << 12, 1 << 28);
        Self {
            slots: vec![0; size],
            mask: size - 1,
        }
    }

    /// Counts a document.
    pub fn add(&mut self, shingles: &[u64]) {
        for hash in shingles {
            let slot = &mut self.slots[*hash as usize & self.mask];
            *slot = slot.saturating_add(1);
        }
    }

    /// Documents that have the n-gram, at most; 255 stands for all above.
    pub fn at_most(&self, hash: u64) -> u8 {
        self.slots[hash as usize & self.mask]
    }
}

/// N-grams of so many documents that they say nothing of one: phrases and templates.
#[derive(Debug, Default)]
pub struct CommonNgrams {
    hashes: HashedSet,
    least: u8,
}

impl CommonNgrams {
    /// Those of more than `documents` of these sets, counted exactly; 0 stands for none at all.
    pub fn of<'s>(
        sets: impl Iterator<Item = &'s [u64]>,
        frequencies: &Frequencies,
        documents: u32,
    ) -> Self {
        let mut counts: HashedMap<u32> = HashedMap::default();
        let least = u8::try_from(documents.saturating_add(1)).unwrap_or(u8::MAX);
        if documents > 0 {
            for hash in sets.flatten().copied() {
                if frequencies.at_most(hash) >= least {
                    *counts.entry(hash).or_default() += 1;
                }
            }
        }
        counts.retain(|_, count| *count > documents);
        let hashes = counts.into_keys().collect();
        Self { hashes, least }
    }

    /// Number of common n-grams.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether none is common.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    fn contains(&self, hash: u64, at_most: u8) -> bool {
        at_most >= self.least && !self.is_empty() && self.hashes.contains(&hash)
    }

    /// Whether two sets are alike by more than common n-grams: these are less than half of what
    /// the sets share, or the sets are similar without them too.
    pub fn allow(&self, a: &[u64], b: &[u64], threshold: f64) -> bool {
        if self.is_empty() {
            return true;
        }
        let own = |set: &[u64]| -> Vec<u64> {
            let rare = |hash: &&u64| !self.hashes.contains(*hash);
            set.iter().filter(rare).copied().collect()
        };
        let (own_a, own_b) = (own(a), own(b));
        let shared = overlap(a, b, 0).unwrap_or(0);
        let own_shared = overlap(&own_a, &own_b, 0).unwrap_or(0);
        own_shared * 2 > shared || similarity(&own_a, &own_b, threshold).is_some_and(|s| s > 0.0)
    }
}

/// No further entry.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry {
    document: u32,
    next: u32,
}

/// Documents that can be asked for those similar to another one.
#[derive(Debug)]
pub struct SimilarityIndex<'f> {
    threshold: f64,
    frequencies: &'f Frequencies,
    common: &'f CommonNgrams,
    heads: HashedMap<u32>,
    entries: Vec<Entry>,
    sets: Vec<&'f [u64]>,
    names: Vec<u32>,
    /// Last probe that met the document, so that each is compared once.
    met: Vec<u32>,
    probes: u32,
    prefix: Vec<(u8, u64)>,
}

impl<'f> SimilarityIndex<'f> {
    /// An empty index for pairs of Jaccard similarity `threshold` (above 0, at most 1) or more.
    /// Every document given to it must have been counted in `frequencies`.
    ///
    /// A pair whose shared n-grams are common ones for the most part has to reach the threshold
    /// without them too ([`CommonNgrams`]).
    pub fn new(threshold: f64, frequencies: &'f Frequencies, common: &'f CommonNgrams) -> Self {
        Self {
            threshold,
            frequencies,
            common,
            heads: HashedMap::default(),
            entries: Vec::new(),
            sets: Vec::new(),
            names: Vec::new(),
            met: Vec::new(),
            probes: 0,
            prefix: Vec::new(),
        }
    }

    /// Calls `found` with the name and the similarity of every similar document in the index.
    pub fn probe(&mut self, shingles: &[u64], mut found: impl FnMut(u32, f64)) {
        self.take_prefix(shingles);
        self.probes += 1;
        let (few, many) = sizes(shingles.len(), self.threshold);
        for (_, hash) in &self.prefix {
            let mut at = self.heads.get(hash).copied().unwrap_or(NONE);
            while at != NONE {
                let Entry { document, next } = self.entries[at as usize];
                at = next;
                let index = document as usize;
                let other = self.sets[index];
                if self.met[index] == self.probes || other.len() < few || other.len() > many {
                    continue;
                }
                self.met[index] = self.probes;
                if let Some(score) = similarity(shingles, other, self.threshold)
                    && self.common.allow(shingles, other, self.threshold)
                {
                    found(self.names[index], score);
                }
            }
        }
    }

    /// Adds a document. Ask before you add: this takes the rarest n-grams of the last probe.
    pub fn insert(&mut self, name: u32, shingles: &'f [u64]) {
        self.take_prefix(shingles);
        let document = self.sets.len() as u32;
        self.sets.push(shingles);
        self.names.push(name);
        self.met.push(0);
        for (_, hash) in &self.prefix {
            let head = self.heads.entry(*hash).or_insert(NONE);
            let next = std::mem::replace(head, self.entries.len() as u32);
            self.entries.push(Entry { document, next });
        }
    }

    /// The rarest elements, without those that no other document has, and without common ones:
    /// these come last, so documents that meet in them alone share nothing else.
    fn take_prefix(&mut self, shingles: &[u64]) {
        let count = shingles.len();
        let length = count - least(self.threshold * count as f64).min(count) + 1;
        self.prefix.clear();
        let (frequencies, common) = (self.frequencies, self.common);
        let counted = |hash: &u64| match frequencies.at_most(*hash) {
            many if common.contains(*hash, many) => (u8::MAX, *hash),
            some => (some.min(u8::MAX - 1), *hash),
        };
        self.prefix.extend(shingles.iter().map(counted));
        if length < count {
            self.prefix.select_nth_unstable(length - 1);
            self.prefix.truncate(length);
        }
        self.prefix
            .retain(|(documents, _)| (2..u8::MAX).contains(documents));
    }
}

/// The least whole number not below `x`, forgiving the rounding of a product.
fn least(x: f64) -> usize {
    (x - 1e-9).ceil().max(0.0) as usize
}

/// Sizes between which another set can be similar.
fn sizes(size: usize, threshold: f64) -> (usize, usize) {
    let few = least(threshold * size as f64);
    let many = (size as f64 / threshold + 1e-9).floor();
    (few, many as usize)
}

/// Jaccard similarity of two sorted sets if it is `threshold` or more.
pub fn similarity(a: &[u64], b: &[u64], threshold: f64) -> Option<f64> {
    let sum = a.len() + b.len();
    let need = least(threshold / (1.0 + threshold) * sum as f64);
    let common = overlap(a, b, need)?;
    let score = ratio(common, sum - common);
    (score >= threshold - 1e-12).then_some(score)
}

/// Every pair of sets of Jaccard similarity `threshold` or more, as `(smaller index, larger
/// index, similarity)` in sorted order. Empty sets are similar to nothing.
pub fn similar_pairs(sets: &[Vec<u64>], threshold: f64) -> Vec<(u32, u32, f64)> {
    let mut frequencies = Frequencies::with_capacity(sets.iter().map(Vec::len).sum());
    for set in sets {
        frequencies.add(set);
    }
    let none = CommonNgrams::default();
    let mut index = SimilarityIndex::new(threshold, &frequencies, &none);
    let mut pairs = Vec::new();
    for (name, set) in sets.iter().enumerate() {
        if set.is_empty() {
            continue;
        }
        let name = name as u32;
        index.probe(set, |other, score| pairs.push((other, name, score)));
        index.insert(name, set);
    }
    pairs.sort_unstable_by_key(|pair| (pair.0, pair.1));
    pairs
}
