//! Byte-pair merging of one unit, exactly as `tokenizers` merges: always the pair of the lowest
//! rank, the leftmost of equals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No merge for a pair.
const NONE: u32 = u32::MAX;

/// Merge rules: pairs of ids to rank and new id, in an open-addressed table at most half full.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Merges {
    /// `[left, right, rank, new]`; `left == NONE` marks an empty slot.
    pub(crate) slots: Vec<[u32; 4]>,
    /// Rank and new id of every pair of single bytes (byte-level vocabularies): the first look at a
    /// unit touches few cache lines.
    bytes: Vec<(u32, u32)>,
}

#[inline]
fn hash(a: u32, b: u32) -> u64 {
    let x = u64::from(a) << 32 | u64::from(b);
    (x ^ x >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Merges {
    /// Builds the table; of equal pairs the last counts, as in `tokenizers`.
    pub(crate) fn new(rules: &[[u32; 4]]) -> Self {
        let size = (rules.len() * 2).next_power_of_two().max(16);
        let mut table = Self::from_slots(vec![[NONE; 4]; size]);
        for &rule in rules {
            let at = table.find(rule[0], rule[1]);
            table.slots[at] = rule;
        }
        table
    }

    /// Whether lookups end.
    pub(crate) fn sound(&self) -> bool {
        self.slots.len().is_power_of_two() && self.slots.iter().any(|s| s[0] == NONE)
    }

    pub(crate) fn from_slots(slots: Vec<[u32; 4]>) -> Self {
        Self {
            slots,
            bytes: Vec::new(),
        }
    }

    /// Fills the table of byte pairs.
    pub(crate) fn index_bytes(&mut self, ids: &[u32]) {
        let pairs = ids.iter().flat_map(|&a| ids.iter().map(move |&b| (a, b)));
        self.bytes = pairs.map(|(a, b)| self.get(a, b)).collect();
    }

    /// The slot of a pair, or the empty one where it would be.
    #[inline]
    fn find(&self, a: u32, b: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (hash(a, b) >> (64 - self.slots.len().trailing_zeros())) as usize & mask;
        while self.slots[at][0] != NONE && self.slots[at][..2] != [a, b] {
            at = (at + 1) & mask;
        }
        at
    }

    /// `(rank, new id)`, rank `NONE` where the pair does not merge.
    #[inline]
    fn get(&self, a: u32, b: u32) -> (u32, u32) {
        let slot = &self.slots[self.find(a, b)];
        (slot[2], slot[3])
    }
}

/// Scratch memory of merging.
#[derive(Default)]
pub(crate) struct Merger {
    /// Ids and lengths in bytes of the symbols; after `run` those of the tokens.
    pub(crate) ids: Vec<u32>,
    pub(crate) lens: Vec<u32>,
    ranks: Vec<(u32, u32)>,
    prev: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

/// Up to here looking for the lowest rank again after every merge beats a heap.
const SHORT: usize = 40;

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
        self.ids.extend(unit.iter().map(|&b| ids[usize::from(b)]));
        self.lens.resize(unit.len(), 1);
        if !(2..=SHORT).contains(&unit.len()) {
            return self.run(merges);
        }
        self.ranks.clear();
        let pair = |w: &[u8]| merges.bytes[usize::from(w[0]) << 8 | usize::from(w[1])];
        self.ranks.extend(unit.windows(2).map(pair));
        self.merge_ranked(merges);
    }

    /// Merges the symbols pushed since `clear`.
    pub(crate) fn run(&mut self, merges: &Merges) {
        match self.ids.len() {
            0 | 1 => {}
            2..=SHORT => self.run_short(merges),
            _ => self.run_long(merges),
        }
    }

    fn run_short(&mut self, merges: &Merges) {
        self.ranks.clear();
        self.ranks
            .extend(self.ids.windows(2).map(|w| merges.get(w[0], w[1])));
        self.merge_ranked(merges);
    }

    fn merge_ranked(&mut self, merges: &Merges) {
        let (ids, lens, ranks) = (&mut self.ids, &mut self.lens, &mut self.ranks);
        loop {
            let mut best = (NONE, 0);
            for (i, &(rank, _)) in ranks.iter().enumerate() {
                if rank < best.0 {
                    best = (rank, i);
                }
            }
            let (rank, i) = best;
            if rank == NONE {
                return;
            }
            ids[i] = ranks[i].1;
            lens[i] += lens[i + 1];
            ids.remove(i + 1);
            lens.remove(i + 1);
            ranks.remove(i);
            if i < ranks.len() {
                ranks[i] = merges.get(ids[i], ids[i + 1]);
            }
            if i > 0 {
                ranks[i - 1] = merges.get(ids[i - 1], ids[i]);
            }
        }
    }

    fn run_long(&mut self, merges: &Merges) {
        let n = self.ids.len();
        let (ids, lens, heap) = (&mut self.ids, &mut self.lens, &mut self.heap);
        let (prev, next) = (&mut self.prev, &mut self.next);
        prev.clear();
        next.clear();
        prev.extend((0..n as u32).map(|i| i.wrapping_sub(1)));
        next.extend(1..=n as u32);
        heap.clear();
        let mut first: Vec<_> = std::mem::take(heap).into_vec();
        for i in 0..n - 1 {
            let (rank, new) = merges.get(ids[i], ids[i + 1]);
            if rank != NONE {
                first.push(Reverse((rank, i as u32, new)));
            }
        }
        *heap = BinaryHeap::from(first);
        while let Some(Reverse((rank, at, new))) = heap.pop() {
            let i = at as usize;
            if lens[i] == 0 || next[i] as usize >= n {
                continue;
            }
            let j = next[i] as usize;
            if merges.get(ids[i], ids[j]) != (rank, new) {
                continue; // one of the two has merged with another meanwhile
            }
            ids[i] = new;
            lens[i] += lens[j];
            lens[j] = 0;
            next[i] = next[j];
            if (next[i] as usize) < n {
                prev[next[i] as usize] = at;
                let (rank, new) = merges.get(ids[i], ids[next[i] as usize]);
                if rank != NONE {
                    heap.push(Reverse((rank, at, new)));
                }
            }
            if prev[i] != NONE {
                let (rank, new) = merges.get(ids[prev[i] as usize], ids[i]);
                if rank != NONE {
                    heap.push(Reverse((rank, prev[i], new)));
                }
            }
        }
        let mut kept = 0;
        for i in 0..n {
            if lens[i] != 0 {
                (ids[kept], lens[kept]) = (ids[i], lens[i]);
                kept += 1;
            }
        }
        ids.truncate(kept);
        lens.truncate(kept);
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

    proptest! {
        #[test]
        fn both_ways_equal_the_reference(
            pairs in proptest::collection::vec((0usize..40, 0usize..40), 0..40),
            ids in proptest::collection::vec(0u32..4, 0..90),
        ) {
            // Rule k makes token 4 + k of tokens that exist by then; ids and ranks are distinct.
            let rules: Vec<[u32; 4]> = pairs.iter().enumerate().map(|(k, &(a, b))| {
                [(a % (4 + k)) as u32, (b % (4 + k)) as u32, k as u32, 4 + k as u32]
            }).collect();
            // A pair may come twice; the last rule counts, so ranks need not grow with tokens.
            let merges = Merges::new(&rules);
            let expected = reference(&rules, ids.clone());
            for long in [false, true] {
                let mut m = Merger::default();
                for &i in &ids {
                    m.push(i, 1);
                }
                if ids.len() > 1 {
                    if long { m.run_long(&merges) } else { m.run_short(&merges) }
                }
                prop_assert_eq!(&m.ids, &expected);
                prop_assert_eq!(m.lens.iter().sum::<u32>() as usize, ids.len());
            }
        }
    }
}
