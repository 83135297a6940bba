//! Pairs of characters that are three bytes each (Han, kana, full-width punctuation), and what
//! they encode to by themselves.
//!
//! Text of such scripts falls into units of one or two characters nearly everywhere (86% of the
//! units of a vocabulary with many Han words, 97% with few). One lookup per boundary says whether
//! a token may cross it and, where the two characters are the whole unit, what their tokens are: so
//! most text is encoded without a key, a hash of bytes or a cache. The table is perfect (no key
//! shares a slot with another), which makes the lookup free of branches.
//!
//! Tried and dropped: units through the cache of pieces as any other (a 16-byte key, its hash and
//! a line of 32 bytes each: three times slower, and much slower still before the cache was warm).

use crate::slab::Slab;

/// No token crosses the boundary between the two.
pub(crate) const CUT: u32 = 3 << 30;
/// They stay together, and the way through cache and merging tells their tokens.
pub(crate) const SLOW: u32 = 2 << 30;
/// They stay together and become one token each.
pub(crate) const TWO: u32 = 1 << 30;
// Any other value is the id of the one token that they become.

/// An empty slot; no pair (see `takes`).
const EMPTY: u64 = u64::MAX;

/// The tables.
#[derive(Default)]
pub(crate) struct Dense {
    /// What to add to the hashes of a bucket so that none of its keys meets another.
    pub(crate) pilots: Slab<u32>,
    /// Pair (two code points of 16 bits), value.
    pub(crate) slots: Slab<u64>,
    /// For every code point of up to 16 bits its one token, or `SLOW`.
    pub(crate) singles: Slab<u32>,
    pub(crate) seed: u32,
}

/// Puts ids and lengths in bytes of a text's tokens into a list.
pub(crate) type Encode<'a> = dyn FnMut(&str, &mut Vec<(u32, u32)>) + 'a;

/// Characters that the table is for.
const fn takes(c: u32) -> bool {
    matches!(c, 0x800..0xFFFF)
}

impl Dense {
    /// Builds the tables from pairs that some token holds side by side and from what one or two
    /// characters encode to: ids and lengths in bytes.
    pub(crate) fn new(pairs: &[(u32, u32)], encode: &mut Encode<'_>) -> Self {
        let mut tokens = Vec::new();
        let mut singles = vec![SLOW; 1 << 16];
        for c in 0x800..0xFFFF {
            let Some(c) = char::from_u32(c) else { continue };
            encode(c.encode_utf8(&mut [0; 4]), &mut tokens);
            if let [(id, _)] = *tokens {
                singles[c as usize] = id;
            }
        }
        let mut entries = Vec::with_capacity(pairs.len());
        for &(a, b) in pairs {
            let (Some(x), Some(y)) = (char::from_u32(a), char::from_u32(b)) else {
                continue;
            };
            if !takes(a) || !takes(b) {
                continue;
            }
            encode(&String::from_iter([x, y]), &mut tokens);
            let value = match *tokens {
                [(id, _)] => id,
                [(first, 3), (second, 3)]
                    if first == singles[a as usize] && second == singles[b as usize] =>
                {
                    TWO
                }
                _ => SLOW,
            };
            entries.push((a << 16 | b, value));
        }
        let placed = (1..64).find_map(|seed| Some((seed, Self::place(&entries, seed)?)));
        match placed {
            Some((seed, (pilots, slots))) => Self {
                pilots: pilots.into(),
                slots: slots.into(),
                singles: singles.into(),
                seed,
            },
            None => Self::default(),
        }
    }

    /// Finds a place for every entry with the hash of a seed, the largest buckets first.
    fn place(entries: &[(u32, u32)], seed: u32) -> Option<(Vec<u32>, Vec<u64>)> {
        let size = (entries.len() * 5 / 4).next_power_of_two().max(16);
        let mut buckets: Vec<Vec<(u32, u32)>> = vec![Vec::new(); (size / 4).max(2)];
        let bits = buckets.len().trailing_zeros();
        for &entry in entries {
            buckets[(hash(entry.0, seed) >> (64 - bits)) as usize].push(entry);
        }
        let mut order: Vec<usize> = (0..buckets.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(buckets[i].len()), i));
        let mut pilots = vec![0; buckets.len()];
        let mut slots = vec![EMPTY; size];
        let mut places = Vec::new();
        for i in order {
            let found = (0..1 << 20).find(|&pilot| {
                places.clear();
                buckets[i].iter().all(|&(key, _)| {
                    let at = slot(hash(key, seed), pilot, size);
                    let free = slots[at] == EMPTY && !places.contains(&at);
                    places.push(at);
                    free
                })
            })?;
            pilots[i] = found;
            for (&at, &(key, value)) in places.iter().zip(&buckets[i]) {
                slots[at] = u64::from(key) << 32 | u64::from(value);
            }
        }
        Some((pilots, slots))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether lookups stay within the tables.
    pub(crate) fn sound(&self) -> bool {
        let sizes = self.slots.len().is_power_of_two()
            && self.pilots.len().is_power_of_two()
            && self.pilots.len() > 1
            && self.slots.len() > 1
            && self.singles.len() == 1 << 16;
        sizes || (self.slots.is_empty() && self.pilots.is_empty() && self.singles.is_empty())
    }

