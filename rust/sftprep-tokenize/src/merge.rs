//! Byte-pair merging of one unit, exactly as `tokenizers` merges: always the pair of the lowest
//! rank, the leftmost of equals.

mod few;
mod long;
mod rules;

use crate::blocks::Features;
use few::Few;
pub(crate) use rules::{MAX_ID, MAX_RANK, Merges, NONE};

/// Scratch memory of merging.
#[derive(Default)]
pub(crate) struct Merger {
    /// Ids and lengths in bytes of the symbols; after `run` those of the tokens.
    pub(crate) ids: Vec<u32>,
    pub(crate) lens: Vec<u32>,
    few: Few,
    long: long::Scratch,
    features: Features,
}

/// Symbols that count as a few.
const FEW: usize = 32;

impl Merger {
    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.lens.clear();
    }

    #[inline]
    pub(crate) fn push(&mut self, id: u32, len: u32) {
        self.ids.push(id);
        self.lens.push(len);
    }

    /// Merges the bytes of a unit; `ids` are those of single bytes.
    pub(crate) fn run_bytes(&mut self, merges: &Merges, ids: &[u32], unit: &[u8]) {
        self.clear();
        let symbols = unit.iter().map(|&b| ids[usize::from(b)]);
        if !(2..=FEW).contains(&unit.len()) {
            self.ids.extend(symbols);
            self.lens.resize(unit.len(), 1);
            return self.run(merges);
        }
        let rule = |w: &[u8]| merges.bytes[usize::from(w[0]) << 8 | usize::from(w[1])];
        self.few.begin(symbols, unit.windows(2).map(rule));
        let mut left = self.few.merge(merges, unit.len(), self.features);
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let end = unit.len().min(left.trailing_zeros() as usize);
            self.push(self.few.ids[i], (end - i) as u32);
        }
    }

    /// Merges the symbols pushed since `clear`.
    pub(crate) fn run(&mut self, merges: &Merges) {
        match self.ids.len() {
            0 | 1 => {}
            2..=FEW => self.run_few(merges),
            _ => self.run_many(merges),
        }
    }

    fn run_few(&mut self, merges: &Merges) {
        let n = self.ids.len();
        let rules = self.ids.windows(2).map(|w| merges.get(w[0], w[1]));
        self.few.begin(self.ids.iter().copied(), rules);
        let left = self.few.merge(merges, n, self.features);
        let mut kept = 0;
        for i in 0..n {
            if left >> i & 1 == 1 {
                (self.ids[kept], self.lens[kept]) = (self.few.ids[i], self.lens[i]);
                kept += 1;
            } else {
                self.lens[kept - 1] += self.lens[i];
            }
        }
        self.ids.truncate(kept);
        self.lens.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// BPE as one would write it on a page: merge the lowest rank, leftmost first, until none is left.
    fn reference(rules: &[[u32; 4]], mut ids: Vec<u32>) -> Vec<u32> {
        let rule = |a, b| rules.iter().rev().find(|r| r[0] == a && r[1] == b);
        loop {
            let ranked =
                (1..ids.len()).filter_map(|i| rule(ids[i - 1], ids[i]).map(|r| (r[2], i, r[3])));
            let Some((_, i, new)) = ranked.min() else {
                return ids;
            };
            ids[i - 1] = new;
            ids.remove(i);
        }
    }

    /// The symbols of which a token is made.
    fn symbols(rules: &[[u32; 4]], id: u32) -> Vec<u32> {
        match rules.iter().find(|r| r[3] == id) {
            Some(&[a, b, ..]) => [symbols(rules, a), symbols(rules, b)].concat(),
            None => vec![id],
        }
    }

    proptest! {
        #[test]
        fn both_ways_equal_the_reference(
            pairs in proptest::collection::vec((0usize..40, 0usize..40), 0..40),
            runs in proptest::collection::vec((0u32..4, 1usize..20), 0..12),
        ) {
            let ids: Vec<u32> = runs.iter().flat_map(|&(id, n)| vec![id; n]).collect();
            // Rule k makes token 4 + k of tokens that exist by then; ids and ranks are distinct.
            let rules: Vec<[u32; 4]> = pairs.iter().enumerate().map(|(k, &(a, b))| {
                [(a % (4 + k)) as u32, (b % (4 + k)) as u32, k as u32, 4 + k as u32]
            }).collect();
            // A pair may come twice; the last rule counts, so ranks need not grow with tokens.
            let merges = Merges::new(&rules);
            let expected = reference(&rules, ids.clone());
            for way in 0..4 {
                let mut m = Merger::default();
                for &i in &ids {
                    m.push(i, 1);
                }
                match way {
                    _ if ids.len() < 2 => {}
                    0 if ids.len() <= FEW => m.run_few(&merges),
                    1 => drop(m.run_repeated(&merges) || { m.run_heap(&merges); true }),
                    2 => drop(m.run_windows(&merges) || { m.run_heap(&merges); true }),
                    _ => m.run_heap(&merges),
                }
                prop_assert_eq!(&m.ids, &expected);
                prop_assert_eq!(m.lens.iter().sum::<u32>() as usize, ids.len());
            }
            // The rules that make tokens of themselves are all that are ever used.
            let tokens: Vec<Vec<u32>> = rules.iter().map(|rule| symbols(&rules, rule[3])).collect();
            let used = merges.used(&rules, &tokens);
            let mut m = Merger::default();
            for &i in &ids {
                m.push(i, 1);
            }
            m.run(&Merges::new(&used));
            prop_assert_eq!(&m.ids, &expected);
        }
    }
}
