//! Tables from short pieces of text to their tokens, keys and values in one place.
//!
//! A piece of up to 15 bytes is one 16-byte key (its bytes, zeros, its length), and up to three
//! tokens with their lengths lie beside it: 32 bytes, two entries to a cache line, nothing to
//! follow. One such table is made from the vocabulary when a tokenizer is compiled; each encoder
//! begins with a copy and adds what it meets.
//!
//! Tried and dropped: an empty table for each encoder and after it the whole vocabulary's (a second
//! line from far away for every new piece, and twenty thousand entries to copy in the first
//! megabytes: a sixth slower on new text), also with a filter before it; the vocabulary's table
//! first, shared by all threads, and after it one for what was met (the twentieth part of all pieces
//! waited for a line that nobody had asked for: a quarter slower on text that had been seen); fuller
//! tables.

use crate::slab::{Slab, prefetch};

/// Pieces longer than this go another way.
pub(crate) const SHORT: usize = 15;

/// Tokens of a piece that fit beside its key.
pub(crate) const INLINE: usize = 3;

/// Marks an entry whose tokens lie in the arena.
const SPILLED: u32 = 0xFF;

/// A key and its tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(32))]
pub(crate) struct Entry {
    pub(crate) key: u128,
    /// Ids; of a spilled entry the place and the number in the arena.
    pub(crate) ids: [u32; INLINE],
    /// Where each token ends, a byte each, and the number of tokens in the highest byte.
    pub(crate) meta: u32,
}

// SAFETY: 16 + 12 + 4 bytes are all of the 32, so there is no padding, and every pattern of bits is
// a key, ids and a word.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Entry {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl bytemuck::Pod for Entry {}

impl Entry {
    /// An entry for up to three tokens of 255 bytes together.
    pub(crate) fn inline(key: u128, ids: &[u32], lens: &[u32]) -> Self {
        let mut entry = Self {
            key,
            ids: [0; INLINE],
            meta: (ids.len() as u32) << 24,
        };
        let mut end = 0;
        for (i, (&id, &len)) in ids.iter().zip(lens).enumerate().take(INLINE) {
            end += len;
            entry.ids[i] = id;
            entry.meta |= end << (8 * i);
        }
        entry
    }

    pub(crate) fn spilled(key: u128, at: usize, n: usize) -> Self {
        Self {
            key,
            ids: [at as u32, n as u32, 0],
            meta: SPILLED << 24,
        }
    }

    /// Ids and lengths of the tokens, or `None` where they are in the arena.
    #[inline]
    pub(crate) fn tokens(&self) -> Option<(&[u32], [u32; INLINE])> {
        let [a, b, c, n] = self.meta.to_le_bytes().map(u32::from);
        let ids = self.ids.get(..n as usize)?;
        Some((ids, [a, b.wrapping_sub(a), c.wrapping_sub(b)]))
    }

    /// Four spans of a piece that begins at `start`, of which those that are there hold.
    #[inline(always)]
    #[allow(clippy::inline_always)] // a few vector instructions
    pub(crate) fn spans(&self, start: u32) -> [[u32; 2]; 4] {
        // The ends of the token before and of the token, for one after another.
        const SHIFT: [u32; 8] = [0, 0, 0, 8, 8, 16, 16, 16];
        const KEEP: [u32; 8] = [0, 255, 255, 255, 255, 255, 255, 255];
        let mut ends = [0; 8];
        for i in 0..8 {
            ends[i] = start + (self.meta >> SHIFT[i] & KEEP[i]);
        }
        bytemuck::cast(ends)
    }
}

/// For every length, the bits of a key that are text and those that are the length.
pub(crate) const KEEP: [[u128; 2]; 16] = {
    let mut table = [[0; 2]; 16];
    let mut n = 1;
    while n < 16 {
        table[n] = [u128::MAX >> (128 - 8 * n), (n as u128) << 120];
        n += 1;
    }
    table
};

