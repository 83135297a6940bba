//! Added tokens (control tokens among them): what they are and where a text holds them.
//!
//! `tokenizers` looks for added tokens before anything else, in two passes: tokens with
//! `normalized = false` in the text as it is, then the others in what lies between, after the
//! normalizer. Each pass takes leftmost-longest matches from left to right. This module does the
//! same search with one addition: the caller may refuse a match, which then is plain text.

use crate::classes::is_word_char;
use std::collections::BTreeMap;

/// A token added on top of the model's vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// The id that the token has when encoding (what `tokenizers` gives it, which is not always
    /// the number written in the file).
    pub id: u32,
    /// The text that it stands for.
    pub content: String,
    /// A control token: left out of decoded text when special tokens are skipped.
    pub special: bool,
    /// Takes the whitespace before it.
    pub lstrip: bool,
    /// Takes the whitespace after it.
    pub rstrip: bool,
    /// Found only where no word character touches it.
    pub single_word: bool,
    /// Looked for after the normalizer, in its own normalized form.
    pub normalized: bool,
}

/// A place in the text where an added token was found, offered for acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedMatch {
    /// The token's id.
    pub id: u32,
    /// First byte of the token's own text (without whitespace taken by `lstrip`).
    pub start: u32,
    /// One past its last byte (without whitespace taken by `rstrip`).
    pub end: u32,
    /// First byte that the token covers, stripped whitespace included.
    pub span_start: u32,
    /// One past the last byte that the token covers, stripped whitespace included.
    pub span_end: u32,
}

/// One pattern of a [`Matcher`].
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) text: Box<[u8]>,
    pub(crate) id: u32,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    pub(crate) single_word: bool,
}

/// Leftmost-longest search for a set of strings.
///
/// The patterns lie sorted; a candidate position narrows the range of patterns that agree with the
/// text byte by byte, from the eighth on where a table knows the first eight: a conversation has a
/// dozen control tokens. Nothing else is built, so loading 6,000 added tokens costs next to nothing,
/// and a search costs at most the longest pattern per candidate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matcher {
    patterns: Vec<Pattern>,
    /// For every first byte, the range of patterns that begin with it.
    by_first: Vec<(u32, u32)>,
    /// Open-addressed by the first eight bytes; of no patterns: empty.
    begins: Vec<Begin>,
    /// The distinct first bytes, where `memchr` can look for them (at most three).
    needles: Vec<u8>,
}

/// Where a search is after eight bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Begin {
    word: u64,
    /// The patterns that begin with them.
    patterns: (u32, u32),
    /// The longest pattern of fewer bytes that they begin with.
    best: Option<u32>,
}

/// Bytes that [`Begin`] knows.
const WORD: usize = 8;

impl Matcher {
    /// Sorts the patterns; `None` where two have the same text (HF refuses those) or one is empty.
    pub(crate) fn new(mut patterns: Vec<Pattern>) -> Option<Self> {
        patterns.sort_by(|a, b| a.text.cmp(&b.text));
        let same = patterns.windows(2).any(|w| w[0].text == w[1].text);
        if same || patterns.iter().any(|p| p.text.is_empty()) {
            return None;
        }
        let mut ranges = BTreeMap::new();
        for (i, p) in patterns.iter().enumerate() {
            let i = i as u32;
            ranges.entry(p.text[0]).or_insert((i, i)).1 = i + 1;
        }
        let mut by_first = vec![(0, 0); 256];
        for (&b, &r) in &ranges {
            by_first[usize::from(b)] = r;
        }
        let needles = if ranges.len() <= 3 {
            ranges.into_keys().collect()
        } else {
            Vec::new()
        };
        let mut matcher = Self {
            patterns,
            by_first,
            begins: Vec::new(),
            needles,
        };
        matcher.index_begins();
        Some(matcher)
    }

