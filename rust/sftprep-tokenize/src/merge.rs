//! Byte-pair merging of one unit, exactly as `tokenizers` merges: always the pair of the lowest
//! rank, the leftmost of equals.

use crate::slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No merge for a pair.
pub(crate) const NONE: u32 = u32::MAX;

/// Ids are below this, so that two of them and a rank are one word.
pub(crate) const MAX_ID: u32 = 1 << ID_BITS;
/// Ranks are below this.
pub(crate) const MAX_RANK: u32 = 1 << RANK_BITS;
const ID_BITS: u32 = 21;
const RANK_BITS: u32 = 22;
const EMPTY: u64 = u64::MAX;

/// Merge rules: an open-addressed table from pairs of ids to ranks, one word each. (Four words of
/// 32 bits in a table half as full made a miss take twice as long: a lookup is one cache line
/// fetched from far away.)
#[derive(Default)]
pub(crate) struct Merges {
    /// Left id, right id, rank; all ones in an empty slot.
    pub(crate) slots: Slab<u64>,
    /// The id that a rule makes, by rank.
    pub(crate) made: Slab<u32>,
    /// Rank of every pair of single bytes (byte-level vocabularies): the first look at a unit
    /// touches few cache lines.
    pub(crate) bytes: Slab<u32>,
}

#[inline]
const fn pair(a: u32, b: u32) -> u64 {
    (a as u64) << ID_BITS | b as u64
}

impl Merges {
    /// Builds the table; of equal pairs the last counts, as in `tokenizers`.
    pub(crate) fn new(rules: &[[u32; 4]]) -> Self {
        let size = (rules.len() * 3 / 2).next_power_of_two().max(16);
        let mut slots = vec![EMPTY; size];
        let ranks = rules.iter().map(|r| r[2] as usize + 1).max();
        let mut made = vec![0; ranks.unwrap_or(0)];
        for &[a, b, rank, new] in rules {
            let at = find(&slots, pair(a, b));
            slots[at] = pair(a, b) << RANK_BITS | u64::from(rank);
            made[rank as usize] = new;
        }
        Self {
            slots: slots.into(),
            made: made.into(),
            bytes: Slab::default(),
        }
    }

    /// Whether lookups end.
    pub(crate) fn sound(&self) -> bool {
        self.slots.len().is_power_of_two()
            && self.slots.contains(&EMPTY)
            && (self.bytes.is_empty() || self.bytes.len() == 1 << 16)
    }

    /// Fills the table of byte pairs.
    pub(crate) fn index_bytes(&mut self, ids: &[u32]) {
        let pairs = ids.iter().flat_map(|&a| ids.iter().map(move |&b| (a, b)));
        let ranks: Vec<u32> = pairs.map(|(a, b)| self.rank(a, b)).collect();
        self.bytes = ranks.into();
    }

    /// The rank of a pair, `NONE` where it does not merge.
    #[inline]
    pub(crate) fn rank(&self, a: u32, b: u32) -> u32 {
        if a >= MAX_ID || b >= MAX_ID {
            return NONE; // a byte that no text holds may have no id
        }
        let slot = self.slots[find(&self.slots, pair(a, b))];
        if slot == EMPTY {
            NONE
        } else {
            slot as u32 & (MAX_RANK - 1)
        }
    }

    #[inline]
    fn made(&self, rank: u32) -> u32 {
        self.made[rank as usize]
    }
}

