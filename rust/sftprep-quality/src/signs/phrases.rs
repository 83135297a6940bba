//! Phrases, found in the words of a text in one pass.

use std::collections::HashMap;

use crate::join::HashedMap;
use crate::words::{Word, words};

/// Phrases by their first word, each with a number.
#[derive(Debug, Default)]
pub struct PhraseSet {
    by_first: HashedMap<Vec<(Vec<u64>, u32)>>,
    phrases: u32,
}

impl PhraseSet {
    /// Phrases as people write them; their numbers are their places in the list. Case, apostrophes
    /// and punctuation do not matter: `I can't` is `i can t`.
    pub fn new<'p>(phrases: impl IntoIterator<Item = &'p str>) -> Self {
        let mut by_first: HashedMap<Vec<(Vec<u64>, u32)>> = HashMap::default();
        let mut spelled = Vec::new();
        let mut number = 0;
        for phrase in phrases {
            words(phrase, &mut spelled);
            if let Some((first, rest)) = spelled.split_first() {
                let rest = rest.iter().map(|word| word.hash).collect();
                by_first.entry(first.hash).or_default().push((rest, number));
            }
            number += 1;
        }
        Self {
            by_first,
            phrases: number,
        }
    }

    /// Number of phrases.
    pub fn len(&self) -> usize {
        self.phrases as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.phrases == 0
    }

    /// Calls `found` with the number of every phrase that is there and the index of its first word.
    pub fn find(&self, words: &[Word], mut found: impl FnMut(usize, usize)) {
        for (at, word) in words.iter().enumerate() {
            let Some(phrases) = self.by_first.get(&word.hash) else {
                continue;
            };
            for (rest, number) in phrases {
                let after = words[at + 1..].iter().map(|word| word.hash);
                if words.len() - at > rest.len() && after.take(rest.len()).eq(rest.iter().copied())
                {
                    found(*number as usize, at);
                }
            }
        }
    }

    /// Where the first of the phrases is, as the index of its first word.
    pub fn first(&self, words: &[Word]) -> Option<usize> {
        let mut first: Option<usize> = None;
        self.find(words, |_, at| {
            first.get_or_insert(at);
        });
        first
    }
}
