//! Byte-pair merging of one unit, exactly as `tokenizers` merges: always the pair of the lowest
//! rank, the leftmost of equals.

mod long;

use crate::blocks::Features;
use crate::slab::{Slab, prefetch};

/// No merge for a pair.
pub(crate) const NONE: u32 = u32::MAX;

/// Ids are below this, so that two of them and a rank are one word.
pub(crate) const MAX_ID: u32 = 1 << ID_BITS;
/// Ranks are below this.
pub(crate) const MAX_RANK: u32 = 1 << RANK_BITS;
const ID_BITS: u32 = 21;
const RANK_BITS: u32 = 22;
const EMPTY: u64 = u64::MAX;

/// Merge rules: open-addressed tables from pairs of ids to ranks and new ids, one word to a rule.
///
/// A unit that is not known costs a dozen lookups, each waiting for the one before; nearly all of
/// that time went into fetching lines from far away. So most lookups end in tables that stay near:
/// two bits per hash of all pairs say that there is no rule, and the rules of low rank, which most
/// merges use, have a table of their own.
///
/// Tried and dropped: four words of 32 bits to a rule in one table half as full (a miss took three
/// times as long); the longest tokens from left to right by a trie, each two neighbours proven by
/// going back through their merges (an exact way to the same tokens with half the instructions, but
/// 20 loads to a token from 5 MB more of tables: as slow, and the tables took seconds to make).
#[derive(Default)]
pub(crate) struct Merges {
    /// Left id, right id, rank; all ones in an empty slot.
    pub(crate) slots: Slab<u64>,
    /// The id that a rule makes, by rank; empty where that is the rank and `first`.
    pub(crate) made: Slab<u32>,
    pub(crate) first: u32,
    /// Left and right id, rank and new id of rules of low ranks.
    pub(crate) near: Slab<u64>,
    /// One bit per hash of a pair.
    pub(crate) filter: Slab<u64>,
    /// Rank and new id of every pair of single bytes (byte-level vocabularies).
    pub(crate) bytes: Slab<[u32; 2]>,
}

/// Ids, ranks and new ids of the near table are below these powers of two.
const NEAR_ID: u32 = 15;
const NEAR_RANK: u32 = 14;
const NEAR_NEW: u32 = 20;

#[inline]
const fn pair(a: u32, b: u32) -> u64 {
    (a as u64) << ID_BITS | b as u64
}

