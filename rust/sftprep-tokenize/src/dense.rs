//! Characters of up to 16 bits (Han, kana, hangul, their punctuation, ASCII), what they are by
//! themselves and what pairs of them become.
//!
//! Text of such scripts falls into units of one or two characters nearly everywhere. One lookup
//! per boundary says whether a token may cross it, what the two characters become, and whether that
//! may merge with what stands beside it: so most text is encoded without a key, a hash of bytes or
//! a cache, and what it was before makes no difference.
//!
//! The pairs are rows of a sparse table, one for every left character, moved so that they fill the
//! gaps of each other: the place of a pair is the sum of a number of the left character and one of
//! the right, and the owner that stands there tells whether it is that pair.
//!
//! Tried and dropped: units through the cache of pieces as any other (a 16-byte key, its hash and
//! a line of 32 bytes each: three times slower, and much slower still before the cache was warm);
//! a perfect hash of pairs (two loads after another and two multiplications to a pair).

use crate::classes::{LM, LO, P, S, classes, within};
use crate::slab::Slab;
use crate::split::{Split, Word};
use std::collections::BTreeMap;

/// No token crosses the boundary between the two.
pub(crate) const CUT: u32 = 1 << 31;
/// A token may cross it, and the way through cache and merging tells their tokens.
pub(crate) const SLOW: u32 = 1 << 30;
/// They become one token, whose id is the rest; without any of these: one token each.
pub(crate) const ONE: u32 = 1 << 29;
/// That token may merge with one to its right.
pub(crate) const LEFT: u32 = 1 << 28;
/// That token may merge with one to its left.
pub(crate) const RIGHT: u32 = 1 << 27;
/// What is said holds for a unit of these two alone: in a longer one, parts of the characters may
/// merge first, or one of them is of ASCII, of which there would be too many rules to keep.
pub(crate) const ALONE: u32 = 1 << 26;

/// Set in what a character is by itself: not an id but a place in the list of those that are
/// several tokens.
pub(crate) const SEVERAL: u32 = 1 << 23;
/// Bits of an id, or of such a place.
pub(crate) const ID: u32 = (1 << ID_BITS) - 1;
const ID_BITS: u32 = 21;

/// An empty slot: it belongs to no character (see `takes`).
const EMPTY: u64 = 0xFFFF << 48 | CUT as u64;
/// No left character, so no pair is found.
pub(crate) const NOBODY: u64 = 1 << 16;

/// Rows begin below this.
const OFFSETS: u32 = 1 << 18;
/// Numbers of right characters are below this; 0 is that of a character which is none.
const COLUMNS: usize = 1 << 14;

/// The tables.
#[derive(Default)]
pub(crate) struct Dense {
    /// For every code point of up to 16 bits: its token in bits 0 to 23, the ASCII character that
    /// splits as it does (0: none) in bits 24 to 31, where its row begins in bits 32 to 49, its
    /// number as right character above.
    pub(crate) chars: Slab<u64>,
    /// Pairs: the left character in the upper 16 bits, the value in the lower 32.
    pub(crate) slots: Slab<u64>,
    /// Characters of several tokens: ids, then the number of tokens and the length of each, in
    /// bytes of a word.
    pub(crate) several: Slab<[u32; 4]>,
    /// Merge rules of tokens of two or more such characters with what may stand beside them: left
    /// id, right id, new id; each in one of two places.
    pub(crate) joins: Slab<u64>,
    /// Every id is that of one rule, and ids follow the ranks of their rules.
    pub(crate) ordered: bool,
}

/// Puts ids and lengths in bytes of a text's tokens into a list.
pub(crate) type Encode<'a> = dyn FnMut(&str, &mut Vec<(u32, u32)>) + 'a;

/// What the tables are made from.
pub(crate) struct Source<'a> {
    /// Pairs that some token holds side by side.
    pub(crate) pairs: &'a [(u32, u32)],
    /// Merge rules: left and right id, rank, new id.
    pub(crate) rules: &'a [[u32; 4]],
    pub(crate) split: &'a Split,
    /// Whether a token that begins or ends within a character may cross the boundary at a byte of
    /// a text, where the character before begins at another.
    pub(crate) crossed: &'a dyn Fn(&[u8], usize, usize) -> bool,
}

/// Characters that pairs are kept for.
const fn takes(c: u32) -> bool {
    matches!(c, 0..0x80 | 0x800..0xFFFF)
}

/// The ASCII character that a split pattern treats as it does this one; 0 where there is none.
/// Letters of cased scripts, digits and marks have none; neither have control characters.
fn stands_for(c: u32, split: &Split) -> u8 {
    if c < 0x80 {
        let plain = matches!(c, 0x09..=0x0D | 0x20..0x7F);
        return if plain { c as u8 } else { 0 };
    }
    let class = classes().get(c);
    let letter = matches!(class, LO | LM);
    let mark = matches!(class, P | S) && within(class, split.other);
    match split.word {
        _ if c < 0x800 => 0,
        // Runs of Han and kana are pieces of their own there, as digits are.
        Word::DeepSeek if matches!(c, 0x4E00..=0x9FA5 | 0x3040..=0x30FF) => u8::from(letter) * b'0',
        Word::DeepSeek if letter => 0,
        _ if letter => b'a',
        _ if mark => b'.',
        _ => 0,
    }
}

