//! Pieces between scanning and looking up.

use crate::blocks::{BLOCK, Bytes, Look, Rules, load, starts};
use crate::cache::{INLINE, KEEP, SHORT, Table, hash, key_of, spaces_key};
use crate::encoder::Encoding;
use std::mem::MaybeUninit;

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
            } else if kinds.are_spaces(at, end) {
                spaces_key(len) // half of what is long in code
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

/// Appends the tokens of pieces `from..to` of the batch up to the first that is not known; returns
/// which that is.
#[inline(always)]
#[allow(clippy::inline_always, unsafe_code)] // as `fill`
pub(super) fn emit(
    batch: &Batch,
    table: &Table,
    from: usize,
    to: usize,
    out: &mut Encoding,
) -> usize {
    // Four of each are written for every piece, and the next piece writes over those that are not
    // there.
    let room = (to - from) * INLINE + 1;
    out.ids.reserve(room);
    out.offsets.reserve(room);
    let ids = &mut out.ids.spare_capacity_mut()[..room];
    let spans = &mut out.offsets.spare_capacity_mut()[..room];
    let (mut at, mut i) = (0, from);
    while i < to.min(BATCH) {
        let Some(e) = table.get(batch.keys[i], batch.hashes[i]) else {
            break;
        };
        let n = (e.meta >> 24) as usize;
        // (As arrays: copying slices became calls of memcpy, a tenth of the time.)
        let (Some(ids), Some(spans)) = (ids[at..].first_chunk_mut(), spans[at..].first_chunk_mut())
        else {
            break;
        };
        if n > INLINE {
            break;
        }
        let [a, b, c] = e.ids;
        *ids = [a, b, c, e.meta].map(MaybeUninit::new);
        *spans = e.spans(batch.starts[i]).map(MaybeUninit::new);
        at += n;
        i += 1;
    }
    let (ids, spans) = (out.ids.len() + at, out.offsets.len() + at);
    // SAFETY: every step wrote the four elements from `at`, of which `at` then passed over at most
    // three, so the first `at` of the spare elements of both are written.
    unsafe {
        out.ids.set_len(ids);
        out.offsets.set_len(spans);
    }
    i
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
pub(super) fn emit_avx2(
    batch: &Batch,
    table: &Table,
    from: usize,
    to: usize,
    out: &mut Encoding,
) -> usize {
    emit(batch, table, from, to, out)
}
