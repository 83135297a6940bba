//! Which documents go because another one stays, and which one that is.
//!
//! Documents are taken in an order of preference ([`Keep`]). One that is similar to a document
//! kept before it is dropped with the most similar of those as its partner; all others are kept. So
//! a partner is always a kept document, a score always compares with it (never by a chain of
//! likenesses), and no two kept documents are similar. The order depends on contents alone under
//! [`Keep::Longest`]: shuffled input gives the same kept contents. A text of nothing but white space
//! is a duplicate of nothing.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::document::Document;
use crate::join::{CommonNgrams, Frequencies, HashedMap, SimilarityIndex, similarity};
use crate::minhash::MinHash;

/// Which of several duplicates is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The longest; of equal length the one whose content hash is smallest, whatever the order.
    #[default]
    Longest,
    /// The first.
    First,
}

/// What counts as a duplicate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DedupRules {
    /// Least Jaccard similarity of near-duplicates, 0.1 to 1; `None`: no near-duplicates.
    pub near: Option<f64>,
    /// Which one is kept.
    pub keep: Keep,
    /// N-grams of more than so many distinct documents are common; 0: none is.
    pub common: u32,
}

impl Default for DedupRules {
    fn default() -> Self {
        Self {
            near: Some(0.8),
            keep: Keep::Longest,
            common: 50,
        }
    }
}

/// How a dropped document is like its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The same bytes.
    Identical,
    /// The same but for letter case, white space and the shape of quotes.
    Normalised,
    /// Similar by the sets of word n-grams.
    Near,
    /// Similar by the longest common subsequence of words.
    Sequence,
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It goes because `partner`, which stays, is like it.
    Dropped {
        /// Index of the kept document.
        partner: u32,
        /// How alike they are.
        likeness: Likeness,
        /// Jaccard similarity of the two, or F1 of ROUGE-L; 1 if they are equal.
        score: f64,
    },
}

/// Decides on documents whose n-grams are all in memory; exact.
pub fn dedup(documents: &[Document], rules: &DedupRules) -> Vec<Fate> {
    let heads: Vec<Head> = documents.iter().map(Head::of).collect();
    let distinct = Distinct::of(&heads, rules.keep);
    let Some(threshold) = rules.near else {
        return distinct.fates(&HashMap::new());
    };
    let sets = || {
        let set = |name: &u32| documents[*name as usize].shingles.as_slice();
        distinct.order.iter().map(set)
    };
    let mut frequencies = Frequencies::with_capacity(sets().map(<[u64]>::len).sum());
    for set in sets() {
        frequencies.add(set);
    }
    let common = CommonNgrams::of(sets(), &frequencies, rules.common);
    let mut index = SimilarityIndex::new(threshold, &frequencies, &common);
    let mut near = HashMap::new();
    for (rank, set) in sets().enumerate() {
        let mut best = Best::default();
        index.probe(set, |other, score| best.meet(other, score));
        match best.found {
            Some((partner, score)) => {
                near.insert(
                    distinct.order[rank],
                    (distinct.order[partner as usize], score),
                );
            }
            None => index.insert(rank as u32, set),
        }
    }
    distinct.fates(&near)
}

/// The most similar kept document; of equally similar ones the most preferred.
#[derive(Default)]
struct Best {
    found: Option<(u32, f64)>,
}

impl Best {
    fn meet(&mut self, rank: u32, score: f64) {
        let better = self.found.is_none_or(|(known, best)| {
            score > best || (score.total_cmp(&best).is_eq() && rank < known)
        });
        if better {
            self.found = Some((rank, score));
        }
    }
}

/// What equality needs of a document.
#[derive(Debug, Clone, Copy)]
struct Head {
    content: u128,
    normal: u128,
    bytes: u64,
}

impl Head {
    fn of(document: &Document) -> Self {
        Self {
            content: document.content,
            normal: document.normal,
            bytes: document.bytes,
        }
    }
}

/// Documents without those that equal another one.
struct Distinct {
    /// The first of each kind, by preference.
    order: Vec<u32>,
    /// Per document the one of `order` it equals (itself, if it is one), and how.
    same: Vec<(u32, Likeness)>,
}

impl Distinct {
    fn of(heads: &[Head], keep: Keep) -> Self {
        let mut by_preference: Vec<u32> = (0..heads.len() as u32).collect();
        if keep == Keep::Longest {
            by_preference.sort_by_key(|&name| {
                let head = &heads[name as usize];
                (u64::MAX - head.bytes, head.content, name)
            });
        }
        let nothing = xxh3_128(b"");
        let mut firsts: HashMap<u128, u32> = HashMap::with_capacity(heads.len());
        let mut order = Vec::new();
        let mut same = vec![(0, Likeness::Identical); heads.len()];
        for name in by_preference {
            let head = &heads[name as usize];
            // nothing to compare is no likeness
            let first = if head.normal == nothing {
                name
            } else {
                *firsts.entry(head.normal).or_insert(name)
            };
            let likeness = if heads[first as usize].content == head.content {
                Likeness::Identical
            } else {
                Likeness::Normalised
            };
            if first == name {
                order.push(name);
            }
            same[name as usize] = (first, likeness);
        }
        Self { order, same }
    }