/// The key of a piece of 1 to 15 bytes.
#[inline]
pub(crate) fn key_of(piece: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..piece.len()].copy_from_slice(piece);
    bytes[15] = piece.len() as u8;
    u128::from_le_bytes(bytes)
}

/// In the length byte: the key holds the id of an added token and its length.
const ADDED: u128 = 0x40 << 120;

/// The key of an added token of less than 256 bytes.
pub(crate) fn added_key(id: u32, len: usize) -> u128 {
    ADDED | (len as u128) << 32 | u128::from(id)
}

/// Id and length of an added token, if the key is of one.
#[inline]
pub(crate) fn added(key: u128) -> Option<(u32, u32)> {
    (key & ADDED != 0).then_some((key as u32, (key >> 32) as u32))
}

/// In the length byte: the key is of a number of spaces, more than fit into a key.
const SPACES: u128 = 0x20 << 120;

/// The key of less than 256 spaces.
pub(crate) fn spaces_key(n: usize) -> u128 {
    SPACES | n as u128
}

/// The number of spaces, if the key is of so many.
pub(crate) fn spaces(key: u128) -> Option<usize> {
    (key & SPACES != 0).then_some(key as usize)
}

/// Set in the length byte of units whose tokens differ from those of the same bytes as a whole
/// pre-token.
pub(crate) const UNIT: u128 = 0x80 << 120;

/// The text of a key.
pub(crate) fn bytes_of(key: u128) -> ([u8; 16], usize) {
    let bytes = key.to_le_bytes();
    (bytes, usize::from(bytes[15] & 15))
}

#[inline]
pub(crate) fn hash(key: u128) -> u32 {
    let (lo, hi) = (key as u64, (key >> 64) as u64);
    let x = lo.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ hi.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ((x ^ x >> 32).wrapping_mul(0x9FB2_1C65_1E98_DF25) >> 32) as u32
}

/// An open-addressed table of entries; a key of 0 marks an empty one.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) slots: Slab<Entry>,
    len: usize,
}

impl Table {
    /// Room for `n` entries and as many more.
    pub(crate) fn with_room(n: usize) -> Self {
        Self::empty((n * 7 / 2).next_power_of_two().max(16))
    }

    fn empty(size: usize) -> Self {
        Self {
            slots: Slab::zeroed(size),
            len: 0,
        }
    }

    /// Whether one more entry would make lookups slow.
    fn is_full(&self) -> bool {
        self.len * 8 >= self.slots.len() * 5
    }

    #[inline]
    fn start(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Asks for the cache line of a key before it is needed.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        prefetch(&self.slots[self.start(hash)]);
    }

    #[inline]
    pub(crate) fn get(&self, key: u128, hash: u32) -> Option<&Entry> {
        let e = &self.slots[self.start(hash)];
        if e.key == key {
            return Some(e);
        }
        self.further(key, hash)
    }

    #[inline(never)]
    fn further(&self, key: u128, hash: u32) -> Option<&Entry> {
        let e = &self.slots[self.find(key, hash)];
        (e.key == key).then_some(e)
    }

    /// The slot of a key, or the empty one where it would be: its own, the other one in the same
    /// cache line, and so on line by line.
    fn find(&self, key: u128, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.start(hash);
        loop {
            for at in [at, at ^ 1] {
                let found = self.slots[at & mask].key;
                if found == key || found == 0 {
                    return at & mask;
                }
            }
            at += 2;
        }
    }

    /// Adds or replaces; the caller sees to it that the table does not fill up.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let at = self.find(entry.key, hash(entry.key));
        self.len += usize::from(self.slots[at].key == 0);
        self.slots.writable()[at] = entry;
    }

    /// A table that was kept and does not change any more, if lookups in it end.
    pub(crate) fn from_slots(slots: Slab<Entry>, len: usize) -> Option<Self> {
        let sound = slots.len().is_power_of_two() && len < slots.len();
        let ends = sound && slots.iter().any(|e| e.key == 0);
        ends.then_some(Self { slots, len })
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|e| e.key != 0)
    }
}