/// The slot of a pair, or the empty one where it would be.
#[inline]
fn find(slots: &[u64], pair: u64) -> usize {
    let mask = slots.len() - 1;
    let hash = (pair ^ pair >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut at = (hash >> (64 - slots.len().trailing_zeros())) as usize & mask;
    while slots[at] != EMPTY && slots[at] >> RANK_BITS != pair {
        at = (at + 1) & mask;
    }
    at
}

/// Scratch memory of merging.
#[derive(Default)]
pub(crate) struct Merger {
    /// Ids and lengths in bytes of the symbols; after `run` those of the tokens.
    pub(crate) ids: Vec<u32>,
    pub(crate) lens: Vec<u32>,
    prev: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

/// Symbols that `merge_few` takes.
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
        self.ids.extend(unit.iter().map(|&b| ids[usize::from(b)]));
        self.lens.resize(unit.len(), 1);
        if !(2..=FEW).contains(&unit.len()) {
            return self.run(merges);
        }
        let mut keys = [NONE; FEW];
        for (i, w) in unit.windows(2).enumerate() {
            keys[i] = key(merges.bytes[usize::from(w[0]) << 8 | usize::from(w[1])], i);
        }
        self.merge_few(merges, keys);
    }

    /// Merges the symbols pushed since `clear`.
    pub(crate) fn run(&mut self, merges: &Merges) {
        match self.ids.len() {
            0 | 1 => {}
            2..=FEW => self.run_few(merges),
            _ => self.run_long(merges),
        }
    }

    fn run_few(&mut self, merges: &Merges) {
        let mut keys = [NONE; FEW];
        for (i, w) in self.ids.windows(2).enumerate() {
            keys[i] = key(merges.rank(w[0], w[1]), i);
        }
        self.merge_few(merges, keys);
    }

    /// Symbols stay where they are, a bit mask tells which are left, and the lowest of all keys
    /// (rank and place in one word) is found anew for every merge: a few vector instructions.
    fn merge_few(&mut self, merges: &Merges, mut keys: [u32; FEW]) {
        let n = self.ids.len();
        let (ids, lens) = (&mut self.ids[..n.min(FEW)], &mut self.lens[..n.min(FEW)]);
        let mut left: u32 = u32::MAX >> (FEW - ids.len());
        loop {
            let lowest = if n <= FEW / 2 {
                keys[..FEW / 2].iter().fold(NONE, |m, &k| m.min(k))
            } else {
                keys.iter().fold(NONE, |m, &k| m.min(k))
            };
            if lowest == NONE {
                break;
            }
            let i = lowest as usize % FEW;
            let after = left & (!1 << i);
            let j = after.trailing_zeros() as usize;
            let beyond = after & after.wrapping_sub(1);
            ids[i] = merges.made(lowest / FEW as u32);
            lens[i] += lens[j];
            left &= !(1 << j);
            keys[j] = NONE;
            keys[i] = match beyond {
                0 => NONE,
                m => key(merges.rank(ids[i], ids[m.trailing_zeros() as usize]), i),
            };
            let before = left & ((1 << i) - 1);
            if before != 0 {
                let h = 31 - before.leading_zeros() as usize;
                keys[h] = key(merges.rank(ids[h], ids[i]), h);
            }
        }
        let mut kept = 0;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            (ids[kept], lens[kept]) = (ids[i], lens[i]);
            kept += 1;
        }
        self.ids.truncate(kept);
        self.lens.truncate(kept);
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
            let rank = merges.rank(ids[i], ids[i + 1]);
            if rank != NONE {
                first.push(Reverse((rank, i as u32)));
            }
        }
        *heap = BinaryHeap::from(first);
        while let Some(Reverse((rank, at))) = heap.pop() {
            let i = at as usize;
            if lens[i] == 0 || next[i] as usize >= n {
                continue;
            }
            let j = next[i] as usize;
            if merges.rank(ids[i], ids[j]) != rank {
                continue; // one of the two has merged with another meanwhile
            }
            ids[i] = merges.made(rank);
            lens[i] += lens[j];
            lens[j] = 0;
            next[i] = next[j];
            if (next[i] as usize) < n {
                prev[next[i] as usize] = at;
                let rank = merges.rank(ids[i], ids[next[i] as usize]);
                if rank != NONE {
                    heap.push(Reverse((rank, at)));
                }
            }
            if prev[i] != NONE {
                let rank = merges.rank(ids[prev[i] as usize], ids[i]);
                if rank != NONE {
                    heap.push(Reverse((rank, prev[i])));
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

/// Rank and place of a pair in one word, ordered as merging wants them.
#[inline]
const fn key(rank: u32, at: usize) -> u32 {
    if rank == NONE {
        NONE
    } else {
        rank * FEW as u32 + at as u32
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
                    if long || ids.len() > FEW { m.run_long(&merges) } else { m.run_few(&merges) }
                }
                prop_assert_eq!(&m.ids, &expected);
                prop_assert_eq!(m.lens.iter().sum::<u32>() as usize, ids.len());
            }
        }
    }
}
