//! Loops: a passage that is said again and again, as models do that got stuck.

use std::collections::HashMap;

use crate::document::ngrams;
use crate::join::HashedMap;
use crate::words::Word;

/// Words of the passage that repeats.
const PASSAGE_WORDS: usize = 8;
/// How often it has to be there.
const TIMES: usize = 4;
/// How many equal steps from one to the next there have to be: a loop comes round after the same
/// number of words, other repetition (a form, a table) does not.
const EQUAL_STEPS: usize = 2;

/// A passage that repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// How often it is there.
    pub times: usize,
    /// Byte at which it comes for the second time.
    pub start: usize,
}

/// Letters and marks of a kind in a row that no text has.
const SAME_LETTERS: usize = 40;

/// The passage of eight words that repeats most often, if it is a loop; or one letter that does.
///
/// Rules, tables and markup repeat too: of the passage at least half has to be words of letters.
pub fn find_loop(text: &str, words: &[Word]) -> Option<Loop> {
    let passage = passage(text, words);
    passage.or_else(|| same_letters(text))
}

fn same_letters(text: &str) -> Option<Loop> {
    let (mut last, mut count, mut start) = ('\0', 0, 0);
    let mut found: Option<Loop> = None;
    for (at, c) in text.char_indices() {
        let counts = c.is_alphabetic() || ('\u{300}'..='\u{36f}').contains(&c);
        if c != last || !counts {
            (last, count, start) = (c, 0, at);
        }
        count += usize::from(counts);
        if count >= SAME_LETTERS && found.is_none_or(|known| known.times < count) {
            found = Some(Loop {
                times: count,
                start,
            });
        }
    }
    found
}

fn passage(text: &str, words: &[Word]) -> Option<Loop> {
    if words.len() < PASSAGE_WORDS + TIMES - 1 {
        return None;
    }
    let mut places: HashedMap<(u32, u32)> =
        HashMap::with_capacity_and_hasher(words.len(), std::hash::BuildHasherDefault::default());
    let mut best: Option<(u32, u64)> = None;
    ngrams(words, PASSAGE_WORDS, |hash, _| {
        let count = places.entry(hash).or_default();
        count.0 += 1;
        if count.0 as usize >= TIMES && best.is_none_or(|(most, _)| count.0 > most) {
            best = Some((count.0, hash));
        }
    });
    let (times, passage) = best?;
    let mut at = Vec::new();
    ngrams(words, PASSAGE_WORDS, |hash, place| {
        if hash == passage {
            at.push(place);
        }
    });
    let steps: Vec<usize> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let equal = steps.windows(EQUAL_STEPS).any(|step| step[0] == step[1]);
    let said = &words[at[0]..at[0] + PASSAGE_WORDS];
    let letters = |word: &&Word| {
        text[word.start as usize..]
            .chars()
            .next()
            .is_some_and(char::is_alphabetic)
    };
    let spoken = said.iter().filter(letters).count() * 2 >= PASSAGE_WORDS;
    (equal && spoken).then(|| Loop {
        times: times as usize,
        start: words[at[1]].start as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;

    fn looped(text: &str) -> Option<usize> {
        let mut out = Vec::new();
        words(text, &mut out);
        find_loop(text, &out).map(|found| found.times)
    }

    #[test]
    fn loops_are_found_and_forms_are_not() {
        let verse = "With passion and care, to work ceaselessly without fail. ";
        assert!(looped(&verse.repeat(6)).is_some());
        assert_eq!(looped(&verse.repeat(2)), None);
        assert!(looped(&"ha ".repeat(40)).is_some());
        let mut form = String::new();
        for n in 0..9 {
            form += &"x ".repeat(n);
            form += "what is the name of the person in that row? ";
        }
        assert_eq!(looped(&form), None);
        assert_eq!(looped(&"| --- | --- ".repeat(9)), None);
        assert_eq!(looped(&"<td> 1 </td> ".repeat(9)), None);
        assert!(looped(&"\u{326}".repeat(60)).is_some());
        assert!(looped(&"生活很美好，我们都要努力。".repeat(5)).is_some());
    }
}