    /// Fates of all documents, given the near-duplicates among the distinct ones.
    fn fates(&self, near: &HashMap<u32, (u32, f64)>) -> Vec<Fate> {
        let fate = |(name, &(first, likeness)): (usize, &(u32, Likeness))| {
            if let Some(&(partner, score)) = near.get(&first) {
                let likeness = Likeness::Near;
                return Fate::Dropped {
                    partner,
                    likeness,
                    score,
                };
            }
            if first == name as u32 {
                return Fate::Kept;
            }
            Fate::Dropped {
                partner: first,
                likeness,
                score: 1.0,
            }
        };
        self.same.iter().enumerate().map(fate).collect()
    }
}

/// Documents of which only signatures are in memory: some 200 bytes each, whatever their length.
///
/// Two passes: [`push`](Self::push) every document, then give the n-grams of those that
/// [`candidates`](Self::candidates) names, a second time, to [`finish`](Self::finish), which
/// verifies them exactly. Recall is that of [`MinHash`]; nothing is dropped without proof.
#[derive(Debug)]
pub struct SketchedDedup {
    rules: DedupRules,
    bands: MinHash,
    heads: Vec<Head>,
    names: Vec<u32>,
    keys: Vec<u64>,
}

/// Pairs that need a look at their n-grams.
#[derive(Debug, Default)]
pub struct Candidates {
    pairs: Vec<(u32, u32)>,
    /// Documents in them, sorted.
    pub documents: Vec<u32>,
}

impl SketchedDedup {
    /// No document yet.
    pub fn new(rules: DedupRules) -> Self {
        Self {
            rules,
            bands: MinHash::new(rules.near.unwrap_or(1.0)),
            heads: Vec::new(),
            names: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Adds a document; its index is the number of those before it.
    pub fn push(&mut self, document: &Document) {
        if self.rules.near.is_some() && !document.shingles.is_empty() {
            self.names.push(self.heads.len() as u32);
            self.bands.keys(&document.shingles, &mut self.keys);
        }
        self.heads.push(Head::of(document));
    }

    /// The documents whose n-grams are wanted.
    pub fn candidates(&self) -> Candidates {
        let distinct = Distinct::of(&self.heads, self.rules.keep);
        let (mut names, mut keys) = (Vec::new(), Vec::new());
        let bands = self.bands.bands();
        for (at, &name) in self.names.iter().enumerate() {
            if distinct.same[name as usize].0 == name {
                names.push(name);
                keys.extend_from_slice(&self.keys[at * bands..(at + 1) * bands]);
            }
        }
        let pairs = self.bands.candidates(&names, &keys);
        let mut documents: Vec<u32> = pairs.iter().flat_map(|pair| [pair.0, pair.1]).collect();
        documents.sort_unstable();
        documents.dedup();
        Candidates { pairs, documents }
    }

    /// Verifies the candidates; `sets` are the n-grams of `candidates.documents`, in that order.
    pub fn finish(&self, candidates: &Candidates, sets: &[Vec<u64>]) -> Vec<Fate> {
        let distinct = Distinct::of(&self.heads, self.rules.keep);
        let threshold = self.rules.near.unwrap_or(1.0);
        let mut frequencies = Frequencies::with_capacity(sets.iter().map(Vec::len).sum());
        for set in sets {
            frequencies.add(set);
        }
        let slices = sets.iter().map(Vec::as_slice);
        let common = CommonNgrams::of(slices, &frequencies, self.rules.common);
        let set_of = |name: u32| {
            let at = candidates.documents.binary_search(&name).ok()?;
            sets.get(at).map(Vec::as_slice)
        };
        let mut alike: HashedMap<Vec<(u32, f64)>> = HashedMap::default();
        for &(a, b) in &candidates.pairs {
            if let (Some(x), Some(y)) = (set_of(a), set_of(b))
                && let Some(score) = similarity(x, y, threshold)
                && common.allow(x, y, threshold)
            {
                alike.entry(u64::from(a)).or_default().push((b, score));
                alike.entry(u64::from(b)).or_default().push((a, score));
            }
        }
        let mut rank = vec![u32::MAX; self.heads.len()];
        let mut near = HashMap::new();
        for (place, &name) in distinct.order.iter().enumerate() {
            let mut best = Best::default();
            for &(other, score) in alike.get(&u64::from(name)).into_iter().flatten() {
                // only a kept document has a rank
                if rank[other as usize] != u32::MAX {
                    best.meet(rank[other as usize], score);
                }
            }
            match best.found {
                Some((partner, score)) => {
                    near.insert(name, (distinct.order[partner as usize], score));
                }
                None => rank[name as usize] = place as u32,
            }
        }
        distinct.fates(&near)
    }
}
