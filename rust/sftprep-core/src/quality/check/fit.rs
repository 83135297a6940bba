//! How well an answer fits its prompt: by the words that the two share, and by how often the words
//! of the one stand in answers to the words of the other.
//!
//! Both are learnt from the data itself. Words are compared by their first five letters, so that
//! `runners` fits `running`. Short texts share less than long ones, so both numbers are held against
//! what is expected of texts of their lengths. The sum orders rows, it decides nothing. On 6,000 rows
//! of Alpaca of which 3 % had their answers exchanged, an exchanged row ranks before another in 96 to
//! 97 of 100 cases.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use sftprep_quality::{Word, words};

use super::super::scan::{Check, Inputs, Visited};
use super::Rows;
use super::issues::Issue;
use super::turns::{Part, parts};
use crate::error::Result;
use crate::types::Sample;

/// Counters of words; two words that share one are rare.
const WORDS: usize = 1 << 20;
/// Counters of word pairs.
const PAIRS: usize = 1 << 24;
/// Words of a text that are looked at.
const SEEN_WORDS: usize = 200;
/// Rows from which pairs are learnt.
const LEARNT_ROWS: u64 = 200_000;
/// Letters by which words are compared.
const STEM: usize = 5;
/// Rows that a word must be in for its pairs to count.
const RARE: u32 = 3;

/// In how many rows words and pairs of words are.
pub(super) struct Vocabulary {
    rows: AtomicU32,
    either: Vec<AtomicU32>,
    prompts: Vec<AtomicU32>,
    answers: Vec<AtomicU32>,
    pairs: Vec<AtomicU32>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            rows: AtomicU32::new(0),
            either: zeros(WORDS),
            prompts: zeros(WORDS),
            answers: zeros(WORDS),
            pairs: zeros(PAIRS),
        }
    }
}

/// Distinct stems of a prompt and of its answer, as indices of counters.
#[derive(Debug, Default)]
pub(super) struct Stems {
    prompt: Vec<u32>,
    answer: Vec<u32>,
    words: Vec<Word>,
    text: String,
}

impl Stems {
    /// Those of the last answer and of what stands before it; false if there is no answer.
    pub(super) fn take(&mut self, parts: &[Part<'_>]) -> bool {
        self.prompt.clear();
        self.answer.clear();
        let Some(last) = parts.iter().rposition(Part::learnt) else {
            return false;
        };
        self.text.clear();
        for part in &parts[..last] {
            self.text.push_str(&part.text);
            self.text.push('\n');
        }
        stems(&self.text, &mut self.words, &mut self.prompt);
        stems(&parts[last].text, &mut self.words, &mut self.answer);
        !self.prompt.is_empty() && !self.answer.is_empty()
    }
}

fn stems(text: &str, scratch: &mut Vec<Word>, out: &mut Vec<u32>) {
    words(text, scratch);
    for word in scratch.iter().take(SEEN_WORDS) {
        let spelled = &text[word.start as usize..word.end as usize];
        if spelled.chars().all(char::is_alphanumeric) {
            out.push(stem(spelled, word.hash));
        }
    }
    out.sort_unstable();
    out.dedup();
}

fn stem(word: &str, hash: u64) -> u32 {
    let hash = if word.is_ascii() {
        let end = match word.len() {
            0..=3 => word.len(),
            4..=STEM => word.trim_end_matches(['s', 'S']).len(),
            _ => STEM,
        };
        word.bytes().take(end).fold(end as u64, |hash, byte| {
            (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x2127_599b_f432_5c37)
        })
    } else {
        hash
    };
    (hash ^ (hash >> 31))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(20) as u32
        % WORDS as u32
}

impl Vocabulary {
    /// Counts the words of a row.
    pub(super) fn add(&self, stems: &Stems) {
        self.rows.fetch_add(1, Relaxed);
        let shared = |word: &&u32| stems.prompt.binary_search(word).is_ok();
        let own = stems.answer.iter().filter(|word| !shared(word));
        for &word in stems.prompt.iter().chain(own) {
            self.either[word as usize].fetch_add(1, Relaxed);
        }
        for &word in &stems.prompt {
            self.prompts[word as usize].fetch_add(1, Relaxed);
        }
        for &word in &stems.answer {
            self.answers[word as usize].fetch_add(1, Relaxed);
        }
    }

    fn weight(&self, word: u32) -> f32 {
        let rows = self.rows.load(Relaxed) as f32;
        ((rows + 1.0) / (self.either[word as usize].load(Relaxed) as f32 + 0.5))
            .ln()
            .max(0.0)
    }

