//! Pieces between scanning and looking up.

use crate::blocks::{BLOCK, Bytes, Look, Rules, load, starts};
use crate::cache::{KEEP, SHORT, Table, hash, key_of};

/// Pieces between scanning and looking up: a block adds up to 64, and a batch that is half full is
/// looked up before the next.
pub(super) const BATCH: usize = 2 * BLOCK;

/// Pieces that were found and not yet looked up.
pub(super) struct Batch {
    /// Keys of short pieces; of a long piece its end.
    pub(super) keys: [u128; BATCH],
    pub(super) hashes: [u32; BATCH],
    pub(super) starts: [u32; BATCH],
    pub(super) filled: usize,
}

/// The key of `t[a..b]`, which is short.
#[inline]
pub(super) fn short_key(t: &[u8], a: usize, b: usize) -> u128 {
    let [keep, size] = KEEP[(b - a) & 15];
    match t[a..].first_chunk() {
        Some(bytes) => u128::from_le_bytes(*bytes) & keep | size,
        None => key_of(&t[a..b]),
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            keys: [0; BATCH],
            hashes: [0; BATCH],
            starts: [0; BATCH],
            filled: 0,
        }
    }
}

impl Batch {
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) fn set(&mut self, i: usize, table: &Table, key: u128, start: usize) {
        let h = hash(key);
        table.prefetch(h);
        let i = i & (BATCH - 1);
        self.keys[i] = key;
        self.hashes[i] = h;
        self.starts[i] = start as u32;
    }
}

/// Puts pre-tokens from `p` on into the batch until it is more than half full or one comes that
/// the blocks do not tell; returns where that is.
#[inline(always)]
#[allow(clippy::inline_always)] // it is compiled once for each set of instructions
pub(super) fn fill<L: Look>(
    batch: &mut Batch,
    table: &Table,
    rules: &Rules,
    t: &[u8],
    mut p: usize,
) -> usize {
    let mut tail: Bytes = [0; BLOCK + 16];
    let mut i = batch.filled;
    while i <= BLOCK && p < t.len() {
        let bytes = load(t, p, &mut tail);
        let kinds = L::kinds(bytes);
        let mut ends = starts(&kinds, bytes, t.len() - p, rules) & !1;
        let mut at = 0;
        while ends != 0 {
            let end = ends.trailing_zeros() as usize;
            ends &= ends - 1;
            let len = end - at;
            let key = if len <= SHORT {
                let piece = bytes[at & (BLOCK - 1)..].first_chunk::<16>();
                let [keep, size] = KEEP[len & 15];
                u128::from_le_bytes(*piece.unwrap_or(&[0; 16])) & keep | size
            } else {
                (p + end) as u128
            };
            batch.set(i, table, key, p + at);
            i += 1;
            at = end;
        }
        if at == 0 {
            break;
        }
        p += at;
    }
    batch.filled = i;
    p
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
pub(super) fn fill_avx2(
    batch: &mut Batch,
    table: &Table,
    rules: &Rules,
    t: &[u8],
    p: usize,
) -> usize {
    fill::<crate::blocks::Avx2>(batch, table, rules, t, p)
}
