//! Tables from short pieces of text to their tokens, keys and values in one place.
//!
//! A piece of up to 15 bytes is one 16-byte key (its bytes, zeros, its length), and up to three
//! tokens with their lengths lie beside it: 32 bytes, two entries to a cache line, nothing to
//! follow. One such table, made from the vocabulary, is shared and read-only; each encoder has its
//! own small one for what it meets, which so holds nothing but pieces in use.

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
    /// Number of tokens in bits 0..8, then four bits of length for each.
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
    /// An entry for up to three tokens.
    pub(crate) fn inline(key: u128, ids: &[u32], lens: &[u32]) -> Self {
        let mut entry = Self {
            key,
            ids: [0; INLINE],
            meta: ids.len() as u32,
        };
        for (i, (&id, &len)) in ids.iter().zip(lens).enumerate().take(INLINE) {
            entry.ids[i] = id;
            entry.meta |= len << (8 + 4 * i);
        }
        entry
    }

    pub(crate) fn spilled(key: u128, at: usize, n: usize) -> Self {
        Self {
            key,
            ids: [at as u32, n as u32, 0],
            meta: SPILLED,
        }
    }

    /// Number of tokens, or `None` where they are in the arena.
    #[inline]
    pub(crate) fn count(&self) -> Option<usize> {
        let n = self.meta & 0xFF;
        (n != SPILLED).then_some(n as usize)
    }

    #[inline]
    pub(crate) fn len(&self, i: usize) -> u32 {
        self.meta >> (8 + 4 * i) & 15
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
    /// Room for `n` entries at most half full.
    pub(crate) fn with_room(n: usize) -> Self {
        let size = (n * 2).next_power_of_two().max(16);
        Self {
            slots: Slab::zeroed(size),
            len: 0,
        }
    }

    /// Room for `n` entries and no more, at most three quarters full.
    pub(crate) fn dense(n: usize) -> Self {
        let size = (n * 4 / 3 + 1).next_power_of_two().max(16);
        Self {
            slots: Slab::zeroed(size),
            len: 0,
        }
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
        let mask = self.slots.len() - 1;
        let mut at = self.start(hash);
        loop {
            let e = &self.slots[at & mask];
            if e.key == key {
                return Some(e);
            }
            if e.key == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// Adds or replaces; the caller sees to it that the table does not fill up.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let mask = self.slots.len() - 1;
        let mut at = self.start(hash(entry.key));
        while self.slots[at & mask].key != 0 && self.slots[at & mask].key != entry.key {
            at += 1;
        }
        self.len += usize::from(self.slots[at & mask].key == 0);
        self.slots.writable()[at & mask] = entry;
    }

    /// A table that was kept and does not change any more, if lookups in it end.
    pub(crate) fn from_slots(slots: Slab<Entry>) -> Option<Self> {
        let ends = slots.len().is_power_of_two() && slots.iter().any(|e| e.key == 0);
        ends.then_some(Self { slots, len: 0 })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|e| e.key != 0)
    }
}

/// What one encoder has met: short pieces, long pieces, and the tokens that fit beside neither.
pub(crate) struct Learned {
    pub(crate) short: Table,
    pub(crate) long: Long,
    arena: Vec<u32>,
}

/// Short pieces kept before starting afresh (8 MiB of table).
const MAX_SHORT: usize = 1 << 17;
/// Room for short pieces at first: a table of one huge page.
const FIRST_SHORT: usize = 1 << 15;
/// Words of arena kept before starting afresh (16 MiB).
const MAX_ARENA: usize = 1 << 22;
/// Longer pieces hardly come again.
const MAX_LONG: usize = 256;

impl Learned {
    pub(crate) fn new() -> Self {
        Self {
            short: Table::with_room(FIRST_SHORT),
            long: Long::default(),
            arena: Vec::new(),
        }
    }

    /// Keeps the tokens of a short piece.
    pub(crate) fn keep(&mut self, key: u128, ids: &[u32], lens: &[u32]) {
        if ids.len() <= INLINE {
            return self.keep_entry(Entry::inline(key, ids, lens));
        }
        if self.arena.len() > MAX_ARENA {
            *self = Self::new();
        }
        let at = self.arena.len();
        self.arena.extend_from_slice(ids);
        self.arena.extend_from_slice(lens);
        self.keep_entry(Entry::spilled(key, at, ids.len()));
    }

    pub(crate) fn keep_entry(&mut self, entry: Entry) {
        if self.short.len >= MAX_SHORT {
            *self = Self::new();
            if entry.meta == SPILLED {
                return; // its tokens went with the arena
            }
        }
        if self.short.len * 2 >= self.short.slots.len() {
            // (In one step to the largest: clearing and filling the sizes between took a tenth of
            // the time of the first megabytes.)
            let mut larger = Table::with_room(MAX_SHORT);
            self.short.iter().for_each(|e| larger.insert(*e));
            self.short = larger;
        }
        self.short.insert(entry);
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
        let mut l = Learned::new();
        for i in 0..40_000u32 {
            let text = format!("w{i}");
            let n = 1 + (i % 6) as usize;
            let (ids, lens) = (vec![i; n], vec![1; n]);
            l.keep(key_of(text.as_bytes()), &ids, &lens);
            let long = format!("a long piece of text {i}");
            l.keep_long(long.as_bytes(), &ids, &lens);
        }
        for i in 0..40_000u32 {
            let key = key_of(format!("w{i}").as_bytes());
            let e = l.short.get(key, hash(key)).unwrap();
            let n = 1 + (i % 6) as usize;
            match e.count() {
                Some(k) => assert_eq!((k, e.ids[0], e.len(0)), (n, i, 1)),
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