    fn index_begins(&mut self) {
        let mut found: Vec<Begin> = Vec::new();
        for (i, pattern) in self.patterns.iter().enumerate() {
            let Some(bytes) = pattern.text.first_chunk::<WORD>() else {
                continue;
            };
            let (i, word) = (i as u32, u64::from_le_bytes(*bytes));
            match found.last_mut() {
                Some(last) if last.word == word => last.patterns.1 = i + 1,
                _ => found.push(Begin {
                    word,
                    patterns: (i, i + 1),
                    best: self.longest_at(bytes, 0, WORD).map(|best| best as u32),
                }),
            }
        }
        self.begins = vec![Begin::default(); (found.len() * 2 + 1).next_power_of_two()];
        for begin in found {
            let slot = self.begin_slot(begin.word);
            self.begins[slot] = begin;
        }
    }

    /// The place of eight bytes among the begins, or the empty one where it would be.
    fn begin_slot(&self, word: u64) -> usize {
        let mask = self.begins.len() - 1;
        let mut at = (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.begins[at].patterns != (0, 0) && self.begins[at].word != word {
            at = (at + 1) & mask;
        }
        at
    }

    /// The patterns to choose from, the longest that matches already, and the bytes compared so far.
    fn begin(&self, rest: &[u8], below: usize) -> ((usize, usize), Option<usize>, usize) {
        if let Some(bytes) = rest.first_chunk::<WORD>()
            && below > WORD
            && !self.begins.is_empty()
        {
            let begin = &self.begins[self.begin_slot(u64::from_le_bytes(*bytes))];
            if begin.patterns != (0, 0) {
                let (lo, hi) = begin.patterns;
                return (
                    (lo as usize, hi as usize),
                    begin.best.map(|best| best as usize),
                    WORD,
                );
            }
        }
        let (lo, hi) = self.by_first[usize::from(rest[0])];
        ((lo as usize, hi as usize), None, 1)
    }

    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The next position at or after `from` where some pattern's first byte stands.
    fn candidate(&self, text: &[u8], from: usize) -> Option<usize> {
        let rest = text.get(from..)?;
        let found = match *self.needles.as_slice() {
            [a] => memchr::memchr(a, rest),
            [a, b] => memchr::memchr2(a, b, rest),
            [a, b, c] => memchr::memchr3(a, b, c, rest),
            _ => rest.iter().position(|&b| {
                let (lo, hi) = self.by_first[usize::from(b)];
                lo < hi
            }),
        };
        found.map(|i| from + i)
    }

    /// The longest pattern at `at` that is shorter than `below` bytes.
    fn longest_at(&self, text: &[u8], at: usize, below: usize) -> Option<usize> {
        let rest = &text[at..];
        let ((mut lo, mut hi), mut best, mut depth) = self.begin(rest, below);
        while lo < hi {
            let (first, last) = (&self.patterns[lo].text, &self.patterns[hi - 1].text);
            if first.len() == depth {
                if depth >= below {
                    break;
                }
                best = Some(lo);
                lo += 1;
                continue;
            }
            // All of lo..hi agree on `depth` bytes and are longer than that. What the first and the
            // last of them share beyond, all share.
            let shared = first[depth..].iter().zip(&last[depth..]);
            let shared = shared.take_while(|(a, b)| a == b).count();
            if shared > 0 {
                if rest.get(depth..depth + shared) != Some(&first[depth..depth + shared]) {
                    break;
                }
                depth += shared;
                continue;
            }
            let Some(&b) = rest.get(depth) else { break };
            let range = &self.patterns[lo..hi];
            let start = range.partition_point(|p| p.text[depth] < b);
            let end = start + range[start..].partition_point(|p| p.text[depth] == b);
            (lo, hi) = (lo + start, lo + end);
            depth += 1;
        }
        best
    }

    /// Walks the matches from left to right as `tokenizers` does and hands each accepted one with
    /// its covered range (whitespace of `lstrip`/`rstrip` included) to `found`.
    ///
    /// Where a match is refused, a shorter one at the same place is offered, then later ones that
    /// may overlap the refused text: refused text is plain text and hides nothing.
    pub(crate) fn walk(
        &self,
        text: &str,
        accept: &mut dyn FnMut(&Pattern, usize, usize, usize, usize) -> bool,
        found: &mut dyn FnMut(u32, usize, usize),
    ) {
        if self.patterns.is_empty() {
            return;
        }
        let bytes = text.as_bytes();
        let (mut at, mut covered) = (0, 0);
        while let Some(start) = self.candidate(bytes, at) {
            at = start + 1;
            let mut below = usize::MAX;
            while let Some(i) = self.longest_at(bytes, start, below) {
                let p = &self.patterns[i];
                let end = start + p.text.len();
                if p.single_word && !stands_alone(text, start, end) {
                    at = end;
                    break;
                }
                let left = if p.lstrip {
                    text[..start].trim_end().len()
                } else {
                    start
                };
                let left = if p.lstrip { left.max(covered) } else { left };
                let rest = &text[end..];
                let right = if p.rstrip {
                    end + rest.len() - rest.trim_start().len()
                } else {
                    end
                };
                if accept(p, start, end, left, right) {
                    found(p.id, left, right);
                    covered = right;
                    at = end;
                    break;
                }
                below = p.text.len();
            }
        }
    }
}

/// Whether no word character touches `start..end`.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    !text[..start].chars().next_back().is_some_and(is_word_char)
        && !text[end..].chars().next().is_some_and(is_word_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(words: &[&str]) -> Matcher {
        let pattern = |(i, w): (usize, &&str)| Pattern {
            text: w.as_bytes().into(),
            id: i as u32,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        Matcher::new(words.iter().enumerate().map(pattern).collect()).unwrap()
    }

    fn ids(m: &Matcher, text: &str, refused: &[u32]) -> Vec<(u32, usize, usize)> {
        let mut out = Vec::new();
        m.walk(
            text,
            &mut |p, _, _, _, _| !refused.contains(&p.id),
            &mut |id, s, e| out.push((id, s, e)),
        );
        out
    }

    #[test]
    fn longest_match_wins_and_a_refused_one_hides_nothing() {
        let m = matcher(&["<a", "<a>", "<a><b>", ">x", "<b>"]);
        assert_eq!(ids(&m, "<a><b>x", &[]), [(2, 0, 6)]);
        assert_eq!(ids(&m, "<a><b>x", &[2]), [(1, 0, 3), (4, 3, 6)]);
        assert_eq!(ids(&m, "<a><b>x", &[2, 1]), [(0, 0, 2), (4, 3, 6)]);
        assert_eq!(ids(&m, "<a><b>x", &[0, 1, 2, 4]), [(3, 5, 7)]);
        assert_eq!(ids(&m, "<<<a", &[]), [(0, 2, 4)]);
    }

    #[test]
    fn patterns_of_all_lengths_are_found_wherever_they_part() {
        let words = [
            "<|im",
            "<|im_en",
            "<|im_end",
            "<|im_end|>",
            "<|im_end|>x",
            "<|im_start|>",
            "<|image|>",
            "<|",
            "<unused10>",
            "<unused11>",
            "<unused1>",
            "<unused>",
            "x",
        ];
        let m = matcher(&words);
        for (i, word) in words.iter().enumerate() {
            for tail in ["", " ", "<", "abcdefghij"] {
                let text = format!("{word}{tail}");
                // The longest word that the text begins with, found by looking at all.
                let fits = |w: &&(usize, &&str)| text.starts_with(*w.1);
                let all = words.iter().enumerate().collect::<Vec<_>>();
                let longest = all.iter().filter(fits).max_by_key(|w| w.1.len());
                let expected = longest.map(|w| (w.0 as u32, 0, w.1.len()));
                assert_eq!(ids(&m, &text, &[]).first().copied(), expected, "{text}");
                // Refused, the next shorter one is offered.
                let longest = all
                    .iter()
                    .filter(fits)
                    .filter(|w| w.0 != i)
                    .max_by_key(|w| w.1.len());
                let first = ids(&m, &text, &[i as u32])
                    .into_iter()
                    .find(|found| found.1 == 0);
                assert_eq!(first, longest.map(|w| (w.0 as u32, 0, w.1.len())), "{text}");
            }
        }
    }

    #[test]
    fn same_or_empty_patterns_are_refused() {
        let p = |t: &str| Pattern {
            text: t.as_bytes().into(),
            id: 0,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        assert!(Matcher::new(vec![p("a"), p("a")]).is_none());
        assert!(Matcher::new(vec![p("")]).is_none());
    }
}
