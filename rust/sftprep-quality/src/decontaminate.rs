//! Which documents contain an item of a test set, and where.
//!
//! An item is found by containment: the share of its word 5-grams that a document has too. An item
//! copied word for word into a long document is contained completely, an edited one mostly, and a
//! shared phrase is not enough. N-grams that many documents have (instructions, boilerplate) are
//! evidence of nothing and do not count, neither for nor against; an item without any other n-gram
//! is found only where all of its words stand in a row, and one that is shorter than an n-gram only
//! where it makes up a line.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::document::{ngrams, ratio};
use crate::join::{HashedMap, HashedSet};
use crate::words::{Word, words};

/// What counts as a leak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakRules {
    /// Least containment, 0 to 1.
    pub containment: f64,
    /// Words of an n-gram, 1 or more.
    pub ngram: usize,
    /// N-grams of more than so many documents do not count; 0: all count.
    pub common: u32,
}

impl Default for LeakRules {
    fn default() -> Self {
        Self {
            containment: 0.5,
            ngram: 5,
            common: 50,
        }
    }
}

/// N-grams that have to be shared at least, or all that the item has: one is a phrase.
const EVIDENCE: usize = 3;

/// An item of a test set.
#[derive(Debug, Clone)]
struct Item {
    /// Its n-grams, sorted, each once.
    ngrams: Vec<u64>,
    /// How many of them are not common.
    rare: usize,
    /// Its first n-gram, and the hash and the number of all its words.
    first: u64,
    whole: u64,
    words: usize,
}

/// A test item in a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Leak {
    /// Index of the item.
    pub item: u32,
    /// Share of the item's n-grams that the document has; of those that are not common.
    pub containment: f64,
    /// Byte ranges of the document's text that are in the item, in order, apart from each other.
    pub spans: Vec<Range<usize>>,
}

/// Test items that documents are searched for.
///
/// First every document is shown to [`see`](Self::see), so that it is known what is common; after
/// [`settle`](Self::settle), [`find`](Self::find) says what is in each.
#[derive(Debug)]
pub struct TestItems {
    rules: LeakRules,
    items: Vec<Item>,
    /// Items that have an n-gram.
    index: HashedMap<Vec<u32>>,
    /// Items found as a whole only, by their first n-gram.
    wholes: HashedMap<Vec<u32>>,
    /// Items shorter than an n-gram, by the hash of their words.
    short: HashedMap<Vec<u32>>,
    /// Documents that have it, for each n-gram of an item.
    seen: HashedMap<u32>,
    common: HashedSet,
}

/// A run of a document's words that is an n-gram of some item.
#[derive(Clone, Copy)]
struct Run {
    hash: u64,
    start: usize,
    end: usize,
}

