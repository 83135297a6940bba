//! Merge rules: tables from pairs of ids to ranks and new ids.
//!
//! A unit that is not known costs a dozen lookups, each waiting for the one before; nearly all of
//! that time goes into fetching lines from far away. So most lookups end in tables that stay near
//! (two bits per hash of all pairs say that there is no rule, and the rules of low rank, which most
//! merges use, have a table of their own), what is left is one word to fetch, and there are no more
//! rules than can ever be used (`used`).
//!
//! Tried and dropped: four words of 32 bits to a rule in one table half as full (a miss took three
//! times as long); the new ids in a list of their own by rank (a second fetch from far away for
//! every rule that was found); the longest tokens from left to right by a trie, each two neighbours
//! proven by going back through their merges (an exact way to the same tokens with half the
//! instructions, but 20 loads to a token from 5 MB more of tables: as slow, and the tables took
//! seconds to make).

use crate::slab::{Slab, prefetch};

/// No merge for a pair.
pub(crate) const NONE: u32 = u32::MAX;

/// Ids are below this.
pub(crate) const MAX_ID: u32 = 1 << 20;
/// Ranks are below this, so that one fits beside a place in a word.
pub(crate) const MAX_RANK: u32 = 1 << 22;
const EMPTY: u64 = u64::MAX;

/// The tables.
#[derive(Default)]
pub(crate) struct Merges {
    /// Every rule in one word: what of its pair its place does not tell, how far it stands from its
    /// place, rank, new id. All ones in an empty slot.
    pub(crate) slots: Slab<u64>,
    /// Bits of an id and of a rank in these words.
    pub(crate) bits: [u32; 2],
    /// Left and right id, rank and new id of rules of low ranks.
    pub(crate) near: Slab<u64>,
    /// Two bits of a word per hash of a pair.
    pub(crate) filter: Slab<u64>,
    /// Rank and new id of every pair of single bytes (byte-level vocabularies).
    pub(crate) bytes: Slab<[u32; 2]>,
}

/// Ids, ranks and new ids of the near table are below these powers of two.
const NEAR_ID: u32 = 15;
const NEAR_RANK: u32 = 14;
const NEAR_NEW: u32 = 20;

/// How far a rule may stand from its place: less than two to the power of this.
const FAR: u32 = 5;