    /// Words whose pairs count: neither a row's own nor everybody's.
    fn telling(&self, words: &[u32]) -> Vec<u32> {
        let most = self.rows.load(Relaxed) / 10;
        let counts = |word: &&u32| {
            (RARE..=most.max(RARE)).contains(&self.either[**word as usize].load(Relaxed))
        };
        words.iter().filter(counts).copied().collect()
    }

    fn pair(&self, prompt: u32, answer: u32) -> &AtomicU32 {
        let hash =
            (u64::from(prompt) << 32 | u64::from(answer)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.pairs[(hash >> 40) as usize % PAIRS]
    }

    fn learn(&self, stems: &Stems) {
        let answer = self.telling(&stems.answer);
        for asked in self.telling(&stems.prompt) {
            for &said in &answer {
                self.pair(asked, said).fetch_add(1, Relaxed);
            }
        }
    }

    /// What prompt and answer share, and how well the answer's words go with the prompt's.
    fn score(&self, stems: &Stems, learnt: u32, own: bool) -> Score {
        let sum = |words: &[u32]| words.iter().map(|word| self.weight(*word)).sum::<f32>();
        let shared = stems
            .answer
            .iter()
            .filter(|word| stems.prompt.binary_search(word).is_ok());
        let shared: f32 = shared.map(|word| self.weight(*word)).sum();
        let scale = (sum(&stems.prompt) * sum(&stems.answer)).sqrt();
        let asked = self.telling(&stems.prompt);
        let (mut total, mut weights) = (0.0, 2.0);
        for said in self.telling(&stems.answer) {
            let best = asked
                .iter()
                .map(|&word| self.association(word, said, learnt, own))
                .fold(0.0, f32::max);
            let weight = self.weight(said);
            total += best * weight;
            weights += weight;
        }
        let length = |words: &[u32]| (1.0 + words.len() as f64).ln();
        Score {
            values: [shared / (scale + 1e-6), total / weights].map(f64::from),
            lengths: [length(&stems.prompt), length(&stems.answer)],
        }
    }

    /// How much more often than by chance a word answers another, without the row at hand.
    fn association(&self, asked: u32, said: u32, learnt: u32, own: bool) -> f32 {
        let own = u32::from(own && asked != said);
        let together = self.pair(asked, said).load(Relaxed).saturating_sub(own) as f32;
        if together <= 0.0 {
            return 0.0;
        }
        let part = learnt as f32 / self.rows.load(Relaxed).max(1) as f32;
        let asked = self.prompts[asked as usize].load(Relaxed) as f32 * part;
        let said = self.answers[said as usize].load(Relaxed) as f32 * part;
        let lift = together * learnt as f32 / (asked * said).max(1.0);
        if lift > 1.0 {
            lift.ln() * together / (together + 2.0)
        } else {
            0.0
        }
    }
}

/// Ranks all answers: two more readings, one to learn pairs, one to score.
pub(super) fn rank(
    inputs: &mut Inputs,
    rows: &mut Rows,
    vocabulary: &Vocabulary,
    check: Check<'_>,
) -> Result<()> {
    let taken = AtomicU32::new(0);
    // copies would bear each other out
    let copies = [Issue::Identical, Issue::Normalised, Issue::Near];
    let is_copy = |number: u64| {
        copies
            .iter()
            .any(|it| rows.facts[number as usize].issues.has(*it))
    };
    inputs.visit(
        check,
        Stems::default,
        |stems, row: Visited, sample| {
            if let Ok(sample) = sample
                && row.number < LEARNT_ROWS
                && !is_copy(row.number)
                && has_stems(stems, &sample)
            {
                taken.fetch_add(1, Relaxed);
                vocabulary.learn(stems);
            }
        },
        |_, ()| Ok(()),
    )?;
    let learnt = taken.load(Relaxed);
    let mut scores: Vec<Option<Score>> = Vec::with_capacity(rows.facts.len());
    inputs.visit(
        check,
        Stems::default,
        |stems, row: Visited, sample| {
            let found = sample.is_ok_and(|sample| has_stems(stems, &sample));
            let own = row.number < LEARNT_ROWS && !is_copy(row.number);
            found.then(|| vocabulary.score(stems, learnt, own))
        },
        |_, score| {
            scores.push(score);
            Ok(())
        },
    )?;
    let fits = [0, 1].map(|which| Expected::of(&scores, which));
    for (facts, score) in rows.facts.iter_mut().zip(&scores) {
        if let Some(score) = score {
            let sum: f64 = fits
                .iter()
                .enumerate()
                .map(|(which, it)| it.deviation(score, which))
                .sum();
            // 0.5 where the two together are five deviations below what is expected
            facts.fit = (1.0 / (1.0 + (0.8 * (sum + 5.0)).exp())) as f32;
        }
    }
    Ok(())
}

fn has_stems(stems: &mut Stems, sample: &Sample) -> bool {
    stems.take(&parts(sample))
}

/// What a row has: shared words, association, and how long prompt and answer are.
struct Score {
    values: [f64; 2],
    lengths: [f64; 2],
}

/// Terms of what is expected: 1, the lengths, their squares and their product.
const TERMS: usize = 6;

/// What is expected of rows of some lengths, and by how much they differ from it.
#[derive(Default)]
struct Expected {
    mean: [f64; TERMS],
    spread: [f64; TERMS],
    least: f64,
}

impl Expected {
    fn of(scores: &[Option<Score>], which: usize) -> Self {
        let known = || scores.iter().flatten();
        let mean = least_squares(known().map(|it| (terms(it), it.values[which])));
        let rest = |it: &Score| (it.values[which] - dot(&mean, &terms(it))).abs();
        let spread = least_squares(known().map(|it| (terms(it), rest(it))));
        let count = known().count().max(1) as f64;
        let least = known().map(rest).sum::<f64>() / count / 5.0;
        Self {
            mean,
            spread,
            least: least.max(1e-6),
        }
    }