    /// The tables for lookups; `None` where there are none.
    #[inline]
    pub(crate) fn lookup(&self) -> Option<Lookup<'_>> {
        Some(Lookup {
            pilots: &self.pilots,
            slots: &self.slots,
            singles: self.singles.first_chunk()?,
            seed: self.seed,
            shift: 64 - self.pilots.len().trailing_zeros(),
        })
    }
}

/// The tables, ready for many lookups.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pilots: &'a [u32],
    slots: &'a [u64],
    singles: &'a [u32; 1 << 16],
    seed: u32,
    shift: u32,
}

impl Lookup<'_> {
    /// What lies between two characters of three bytes: `CUT`, `SLOW`, `TWO` or an id.
    #[inline]
    pub(crate) fn pair(&self, a: u32, b: u32) -> u32 {
        let key = a << 16 | b;
        let h = hash(key, self.seed);
        let bucket = (h >> (self.shift & 63)) as usize;
        let pilot = self.pilots[bucket & (self.pilots.len() - 1)];
        let found = self.slots[slot(h, pilot, self.slots.len())];
        // (Half of all boundaries are cuts, in no order that a branch could learn.)
        let miss = u32::from((found >> 32) as u32 != key);
        found as u32 & miss.wrapping_sub(1) | CUT & miss.wrapping_neg()
    }

    /// The token of one character of three bytes, or `SLOW`.
    #[inline]
    pub(crate) fn single(&self, c: u32) -> u32 {
        self.singles[(c & 0xFFFF) as usize]
    }
}

#[inline]
fn hash(key: u32, seed: u32) -> u64 {
    let x = u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ u64::from(seed) << 32);
    x ^ x >> 29
}

#[inline]
fn slot(hash: u64, pilot: u32, size: usize) -> usize {
    let x = ((hash >> 12) as u32 ^ pilot.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0xC2B2_AE35);
    (x >> (32 - size.trailing_zeros())) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair is found with its value, and no other pair is.
    #[test]
    fn the_table_is_perfect() {
        let pairs: Vec<(u32, u32)> = (0..9000u32)
            .map(|i| (0x4E00 + i * 7 % 9001, 0x3000 + i * i % 20_011))
            .collect();
        let mut distinct = pairs.clone();
        distinct.sort_unstable();
        distinct.dedup();
        // A character is a token of its own code point; a pair is one token, two, or neither.
        let mut encode = |text: &str, out: &mut Vec<(u32, u32)>| {
            let codes: Vec<u32> = text.chars().map(u32::from).collect();
            out.clear();
            match *codes {
                [a, b] if (a + b) % 3 == 0 => out.push((a * 16 + b % 16, 6)),
                [a, b] if (a + b) % 3 == 1 => out.extend([(a, 3), (b, 3)]),
                [_, _] => out.extend([(1, 1), (2, 5)]),
                _ => out.push((codes[0], 3)),
            }
        };
        let table = Dense::new(&distinct, &mut encode);
        assert!(!table.is_empty() && table.sound());
        let table = table.lookup().unwrap();
        for &(a, b) in &distinct {
            let expected = match (a + b) % 3 {
                0 => a * 16 + b % 16,
                1 => TWO,
                _ => SLOW,
            };
            assert_eq!(table.pair(a, b), expected);
        }
        let others = (0x4E00..0x5200).map(|a| (a, 0xFFFE));
        assert!(others.into_iter().all(|(a, b)| table.pair(a, b) == CUT));
        assert_eq!(table.single(0x4E2D), 0x4E2D);
    }

    #[test]
    fn a_vocabulary_without_pairs_cuts_everywhere() {
        let table = Dense::new(&[], &mut |_, out| out.clear());
        let table = table.lookup().unwrap();
        assert_eq!(table.pair(0x4E2D, 0x6587), CUT);
        assert_eq!(table.single(0x4E2D), SLOW);
        assert!(Dense::default().sound() && Dense::default().is_empty());
    }
}