impl TestItems {
    /// The items of a test set, such as its questions. An item without a word is never found.
    pub fn new<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, rules: LeakRules) -> Self {
        let rules = LeakRules {
            ngram: rules.ngram.max(1),
            ..rules
        };
        let mut all = Self {
            rules,
            items: Vec::new(),
            index: HashedMap::default(),
            wholes: HashedMap::default(),
            short: HashedMap::default(),
            seen: HashedMap::default(),
            common: HashedSet::default(),
        };
        let mut found = Vec::new();
        for (at, text) in texts.into_iter().enumerate() {
            words(text.as_ref(), &mut found);
            all.add(at as u32, &found);
        }
        all
    }

    fn add(&mut self, name: u32, words: &[Word]) {
        let mut item = Item {
            ngrams: Vec::new(),
            rare: 0,
            first: 0,
            whole: whole(words),
            words: words.len(),
        };
        if words.len() >= self.rules.ngram {
            ngrams(words, self.rules.ngram, |hash, _| item.ngrams.push(hash));
            item.first = item.ngrams[0];
            item.ngrams.sort_unstable();
            item.ngrams.dedup();
            item.rare = item.ngrams.len();
            for hash in &item.ngrams {
                self.index.entry(*hash).or_default().push(name);
            }
        } else if !words.is_empty() {
            self.short.entry(item.whole).or_default().push(name);
        }
        self.items.push(item);
    }

    /// The n-grams of a document that are in any item, sorted, each once.
    pub fn shared(&self, text: &str, scratch: &mut Vec<Word>) -> Vec<u64> {
        words(text, scratch);
        let mut shared: Vec<u64> = self.runs(scratch).iter().map(|run| run.hash).collect();
        shared.sort_unstable();
        shared.dedup();
        shared
    }

    /// Counts what [`shared`](Self::shared) gave for a document.
    pub fn see(&mut self, shared: &[u64]) {
        for hash in shared {
            *self.seen.entry(*hash).or_default() += 1;
        }
    }

    /// Decides what is common among the documents seen.
    pub fn settle(&mut self) {
        let limit = self.rules.common;
        let seen = std::mem::take(&mut self.seen);
        let often = seen
            .into_iter()
            .filter(|(_, count)| limit > 0 && *count > limit);
        self.common = often.map(|(hash, _)| hash).collect();
        for (name, item) in self.items.iter_mut().enumerate() {
            let rare = item
                .ngrams
                .iter()
                .filter(|hash| !self.common.contains(*hash));
            item.rare = rare.count();
            if item.rare == 0 && !item.ngrams.is_empty() {
                self.wholes.entry(item.first).or_default().push(name as u32);
            }
        }
    }

    /// Number of n-grams that do not count because many documents have them.
    pub fn common(&self) -> usize {
        self.common.len()
    }

    /// The items that a document contains, most contained first, then in their order.
    pub fn find(&self, text: &str, scratch: &mut Vec<Word>) -> Vec<Leak> {
        words(text, scratch);
        let words = scratch.as_slice();
        let runs = self.runs(words);
        let mut leaks = Vec::new();
        for (name, shared) in self.shared_with(&runs) {
            let item = &self.items[name as usize];
            let containment = ratio(shared, item.rare);
            if shared >= item.rare.min(EVIDENCE) && containment >= self.rules.containment - 1e-12 {
                let inside = |run: &&Run| item.ngrams.binary_search(&run.hash).is_ok();
                let ranges = runs.iter().filter(inside).map(|run| run.start..run.end);
                leaks.push(leak(name, containment, ranges, words));
            }
        }
        for run in &runs {
            for &name in self.wholes.get(&run.hash).into_iter().flatten() {
                let item = &self.items[name as usize];
                let range = run.start..run.start + item.words;
                if words
                    .get(range.clone())
                    .is_some_and(|words| whole(words) == item.whole)
                {
                    leaks.push(leak(name, 1.0, std::iter::once(range), words));
                }
            }
        }
        if !self.short.is_empty() {
            for range in lines(text, words) {
                for &name in self
                    .short
                    .get(&whole(&words[range.clone()]))
                    .into_iter()
                    .flatten()
                {
                    leaks.push(leak(name, 1.0, std::iter::once(range.clone()), words));
                }
            }
        }
        leaks.sort_by(|a, b| {
            let by_share = b.containment.total_cmp(&a.containment);
            by_share.then(a.item.cmp(&b.item))
        });
        leaks.dedup_by_key(|leak| leak.item);
        leaks
    }

    /// Items that share n-grams that are not common, and how many.
    fn shared_with(&self, runs: &[Run]) -> BTreeMap<u32, usize> {
        let mut hashes: Vec<u64> = runs.iter().map(|run| run.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut shared = BTreeMap::new();
        for hash in hashes.iter().filter(|hash| !self.common.contains(*hash)) {
            for &name in self.index.get(hash).into_iter().flatten() {
                *shared.entry(name).or_default() += 1;
            }
        }
        shared
    }

    fn runs(&self, words: &[Word]) -> Vec<Run> {
        let size = self.rules.ngram;
        let mut runs = Vec::new();
        if words.len() >= size {
            ngrams(words, size, |hash, start| {
                if self.index.contains_key(&hash) {
                    runs.push(Run {
                        hash,
                        start,
                        end: start + size,
                    });
                }
            });
        }
        runs
    }
}

/// Hash of all words together.
fn whole(words: &[Word]) -> u64 {
    let mut hash = 0;
    ngrams(words, words.len(), |all, _| hash = all);
    hash
}

/// Ranges of words that stand on one line.
fn lines<'t>(text: &'t str, words: &'t [Word]) -> impl Iterator<Item = Range<usize>> + 't {
    let mut start = 0;
    (1..=words.len()).filter_map(move |end| {
        let goes_on = words.get(end).is_some_and(|next| {
            let gap = &text.as_bytes()[words[end - 1].end as usize..next.start as usize];
            !gap.contains(&b'\n')
        });
        (!goes_on).then(|| std::mem::replace(&mut start, end)..end)
    })
}

/// A leak with runs of words that overlap or touch joined, as ranges of bytes.
fn leak(
    item: u32,
    containment: f64,
    ranges: impl Iterator<Item = Range<usize>>,
    words: &[Word],
) -> Leak {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    let bytes =
        |range: Range<usize>| words[range.start].start as usize..words[range.end - 1].end as usize;
    Leak {
        item,
        containment,
        spans: joined.into_iter().map(bytes).collect(),
    }
}