    fn deviation(&self, score: &Score, which: usize) -> f64 {
        let terms = terms(score);
        let rest = score.values[which] - dot(&self.mean, &terms);
        rest / dot(&self.spread, &terms).max(self.least)
    }
}

fn terms(score: &Score) -> [f64; TERMS] {
    let [prompt, answer] = score.lengths;
    [
        1.0,
        prompt,
        answer,
        prompt * prompt,
        answer * answer,
        prompt * answer,
    ]
}

fn dot(a: &[f64; TERMS], b: &[f64; TERMS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The coefficients that fit best, by the normal equations; a little is added to their diagonal so
/// that rows of one length have a solution too.
fn least_squares(points: impl Iterator<Item = ([f64; TERMS], f64)>) -> [f64; TERMS] {
    let mut matrix = [[0.0; TERMS + 1]; TERMS];
    for (terms, value) in points {
        for (row, a) in matrix.iter_mut().zip(terms) {
            for (cell, b) in row.iter_mut().zip(terms.into_iter().chain([value])) {
                *cell += a * b;
            }
        }
    }
    for (at, row) in matrix.iter_mut().enumerate() {
        row[at] += 1e-6 * (1.0 + row[at]);
    }
    for at in 0..TERMS {
        let pivot = matrix[at];
        for (other, row) in matrix.iter_mut().enumerate() {
            if other != at {
                let factor = row[at] / pivot[at];
                row.iter_mut()
                    .zip(pivot)
                    .for_each(|(cell, it)| *cell -= factor * it);
            }
        }
    }
    std::array::from_fn(|at| matrix[at][TERMS] / matrix[at][at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_a_polynomial() {
        let truth = [1.0, -2.0, 0.5, 0.25, 0.1, -0.3];
        let points = (0..40).map(|at| {
            let score = Score {
                values: [0.0; 2],
                lengths: [f64::from(at % 7), f64::from(at % 5)],
            };
            (terms(&score), dot(&truth, &terms(&score)))
        });
        let found = least_squares(points);
        let close = |(a, b): (&f64, f64)| (a - b).abs() < 1e-3;
        assert!(found.iter().zip(truth).all(close), "{found:?}");
        let one = Score {
            values: [0.0; 2],
            lengths: [1.0, 2.0],
        };
        let same = least_squares(std::iter::repeat_n((terms(&one), 3.0), 9));
        assert!(same.iter().all(|it| it.is_finite()));
    }

    #[test]
    fn stems_join_forms_of_a_word() {
        let of = |text: &str| {
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            stems(text, &mut scratch, &mut out);
            out
        };
        assert_eq!(of("Running runners"), of("running runne"));
        assert_eq!(of("Cats"), of("cat"));
        assert_ne!(of("dog"), of("cat"));
        assert!(of("+ - …").is_empty());
    }
}