/// Pieces of the vocabulary with which an encoder begins: those of the lowest ids, which are met
/// most. (The others are merged when they are met.)
pub(crate) const SEEDS: usize = 65_000;

/// What one encoder has met: short pieces, long pieces, and the tokens that fit beside neither.
pub(crate) struct Learned {
    pub(crate) short: Table,
    pub(crate) long: Long,
    arena: Vec<u32>,
}

/// Slots for short pieces before starting afresh, if the vocabulary does not need more: 16 MiB.
const MAX_SLOTS: usize = 1 << 19;
/// Words of arena kept before starting afresh (16 MiB).
const MAX_ARENA: usize = 1 << 22;
/// Longer pieces hardly come again.
const MAX_LONG: usize = 256;

impl Learned {
    /// Begins with the vocabulary.
    pub(crate) fn new(seeds: &Table) -> Self {
        Self {
            short: Table {
                slots: seeds.slots.copied(),
                len: seeds.len,
            },
            long: Long::default(),
            arena: Vec::new(),
        }
    }

    /// Keeps the tokens of a short piece.
    pub(crate) fn keep(&mut self, seeds: &Table, key: u128, ids: &[u32], lens: &[u32]) {
        let largest = MAX_SLOTS.max(2 * seeds.slots.len());
        let full = self.short.is_full();
        if self.arena.len() > MAX_ARENA || (full && self.short.slots.len() >= largest) {
            *self = Self::new(seeds);
        } else if full {
            // (In one step to the largest: clearing and filling the sizes between took a tenth of
            // the time of the first megabytes.)
            let mut larger = Table::empty(largest);
            self.short.iter().for_each(|e| larger.insert(*e));
            self.short = larger;
        }
        self.short.insert(if ids.len() <= INLINE {
            Entry::inline(key, ids, lens)
        } else {
            let at = self.arena.len();
            self.arena.extend_from_slice(ids);
            self.arena.extend_from_slice(lens);
            Entry::spilled(key, at, ids.len())
        });
    }

    /// Ids and lengths of a spilled entry.
    pub(crate) fn spilled(&self, e: &Entry) -> (&[u32], &[u32]) {
        let (at, n) = (e.ids[0] as usize, e.ids[1] as usize);
        self.arena[at..at + 2 * n].split_at(n)
    }

    /// Keeps the tokens of a long piece, unless it is so long that it will hardly come again.
    pub(crate) fn keep_long(&mut self, piece: &[u8], ids: &[u32], lens: &[u32]) {
        if piece.len() > MAX_LONG {
            return;
        }
        if self.long.arena.len() > MAX_ARENA || self.long.keys.len() > MAX_ARENA {
            self.long = Long::default();
        }
        self.long.insert(piece, ids, lens);
    }
}

/// Long pieces and their tokens.
#[derive(Default)]
pub(crate) struct Long {
    /// Upper half of the hash, place of the key, its length, place in the arena; length 0: empty.
    slots: Vec<[u32; 4]>,
    keys: Vec<u8>,
    /// Number of tokens, ids, lengths.
    arena: Vec<u32>,
    len: usize,
}

/// Such a table that does not change any more.
#[derive(Default)]
pub(crate) struct LongSeeds {
    pub(crate) slots: Slab<[u32; 4]>,
    pub(crate) keys: Slab<u8>,
    pub(crate) arena: Slab<u32>,
}

impl LongSeeds {
    /// Ids and lengths of a piece.
    pub(crate) fn get(&self, piece: &[u8]) -> Option<(&[u32], &[u32])> {
        find_long(&self.slots, &self.keys, &self.arena, piece)
    }

    /// Whether lookups end.
    pub(crate) fn sound(&self) -> bool {
        let size = self.slots.len();
        size == 0 || (size.is_power_of_two() && self.slots.iter().any(|s| s[2] == 0))
    }
}

impl From<Long> for LongSeeds {
    fn from(long: Long) -> Self {
        Self {
            slots: long.slots.into(),
            keys: long.keys.into(),
            arena: long.arena.into(),
        }
    }
}