impl Dense {
    /// Builds the tables.
    pub(crate) fn new(source: &Source<'_>, encode: &mut Encode<'_>) -> Self {
        let mut tokens = Vec::new();
        let mut several = Vec::new();
        let mut chars = vec![0u64; 1 << 16];
        for c in 0..0x1_0000u32 {
            let Some(c) = char::from_u32(c) else { continue };
            encode(c.encode_utf8(&mut [0; 4]), &mut tokens);
            let token = match *tokens {
                [(id, _)] => id,
                _ if tokens.len() > 3 => return Self::default(),
                _ => {
                    let mut entry = [0, 0, 0, tokens.len() as u32];
                    for (i, &(id, len)) in tokens.iter().enumerate() {
                        entry[i] = id;
                        entry[3] |= len << (8 + 8 * i);
                    }
                    several.push(entry);
                    SEVERAL | (several.len() - 1) as u32
                }
            };
            let stands_for = stands_for(c as u32, source.split);
            chars[c as usize] = u64::from(token) | u64::from(stands_for) << 24;
        }
        let values = pair_values(source, &chars, encode);
        let Some(slots) = place(&values, &mut chars) else {
            return Self::default();
        };
        let Some(joins) = place_joins(&dense_rules(source, &chars)) else {
            return Self::default();
        };
        let mut rules: Vec<_> = source.rules.iter().map(|r| (r[2], r[3])).collect();
        rules.sort_unstable();
        Self {
            chars: chars.into(),
            slots: slots.into(),
            several: several.into(),
            joins: joins.into(),
            ordered: rules.is_sorted_by(|a, b| a.1 < b.1),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether lookups stay within the tables.
    pub(crate) fn sound(&self) -> bool {
        let sizes = self.slots.len().is_power_of_two()
            && self.joins.len().is_power_of_two()
            && self.joins.len() > 1
            && self.chars.len() == 1 << 16;
        sizes || (self.slots.is_empty() && self.chars.is_empty())
    }

    /// The tables for lookups; `None` where there are none.
    #[inline]
    pub(crate) fn lookup(&self) -> Option<Lookup<'_>> {
        Some(Lookup {
            chars: self.chars.first_chunk()?,
            slots: &self.slots,
        })
    }

    /// The id that two tokens merge to, `NONE` where they do not; one of them is of two characters
    /// or more (they would be a pair otherwise). Nothing in it is a branch.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn join(&self, left: u32, right: u32) -> u32 {
        let key = join_key(left, right);
        let [a, b] = join_places(key, self.joins.len());
        let made = |slot: u64| {
            let other = slot >> ID_BITS ^ key;
            slot as u32 & ID | ((other | other.wrapping_neg()) as i64 >> 63) as u32
        };
        made(self.joins[a]) & made(self.joins[b])
    }
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn join_key(left: u32, right: u32) -> u64 {
    u64::from(left) << ID_BITS | u64::from(right)
}

/// The two places of a key in a table of a size.
#[inline(always)]
#[allow(clippy::inline_always)]
fn join_places(key: u64, size: usize) -> [usize; 2] {
    let h = (key ^ key >> 23).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [
        (h >> 40) as usize & (size - 1),
        (h >> 18) as usize & (size - 1),
    ]
}

/// Rules between tokens of characters of three bytes that make tokens of more than two of them.
fn dense_rules(source: &Source<'_>, chars: &[u64]) -> Vec<[u32; 3]> {
    let token = |c: &u64| *c as u32 & (SEVERAL | ID);
    let singles = chars[0x800..].iter().map(token).filter(|t| *t <= ID);
    // 1: of one character, 2: of several.
    let most = source.rules.iter().flat_map(|r| [r[0], r[1], r[3]]).max();
    let mut sizes = vec![0u8; most.unwrap_or(0) as usize + 1];
    for id in singles {
        if let Some(size) = sizes.get_mut(id as usize) {
            *size = 1;
        }
    }
    let mut rules: Vec<_> = source.rules.to_vec();
    rules.sort_unstable_by_key(|r| r[2]);
    loop {
        let mut more = false;
        for [a, b, _, new] in &rules {
            if sizes[*a as usize] * sizes[*b as usize] != 0 && sizes[*new as usize] == 0 {
                sizes[*new as usize] = 2;
                more = true;
            }
        }
        if !more {
            break;
        }
    }
    // (A later rule for the same two replaces an earlier one.)
    let of = |[a, b, _, new]: &[u32; 4]| {
        (sizes[*a as usize] * sizes[*b as usize] > 1).then_some(([*a, *b], *new))
    };
    let last: BTreeMap<_, _> = rules.iter().filter_map(of).collect();
    last.into_iter().map(|([a, b], new)| [a, b, new]).collect()
}

/// Puts every rule into one of its two places, whoever was there into its other one.
fn place_joins(rules: &[[u32; 3]]) -> Option<Vec<u64>> {
    let mut size = (rules.len() * 5 / 2).next_power_of_two().max(16);
    'sizes: while size <= 1 << 22 {
        let mut slots = vec![u64::MAX; size];
        for &[a, b, new] in rules {
            let mut slot = join_key(a, b) << ID_BITS | u64::from(new);
            let mut at = join_places(slot >> ID_BITS, size)[0];
            let mut moves = 0;
            while slot != u64::MAX {
                if moves == 500 {
                    size *= 2;
                    continue 'sizes;
                }
                std::mem::swap(&mut slots[at], &mut slot);
                let [first, second] = join_places(slot >> ID_BITS, size);
                at = if at == first { second } else { first };
                moves += 1;
            }
        }
        return Some(slots);
    }
    None
}