#[inline]
const fn hash(pair: u64) -> u64 {
    (pair ^ pair >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Merges {
    /// Builds the tables; of equal pairs the last counts, as in `tokenizers`.
    pub(crate) fn new(rules: &[[u32; 4]]) -> Self {
        let size = (rules.len() * 3 / 2).next_power_of_two().max(16);
        let mut slots = vec![EMPTY; size];
        let ranks = rules.iter().map(|r| r[2] as usize + 1).max();
        let mut made = vec![0; ranks.unwrap_or(0)];
        let mut filter = vec![0u64; (rules.len() * 5).next_power_of_two().max(64) / 64];
        for &[a, b, rank, new] in rules {
            let at = find::<{ RANK_BITS }>(&slots, pair(a, b), hash(pair(a, b)));
            slots[at] = pair(a, b) << RANK_BITS | u64::from(rank);
            made[rank as usize] = new;
            let (word, bits) = filter_bits(&filter, hash(pair(a, b)));
            filter[word] |= bits;
        }
        let mut near = vec![EMPTY; 2 << NEAR_RANK];
        for slot in slots.iter().filter(|s| **s != EMPTY) {
            let rank = *slot as u32 & (MAX_RANK - 1);
            let pair = slot >> RANK_BITS;
            let (a, b) = ((pair >> ID_BITS) as u32, pair as u32 & (MAX_ID - 1));
            let new = made[rank as usize];
            // (One less: all ones is an empty slot.)
            let fits = a < (1 << NEAR_ID) - 1 && b < 1 << NEAR_ID && new < 1 << NEAR_NEW;
            if fits && rank < 1 << NEAR_RANK {
                let at = find::<{ NEAR_RANK + NEAR_NEW }>(&near, near_pair(a, b), hash(pair));
                near[at] = near_pair(a, b) << (NEAR_RANK + NEAR_NEW)
                    | u64::from(rank) << NEAR_NEW
                    | u64::from(new);
            }
        }
        let first = made.first().copied().unwrap_or(0);
        if made
            .iter()
            .zip(first..)
            .all(|(&id, expected)| id == expected)
        {
            made.clear();
        }
        Self {
            slots: slots.into(),
            made: made.into(),
            first,
            near: near.into(),
            filter: filter.into(),
            bytes: Slab::default(),
        }
    }

    /// Whether lookups end.
    pub(crate) fn sound(&self) -> bool {
        let ends = |t: &[u64]| t.len().is_power_of_two() && t.contains(&EMPTY);
        ends(&self.slots)
            && ends(&self.near)
            && self.filter.len().is_power_of_two()
            && (self.bytes.is_empty() || self.bytes.len() == 1 << 16)
    }

    /// Fills the table of byte pairs.
    pub(crate) fn index_bytes(&mut self, ids: &[u32]) {
        let pairs = ids.iter().flat_map(|&a| ids.iter().map(move |&b| (a, b)));
        let found: Vec<[u32; 2]> = pairs.map(|(a, b)| self.get(a, b)).collect();
        self.bytes = found.into();
    }

    /// Rank and new id of a pair, rank `NONE` where it does not merge.
    #[inline(always)]
    #[allow(clippy::inline_always)] // two thirds end at the filter, where a call costs as much
    pub(crate) fn get(&self, a: u32, b: u32) -> [u32; 2] {
        let hash = hash(pair(a, b));
        let (word, bits) = filter_bits(&self.filter, hash);
        if self.filter[word] & bits == bits {
            self.rule(a, b, hash)
        } else {
            [NONE; 2]
        }
    }

    /// The same for a pair that passes the filter.
    #[inline(never)]
    fn rule(&self, a: u32, b: u32, hash: u64) -> [u32; 2] {
        // (A byte that no text holds may have no id.)
        if a >= MAX_ID || b >= MAX_ID {
            return [NONE; 2];
        }
        if a < (1 << NEAR_ID) - 1 && b < 1 << NEAR_ID {
            let at = find::<{ NEAR_RANK + NEAR_NEW }>(&self.near, near_pair(a, b), hash);
            let slot = self.near[at];
            if slot != EMPTY {
                let rank = (slot >> NEAR_NEW) as u32 & ((1 << NEAR_RANK) - 1);
                return [rank, slot as u32 & ((1 << NEAR_NEW) - 1)];
            }
        }
        let slot = self.slots[find::<{ RANK_BITS }>(&self.slots, pair(a, b), hash)];
        if slot == EMPTY {
            return [NONE; 2];
        }
        let rank = slot as u32 & (MAX_RANK - 1);
        let new = match self.made.get(rank as usize) {
            Some(&id) => id,
            None => rank + self.first,
        };
        [rank, new]
    }

    /// Asks for the cache lines of a pair before they are needed.
    #[inline]
    pub(crate) fn prefetch(&self, a: u32, b: u32) {
        let hash = hash(pair(a, b));
        prefetch(&self.filter[filter_bits(&self.filter, hash).0]);
        let top = |slots: &[u64]| (hash >> (64 - slots.len().trailing_zeros())) as usize;
        if a >= 1 << NEAR_ID || b >= 1 << NEAR_ID {
            prefetch(&self.slots[top(&self.slots) & (self.slots.len() - 1)]);
        }
    }
}

#[inline]
const fn near_pair(a: u32, b: u32) -> u64 {
    (a as u64) << NEAR_ID | b as u64
}

/// Place and bits of a pair in the filter: two bits of one word, which pass half as many pairs that
/// have no rule as one bit would. (From the middle of the hash, of which the tables take the top.)
#[inline]
fn filter_bits(filter: &[u64], hash: u64) -> (usize, u64) {
    let word = (hash >> 24) as usize & (filter.len() - 1);
    (word, 1 << (hash >> 12 & 63) | 1 << (hash >> 18 & 63))
}

/// The slot of a pair, or the empty one where it would be; `SHIFT` bits of a slot are not the pair.
#[inline]
fn find<const SHIFT: u32>(slots: &[u64], pair: u64, hash: u64) -> usize {
    let mask = slots.len() - 1;
    let mut at = (hash >> (64 - slots.len().trailing_zeros())) as usize & mask;
    while slots[at] != EMPTY && slots[at] >> SHIFT != pair {
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
    long: long::Scratch,
    features: Features,
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
        let mut few = Few::new();
        for (i, w) in unit.windows(2).enumerate() {
            few.set(i, merges.bytes[usize::from(w[0]) << 8 | usize::from(w[1])]);
        }
        self.merge_few(merges, few);
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
        let mut few = Few::new();
        for (i, w) in self.ids.windows(2).enumerate() {
            few.set(i, merges.get(w[0], w[1]));
        }
        self.merge_few(merges, few);
    }

    #[allow(unsafe_code)]
    fn merge_few(&mut self, merges: &Merges, few: Few) {
        match self.features {
            Features::Plain => self.merge_all(merges, few),
            // SAFETY: `detect` has found that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => unsafe { self.merge_avx2(merges, few) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn merge_avx2(&mut self, merges: &Merges, few: Few) {
        self.merge_all(merges, few);
    }

    /// Symbols stay where they are, a bit mask tells which are left, and the lowest of all keys is
    /// found anew for every merge: a few vector instructions.
    #[inline(always)]
    #[allow(clippy::inline_always)] // it is compiled once for each set of instructions
    fn merge_all(&mut self, merges: &Merges, mut few: Few) {
        let n = self.ids.len().min(FEW);
        let (ids, lens) = (&mut self.ids[..n], &mut self.lens[..n]);
        let mut left: u32 = u32::MAX >> (FEW - n);
        loop {
            let lowest = few.lowest(n);
            if lowest == NO_KEY {
                break;
            }
            let i = lowest as usize % FEW;
            let after = left & (!1 << i);
            let j = after.trailing_zeros() as usize % FEW;
            let beyond = after & after.wrapping_sub(1);
            ids[i] = few.new[i];
            lens[i] += lens[j];
            left &= !(1 << j);
            few.keys[j] = NO_KEY;
            few.keys[i] = NO_KEY;
            if beyond != 0 {
                few.set(i, merges.get(ids[i], ids[beyond.trailing_zeros() as usize]));
            }
            let before = left & ((1 << i) - 1);
            if before != 0 {
                let h = 31 - before.leading_zeros() as usize;
                few.set(h, merges.get(ids[h], ids[i]));
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
}

/// What each of a few symbols makes with the next.
struct Few {
    /// Rank and place in one word, ordered as merging wants them. (Signed, which is what vector
    /// instructions compare.)
    keys: [i32; FEW],
    new: [u32; FEW],
}

/// No merge.
const NO_KEY: i32 = i32::MAX;

impl Few {
    fn new() -> Self {
        Self {
            keys: [NO_KEY; FEW],
            new: [0; FEW],
        }
    }

    #[inline]
    fn set(&mut self, i: usize, [rank, new]: [u32; 2]) {
        let key = (rank.wrapping_mul(FEW as u32)) as i32 | (i % FEW) as i32;
        self.keys[i % FEW] = if rank == NONE { NO_KEY } else { key };
        self.new[i % FEW] = new;
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // with the instructions of the loop that it is in
    fn lowest(&self, n: usize) -> i32 {
        let low = |keys: &[i32; FEW / 2]| keys.iter().fold(NO_KEY, |m, &k| m.min(k));
        let (halves, _) = self.keys.as_chunks::<{ FEW / 2 }>();
        if n <= FEW / 2 {
            low(&halves[0])
        } else {
            low(&halves[0]).min(low(&halves[1]))
        }
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
        }
    }
}
