//! Cuts of 64 bytes at once, as a bit mask.
//!
//! Two ASCII bytes side by side are one load from a table of which a text uses a few KiB, and no
//! branch follows from what is found. (Gathering vector loads are no faster than these; classes of
//! characters that a vector holds would be too coarse: nearly all rows of the table differ.)

use super::{Bridges, continues};
use crate::classes::code_point;

/// Bytes looked at in one go.
pub(crate) const BLOCK: usize = 64;

/// One byte for two bytes of text.
pub(super) type Apart = Box<[u8; 1 << 16]>;

/// The table of bits by pair (empty: none) as bytes, 1 where no token holds the pair.
#[allow(clippy::large_stack_arrays)] // 64 KiB, and optimised it is made where it stays
pub(super) fn apart(ascii: &[u64]) -> Apart {
    let mut table = Box::new([0; 1 << 16]);
    for (i, word) in ascii.iter().take(256).enumerate() {
        let (a, b) = (i >> 1, (i & 1) << 6);
        for bit in 0..64 {
            table[a | (b + bit) << 8] = u8::from(word >> bit & 1 == 0);
        }
    }
    table
}

/// The highest bit of each byte.
#[inline]
fn tops(bytes: &[u8; BLOCK], of: impl Fn(u64) -> u64) -> u64 {
    let chunks = bytes.as_chunks::<8>().0.iter().enumerate();
    chunks.fold(0, |mask, (i, chunk)| {
        let tops = of(u64::from_le_bytes(*chunk)) >> 7 & 0x0101_0101_0101_0101;
        mask | tops.wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * i)
    })
}

impl Bridges {
    /// Where `t` may be cut: bit i for a cut before byte `at + i`, which is a character's first.
    /// Before the first byte of all there is none.
    #[inline(always)]
    #[allow(clippy::inline_always)] // it is compiled once for each set of instructions
    pub(crate) fn cuts(&self, t: &[u8], at: usize, spm: bool) -> u64 {
        let window = t
            .get(at.wrapping_sub(1)..)
            .and_then(<[u8]>::first_chunk::<{ BLOCK + 1 }>);
        let mut tail = [0; BLOCK + 1];
        let (window, ends) = if let Some(window) = window {
            (window, u64::MAX)
        } else {
            let (skip, from) = (usize::from(at == 0), at.saturating_sub(1));
            let rest = &t[from.min(t.len())..(at + BLOCK).min(t.len())];
            tail[skip..skip + rest.len()].copy_from_slice(rest);
            let n = t.len().saturating_sub(at);
            let ends = if n < BLOCK { (1 << n) - 1 } else { u64::MAX };
            (&tail, ends & !(skip as u64))
        };
        let mut bits = 0;
        for group in (0..BLOCK).step_by(8) {
            let mut byte = 0;
            for i in (group..group + 8).rev() {
                let two = u16::from_le_bytes([window[i], window[i + 1]]);
                byte = byte << 1 | u64::from(self.apart[usize::from(two)]);
            }
            bits |= byte << group;
        }
        if window.iter().fold(0, |any, b| any | b) >= 0x80 {
            bits = self.beyond_ascii(t, at, window, spm, bits);
        }
        bits & ends
    }

    /// Replaces the bits beside characters beyond ASCII.
    #[inline(never)]
    fn beyond_ascii(
        &self,
        t: &[u8],
        at: usize,
        window: &[u8; BLOCK + 1],
        spm: bool,
        bits: u64,
    ) -> u64 {
        let Some((bytes, before)) = window.last_chunk().zip(window.first()) else {
            return bits;
        };
        let high = tops(bytes, |x| x);
        let inner = tops(bytes, |x| x & !(x << 1));
        let beside = high | high << 1 | u64::from(before >> 7);
        let mut open = beside & !inner;
        let mut found = bits & !beside;
        let (mut last, mut code) = (usize::MAX, 0);
        while open != 0 {
            let i = open.trailing_zeros() as usize;
            open &= open - 1;
            let p = at + i;
            if p == 0 || p >= t.len() {
                continue;
            }
            let mut prev = p - 1;
            while prev > 0 && continues(t[prev]) {
                prev -= 1;
            }
            let a = if prev == last {
                code
            } else {
                code_point(t, prev).0
            };
            (last, code) = (p, code_point(t, p).0);
            let crossed = self.joined(a, code, spm) | self.partly_crosses(t, prev, p);
            found |= u64::from(!crossed) << i;
        }
        found
    }

    /// Whether a token may hold two characters, not both of ASCII, side by side.
    #[inline]
    fn joined(&self, a: u32, b: u32, spm: bool) -> bool {
        let bar = |c: u32| if spm && c == 0x20 { 0x2581 } else { c };
        self.filter_has(bar(a), bar(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_equal_the_cuts_one_by_one(
            tokens in proptest::collection::vec("[a-c▁ é中文]{1,4}", 0..8),
            text in "[a-c ▁é中文😀.]{0,150}",
            spm in any::<bool>(),
        ) {
            let mut bridges = Bridges::new();
            for token in &tokens {
                bridges.add(token.as_bytes());
            }
            bridges.add(&[b'a', 0xE4]);
            bridges.finish(spm);
            let t = text.as_bytes();
            for at in 0..=t.len() {
                let cuts = bridges.cuts(t, at, spm);
                for i in 0..BLOCK {
                    let p = at + i;
                    let inside = p > 0 && text.get(p..).is_some_and(|rest| !rest.is_empty());
                    let prev = (0..p).rev().find(|&q| text.is_char_boundary(q));
                    let cut = inside && prev.is_some_and(|q| !bridges.crosses(t, q, p, spm));
                    prop_assert_eq!(cuts >> i & 1 != 0, cut, "{} {}", at, i);
                }
            }
        }
    }
}