/// What every pair becomes.
fn pair_values(source: &Source<'_>, chars: &[u64], encode: &mut Encode<'_>) -> Vec<[u32; 3]> {
    let most = source.rules.iter().flat_map(|r| [r[0], r[1], r[3]]).max();
    let mut merges = vec![0u32; most.unwrap_or(0) as usize + 1];
    for [left, right, ..] in source.rules {
        merges[*left as usize] |= LEFT;
        merges[*right as usize] |= RIGHT;
    }
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let mut values = Vec::with_capacity(source.pairs.len());
    for &(a, b) in source.pairs {
        let (Some(x), Some(y)) = (char::from_u32(a), char::from_u32(b)) else {
            continue;
        };
        if !takes(a) || !takes(b) {
            continue;
        }
        text.clear();
        text.extend([x, y]);
        encode(&text, &mut tokens);
        let token = |c: u32| chars[c as usize] as u32 & (SEVERAL | ID);
        let simple = (token(a) | token(b)) & SEVERAL == 0
            && !(source.crossed)(text.as_bytes(), 0, x.len_utf8());
        let alone = if simple && a >= 0x80 && b >= 0x80 {
            0
        } else {
            ALONE
        };
        let value = match *tokens {
            [(id, _)] => ONE | id | alone | merges.get(id as usize).copied().unwrap_or(0),
            [(first, _), (second, _)] if [first, second] == [token(a), token(b)] => alone,
            _ => SLOW,
        };
        values.push([a, b, value]);
    }
    values
}

/// Finds a place for every pair, the longest rows first, and writes into `chars` where that is.
fn place(values: &[[u32; 3]], chars: &mut [u64]) -> Option<Vec<u64>> {
    let mut columns: Vec<u32> = values.iter().map(|v| v[1]).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.len() >= COLUMNS {
        return None;
    }
    let number = |c: u32| columns.binary_search(&c).map_or(0, |i| i + 1);
    for &c in &columns {
        chars[c as usize] |= (number(c) as u64) << 50;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let mut rows: Vec<&[[u32; 3]]> = sorted.chunk_by(|x, y| x[0] == y[0]).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
    let mut slots = vec![EMPTY; COLUMNS + 1];
    let mut free = 0;
    for row in rows {
        while slots[free] != EMPTY {
            free += 1;
        }
        // (Before that, the first of the row would have no place.)
        let first = free.saturating_sub(number(row[0][1]));
        let offset = (first..OFFSETS as usize).find(|&offset| {
            let taken = |v: &[u32; 3]| {
                slots
                    .get(offset + number(v[1]))
                    .is_some_and(|s| *s != EMPTY)
            };
            !row.iter().any(taken)
        })?;
        chars[row[0][0] as usize] |= (offset as u64) << 32;
        if slots.len() < offset + COLUMNS + 1 {
            slots.resize(offset + COLUMNS + 1, EMPTY);
        }
        for &[a, b, value] in row {
            slots[offset + number(b)] = u64::from(a) << 48 | u64::from(value);
        }
    }
    let used = slots.iter().rposition(|s| *s != EMPTY).map_or(0, |i| i + 1);
    // (A sum beyond the end comes round, and finds what belongs to another.)
    slots.resize(used.next_power_of_two().max(16), EMPTY);
    Some(slots)
}

/// The tables, ready for many lookups.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    chars: &'a [u64; 1 << 16],
    slots: &'a [u64],
}

impl Lookup<'_> {
    /// All about a character of up to 16 bits.
    #[inline(always)]
    #[allow(clippy::inline_always)] // a load and a shift
    pub(crate) fn char(&self, c: u32) -> u64 {
        self.chars[(c & 0xFFFF) as usize]
    }

    /// What lies between two characters: a value that tells what they become, or one with `CUT`
    /// set, of which the other bits mean nothing.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn pair(&self, left: u64, owner: u64, right: u64) -> u32 {
        let place = (left >> 32 & u64::from(OFFSETS - 1)) + (right >> 50);
        let found = self.slots[place as usize & (self.slots.len() - 1)];
        // (Half of all boundaries are cuts, in no order to learn; whatever selects one of two values
        // here becomes a branch.)
        let other = found >> 48 ^ owner;
        found as u32 | (((other + (NOBODY * 2 - 1)) >> 17) as u32 * CUT)
    }
}

#[cfg(test)]
mod tests;
