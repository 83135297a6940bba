//! A document as comparisons see it: two hashes for equality, and its set of word n-grams.

use xxhash_rust::xxh3::xxh3_128;

use crate::words::{self, Word, finish, normal_hash};

/// Words of an n-gram by which documents are compared.
pub const SHINGLE_WORDS: usize = 3;

/// What is kept of a document's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Hash of the text's bytes.
    pub content: u128,
    /// Hash of the text without case, white space and the shape of quotes.
    pub normal: u128,
    /// Length of the text in bytes.
    pub bytes: u64,
    /// Hashes of its word 3-grams, sorted, each once. A text of one or two words has one n-gram of
    /// those, a text without words has none.
    pub shingles: Vec<u64>,
}

/// Makes documents; holds the buffers between texts.
#[derive(Debug, Default)]
pub struct Shingler {
    words: Vec<Word>,
    bytes: Vec<u8>,
}

impl Shingler {
    /// The document of a text.
    pub fn document(&mut self, text: &str) -> Document {
        words::words(text, &mut self.words);
        let mut shingles = Vec::new();
        ngrams(&self.words, SHINGLE_WORDS, |hash, _| shingles.push(hash));
        shingles.sort_unstable();
        shingles.dedup();
        Document {
            content: xxh3_128(text.as_bytes()),
            normal: normal_hash(text, &mut self.bytes),
            bytes: text.len() as u64,
            shingles,
        }
    }
}

impl Shingler {
    /// A document without n-grams: enough to tell whether two texts are equal.
    pub fn equality(text: &str) -> Document {
        Document {
            content: xxh3_128(text.as_bytes()),
            normal: normal_hash(text, &mut Vec::new()),
            bytes: text.len() as u64,
            shingles: Vec::new(),
        }
    }
}

/// Calls `each` with the hash of every run of `n` words; a shorter text is one run.
pub fn ngram_hashes(words: &[Word], n: usize, mut each: impl FnMut(u64)) {
    ngrams(words, n, |hash, _| each(hash));
}

/// Calls `each` with the hash of every run of `n` words and the index of its first word; a shorter
/// text is one run.
pub(crate) fn ngrams(words: &[Word], n: usize, mut each: impl FnMut(u64, usize)) {
    if words.is_empty() {
        return;
    }
    for (at, run) in words.windows(n.min(words.len())).enumerate() {
        let hash = run.iter().fold(n as u64, |hash, word| {
            (hash.rotate_left(23) ^ word.hash).wrapping_mul(0xa076_1d64_78bd_642f)
        });
        each(finish(hash), at);
    }
}

/// Size of the intersection of two sorted sets, or `None` as soon as it cannot reach `need`.
pub(crate) fn overlap(a: &[u64], b: &[u64], need: usize) -> Option<usize> {
    let (mut at, mut to, mut common) = (0, 0, 0);
    while at < a.len() && to < b.len() {
        if common + (a.len() - at).min(b.len() - to) < need {
            return None;
        }
        let order = a[at].cmp(&b[to]);
        common += usize::from(order.is_eq());
        at += usize::from(order.is_le());
        to += usize::from(order.is_ge());
    }
    (common >= need).then_some(common)
}

/// Jaccard similarity of two sorted sets; 0 if both are empty.
pub fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let common = overlap(a, b, 0).unwrap_or(0);
    ratio(common, a.len() + b.len() - common)
}

pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