/// Ids and lengths of a piece.
fn find_long<'a>(
    slots: &[[u32; 4]],
    keys: &[u8],
    arena: &'a [u32],
    piece: &[u8],
) -> Option<(&'a [u32], &'a [u32])> {
    if slots.is_empty() {
        return None;
    }
    let h = hash_long(piece);
    let mask = slots.len() - 1;
    let mut at = h as usize & mask;
    loop {
        let [tag, key, len, value] = slots[at];
        if len == 0 {
            return None;
        }
        let key = key as usize;
        let same = tag == (h >> 32) as u32 && len as usize == piece.len();
        if same && &keys[key..key + piece.len()] == piece {
            let value = value as usize;
            let n = arena[value] as usize;
            return Some(arena[value + 1..value + 1 + 2 * n].split_at(n));
        }
        at = (at + 1) & mask;
    }
}

/// Hash of a piece of any length.
pub(crate) fn hash_long(piece: &[u8]) -> u64 {
    let mut h = piece.len() as u64;
    let mut chunks = piece.chunks_exact(8);
    for c in &mut chunks {
        let word = u64::from_le_bytes(c.try_into().unwrap_or_default());
        h = (h ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h ^= h >> 32;
    }
    for &b in chunks.remainder() {
        h = (h ^ u64::from(b)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    }
    (h ^ h >> 29).wrapping_mul(0x9FB2_1C65_1E98_DF25)
}

impl Long {
    /// Ids and lengths of a piece.
    pub(crate) fn get(&self, piece: &[u8]) -> Option<(&[u32], &[u32])> {
        find_long(&self.slots, &self.keys, &self.arena, piece)
    }

    pub(crate) fn insert(&mut self, piece: &[u8], ids: &[u32], lens: &[u32]) {
        if (self.len + 1) * 2 > self.slots.len() {
            let larger = vec![[0; 4]; (self.slots.len() * 2).max(1 << 10)];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot[2] != 0 {
                    let key = &self.keys[slot[1] as usize..(slot[1] + slot[2]) as usize];
                    let at = Self::free(&self.slots, hash_long(key));
                    self.slots[at] = slot;
                }
            }
        }
        let h = hash_long(piece);
        let at = Self::free(&self.slots, h);
        let (key, value) = (self.keys.len() as u32, self.arena.len() as u32);
        self.slots[at] = [(h >> 32) as u32, key, piece.len() as u32, value];
        self.keys.extend_from_slice(piece);
        self.arena.push(ids.len() as u32);
        self.arena.extend_from_slice(ids);
        self.arena.extend_from_slice(lens);
        self.len += 1;
    }

    fn free(slots: &[[u32; 4]], h: u64) -> usize {
        let mask = slots.len() - 1;
        let mut at = h as usize & mask;
        while slots[at][2] != 0 {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back() {
        let seeds = Table::with_room(3);
        let mut l = Learned::new(&seeds);
        for i in 0..40_000u32 {
            let text = format!("w{i}");
            let n = 1 + (i % 6) as usize;
            let (ids, lens) = (vec![i; n], vec![1; n]);
            l.keep(&seeds, key_of(text.as_bytes()), &ids, &lens);
            let long = format!("a long piece of text {i}");
            l.keep_long(long.as_bytes(), &ids, &lens);
        }
        for i in 0..40_000u32 {
            let key = key_of(format!("w{i}").as_bytes());
            let e = l.short.get(key, hash(key)).unwrap();
            let n = 1 + (i % 6) as usize;
            match e.tokens() {
                Some((ids, lens)) => assert_eq!((ids, lens[0]), (&vec![i; n][..], 1)),
                None => assert_eq!(l.spilled(e), (&vec![i; n][..], &vec![1; n][..])),
            }
            let long = l
                .long
                .get(format!("a long piece of text {i}").as_bytes())
                .unwrap();
            assert_eq!(long.0, vec![i; n]);
        }
        assert!(l.long.get(b"a long piece of text x").is_none());
    }
}