#[inline]
const fn hash(a: u32, b: u32) -> u64 {
    let pair = (a as u64) << 32 | b as u64;
    (pair ^ pair >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Turns a pair of ids of some bits into another number of as many bits, and no two into the same:
/// so its place in a table and the bits that do not tell the place are the pair.
#[inline]
const fn mixed(a: u32, b: u32, bits: u32) -> u64 {
    let all = (1 << (2 * bits)) - 1;
    let mut x = (a as u64) << bits | b as u64;
    x = (x ^ x >> bits).wrapping_mul(0x9E37_79B9_7F4A_7C15) & all;
    (x ^ x >> bits).wrapping_mul(0xD6E8_FEB8_6659_FD93) & all
}

/// Bits of the numbers below and up to `n`.
const fn width(n: u32) -> u32 {
    u32::BITS - n.leading_zeros()
}

impl Merges {
    /// Builds the tables from rules (left id, right id, rank, new id; ids and ranks as the limits
    /// above say); of equal pairs the last counts, as in `tokenizers`.
    pub(crate) fn new(rules: &[[u32; 4]]) -> Self {
        let largest = |f: fn(&[u32; 4]) -> u32| rules.iter().map(f).max().unwrap_or(0);
        let bits = [
            width(largest(|r| r[0].max(r[1]).max(r[3]))).max(8),
            width(largest(|r| r[2])).max(1),
        ];
        // Of equal pairs the last is the first after sorting.
        let mut sorted: Vec<_> = rules.iter().rev().collect();
        sorted.sort_by_key(|r| mixed(r[0], r[1], bits[0]));
        sorted.dedup_by_key(|r| (r[0], r[1]));
        let mut new = Self {
            bits,
            near: vec![EMPTY; 2 << NEAR_RANK].into(),
            filter: vec![0u64; (sorted.len() * 5).next_power_of_two().max(64) / 64].into(),
            ..Self::default()
        };
        let mut size = (sorted.len() * 3 / 2).next_power_of_two().max(16);
        new.slots = loop {
            if let Some(slots) = new.placed(&sorted, size) {
                break slots.into();
            }
            size *= 2;
        };
        for &&[a, b, rank, id] in &sorted {
            let hash = hash(a, b);
            let (word, bits) = new.filter_bits(hash);
            new.filter.writable()[word] |= bits;
            // (One less: all ones is an empty slot.)
            let fits = a < (1 << NEAR_ID) - 1 && b < 1 << NEAR_ID && id < 1 << NEAR_NEW;
            if fits && rank < 1 << NEAR_RANK {
                let at = find_near(&new.near, near_pair(a, b), hash);
                new.near.writable()[at] = near_pair(a, b) << (NEAR_RANK + NEAR_NEW)
                    | u64::from(rank) << NEAR_NEW
                    | u64::from(id);
            }
        }
        new
    }

    /// Rules, sorted by their places, in a table of `size`; `None` where one would stand too far
    /// from its place or a word is too small.
    fn placed(&self, sorted: &[&[u32; 4]], size: usize) -> Option<Vec<u64>> {
        let [id_bits, rank_bits] = self.bits;
        let rest = (2 * id_bits).checked_sub(size.trailing_zeros())?;
        let mut slots = vec![EMPTY; size + (1 << FAR)];
        let mut free = 0;
        for &&[a, b, rank, id] in sorted {
            let x = mixed(a, b, id_bits);
            let at = free.max((x >> rest) as usize);
            let far = (at - (x >> rest) as usize) as u64;
            if far + 1 >= 1 << FAR {
                return None;
            }
            let key = (x & ((1 << rest) - 1)) << FAR | far;
            slots[at] = (key << rank_bits | u64::from(rank)) << id_bits | u64::from(id);
            free = at + 1;
        }
        let fits = rest + FAR + rank_bits + id_bits <= u64::BITS;
        fits.then_some(slots)
    }

    /// Whether lookups stay within the tables and end.
    pub(crate) fn sound(&self) -> bool {
        let size = self.slots.len().wrapping_sub(1 << FAR);
        let [id_bits, rank_bits] = self.bits;
        size.is_power_of_two()
            && (8..=20).contains(&id_bits)
            && (1..=22).contains(&rank_bits)
            && size.trailing_zeros() <= 2 * id_bits
            && self.near.len() == 2 << NEAR_RANK
            && self.near.contains(&EMPTY)
            && self.filter.len().is_power_of_two()
            && (self.bytes.is_empty() || self.bytes.len() == 1 << 16)
    }

    /// Fills the table of byte pairs.
    pub(crate) fn index_bytes(&mut self, ids: &[u32]) {
        let pairs = ids.iter().flat_map(|&a| ids.iter().map(move |&b| (a, b)));
        let found: Vec<[u32; 2]> = pairs.map(|(a, b)| self.get(a, b)).collect();
        self.bytes = found.into();
    }

    /// The rules of some that make the tokens of a vocabulary, with their ranks counted anew; the
    /// others are never used. `tokens` are the symbols of each token.
    ///
    /// A token that stands in a text after merging stands where no merge crossed its ends. So all
    /// that happened in between happened as if it stood alone: the last rule is the one that makes
    /// it of itself. (Vocabularies that were not learned as merges come with a rule for every way to
    /// cut a token in two, twice as many as tokens.)
    pub(crate) fn used(&self, rules: &[[u32; 4]], tokens: &[Vec<u32>]) -> Vec<[u32; 4]> {
        let last = rules.iter().map(|r| r[2] as usize + 1).max().unwrap_or(0);
        let mut used = vec![false; last];
        for symbols in tokens {
            if let Some(rank) = self.last_rule(symbols.clone()) {
                used[rank as usize] = true;
            }
        }
        let mut kept: Vec<_> = rules
            .iter()
            .filter(|r| used[r[2] as usize])
            .copied()
            .collect();
        kept.sort_by_key(|r| r[2]);
        for (rank, rule) in kept.iter_mut().enumerate() {
            rule[2] = rank as u32;
        }
        kept
    }

    /// Rank of the rule with which merging ends, where it ends with one token.
    fn last_rule(&self, mut ids: Vec<u32>) -> Option<u32> {
        let mut last = None;
        while ids.len() > 1 {
            let pairs = ids.windows(2).enumerate();
            let ranked = pairs.map(|(i, w)| (self.get(w[0], w[1]), i));
            let ([rank, new], i) = ranked.min_by_key(|([rank, _], i)| (*rank, *i))?;
            if rank == NONE {
                return None;
            }
            ids[i] = new;
            ids.remove(i + 1);
            last = Some(rank);
        }
        last
    }

    /// Rank and new id of a pair, rank `NONE` where it does not merge.
    #[inline(always)]
    #[allow(clippy::inline_always)] // two thirds end at the filter, where a call costs as much
    pub(crate) fn get(&self, a: u32, b: u32) -> [u32; 2] {
        let hash = hash(a, b);
        if self.may_have(hash) {
            self.rule(a, b, hash)
        } else {
            [NONE; 2]
        }
    }

    /// What a symbol makes with the one after it and what the one before makes with it; either may
    /// be missing.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as `get`
    pub(crate) fn around(&self, before: Option<u32>, id: u32, after: Option<u32>) -> [[u32; 2]; 2] {
        let hashes = [before.map(|b| hash(b, id)), after.map(|a| hash(id, a))];
        // All lines that may be needed, at once: what waits for them is short.
        if let Some(b) = before {
            self.prefetch(b, id, hashes[0].unwrap_or(0));
        }
        if let Some(a) = after {
            self.prefetch(id, a, hashes[1].unwrap_or(0));
        }
        let [left, right] = hashes.map(|h| h.is_some_and(|h| self.may_have(h)));
        let rule = |yes: bool, a: Option<u32>, b: Option<u32>, hash: Option<u64>| match (a, b, hash)
        {
            (Some(a), Some(b), Some(hash)) if yes => self.rule(a, b, hash),
            _ => [NONE; 2],
        };
        [
            rule(left, before, Some(id), hashes[0]),
            rule(right, Some(id), after, hashes[1]),
        ]
    }

    /// The same for a pair that passes the filter.
    #[inline(never)]
    fn rule(&self, a: u32, b: u32, hash: u64) -> [u32; 2] {
        if a < (1 << NEAR_ID) - 1 && b < 1 << NEAR_ID {
            let slot = self.near[find_near(&self.near, near_pair(a, b), hash)];
            if slot != EMPTY {
                let rank = (slot >> NEAR_NEW) as u32 & ((1 << NEAR_RANK) - 1);
                return [rank, slot as u32 & ((1 << NEAR_NEW) - 1)];
            }
        }
        let [id_bits, rank_bits] = self.bits;
        // (A byte that no text holds may have no id.)
        if (a | b) >> id_bits != 0 {
            return [NONE; 2];
        }
        let (home, rest) = self.home(a, b);
        for (far, &slot) in self.slots[home..].iter().take(1 << FAR).enumerate() {
            if slot >> (id_bits + rank_bits) == rest << FAR | far as u64 {
                let rank = (slot >> id_bits) as u32 & ((1 << rank_bits) - 1);
                return [rank, slot as u32 & ((1 << id_bits) - 1)];
            }
            if slot == EMPTY {
                break;
            }
        }
        [NONE; 2]
    }

    /// Place of a pair, and what of it the place does not tell.
    #[inline]
    fn home(&self, a: u32, b: u32) -> (usize, u64) {
        let size = self.slots.len() - (1 << FAR);
        let rest = 2 * self.bits[0] - size.trailing_zeros();
        let x = mixed(a, b, self.bits[0]);
        ((x >> rest) as usize & (size - 1), x & ((1 << rest) - 1))
    }

    /// Asks for the lines in which a rule stands, if there is one.
    #[inline]
    fn prefetch(&self, a: u32, b: u32, hash: u64) {
        prefetch(&self.near[(hash >> (64 - NEAR_RANK - 1)) as usize & (self.near.len() - 1)]);
        prefetch(&self.slots[self.home(a, b).0]);
    }

    /// Place and bits of a pair in the filter: two bits of one word, which pass half as many pairs
    /// that have no rule as one bit would. (From the middle of the hash, of which the near table
    /// takes the top.)
    #[inline]
    fn filter_bits(&self, hash: u64) -> (usize, u64) {
        let word = (hash >> 24) as usize & (self.filter.len() - 1);
        (word, 1 << (hash >> 12 & 63) | 1 << (hash >> 18 & 63))
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = self.filter_bits(hash);
        self.filter[word] & bits == bits
    }
}

#[inline]
const fn near_pair(a: u32, b: u32) -> u64 {
    (a as u64) << NEAR_ID | b as u64
}

/// The slot of a pair in the near table, or the empty one where it would be.
#[inline]
fn find_near(slots: &[u64], pair: u64, hash: u64) -> usize {
    let mask = slots.len() - 1;
    let mut at = (hash >> (64 - NEAR_RANK - 1)) as usize & mask;
    while slots[at] != EMPTY && slots[at] >> (NEAR_RANK + NEAR_NEW) != pair {
        at = (at + 1) & mask;
    }
    at
}
