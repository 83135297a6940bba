//! Cuts of 64 bytes at once, as a bit mask.
//!
//! Two ASCII bytes side by side are one load from a table of which a text uses a few KiB, and no
//! branch follows from what is found. (Gathering vector loads are no faster than these; classes of
//! characters that a vector holds would be too coarse: nearly all rows of the table differ.)

use super::{Bridges, continues};
use crate::classes::code_point;
use crate::masks::{BLOCK, high, inner, one_of};

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

impl Bridges {
    /// Where `t[from..]` may be cut: bit i for a cut before byte `at + i`, which is a character's
    /// first. Before the first byte of all there is none.
    #[inline(always)]
    #[allow(clippy::inline_always)] // it is compiled once for each set of instructions
    pub(crate) fn cuts(&self, t: &[u8], from: usize, at: usize, spm: bool) -> u64 {
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
        let [before, bytes @ ..] = window;
        let high = high(bytes);
        if high | u64::from(before >> 7) != 0 {
            bits = self.beyond_ascii(t, at, window, spm, bits);
        } else if self.run > 0 {
            bits |= self.after_runs(t, from, at, window);
        }
        bits & ends
    }

    /// The ends of runs of two to `run` spaces in `t[from..]`; the window is ASCII.
    #[inline]
    fn after_runs(&self, t: &[u8], from: usize, at: usize, window: &[u8; BLOCK + 1]) -> u64 {
        let Some(bytes) = window.last_chunk() else {
            return 0;
        };
        let spaces = one_of(bytes, b" ") & u64::MAX << from.saturating_sub(at).min(63);
        let before = |n: usize| at >= from + n && t.get(at - n) == Some(&b' ');
        let one = before(1);
        let two = one && before(2);
        let last = spaces << 1 | u64::from(one);
        let after = last & (spaces << 2 | u64::from(one) << 1 | u64::from(two)) & !spaces;
        let mut long = spaces & spaces >> 1;
        for shift in [2, 4, 8] {
            long &= long >> shift;
        }
        if after != 0 && (one || long != 0 || self.run < 15) {
            return self.after_long_runs(t, from, at, spaces, after);
        }
        after
    }

    /// The same where runs may be too long, or began before the block.
    #[inline(never)]
    fn after_long_runs(
        &self,
        t: &[u8],
        from: usize,
        at: usize,
        spaces: u64,
        mut after: u64,
    ) -> u64 {
        let mut found = 0;
        while after != 0 {
            let i = after.trailing_zeros();
            after &= after - 1;
            let mut run = if i == 0 {
                0
            } else {
                (!(spaces << (64 - i))).leading_zeros()
            };
            let mut ascii = true;
            if run == i {
                let before = t[from..at].iter().rev().take(self.run as usize + 1);
                run += before.clone().take_while(|b| **b == b' ').count() as u32;
                ascii = before
                    .clone()
                    .nth((run - i) as usize)
                    .is_none_or(u8::is_ascii);
            }
            let cut = ascii && run <= self.run;
            found |= u64::from(cut) << i;
        }
        found
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
        let high = high(bytes);
        let beside = high | high << 1 | u64::from(before >> 7);
        let mut open = beside & !inner(bytes);
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
                let cuts = bridges.cuts(t, 0, at, spm);
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

    proptest! {
        #[test]
        fn runs_of_spaces_end_in_a_cut(
            parts in proptest::collection::vec(("[a-c▁]{0,2}", 0usize..40), 1..8),
            from in 0usize..80,
            run in 2u32..40,
        ) {
            let mut bridges = Bridges::new();
            bridges.add("▁a".as_bytes());
            bridges.add("▁▁".as_bytes());
            bridges.finish(true);
            let text: String = parts.iter().map(|(s, n)| s.clone() + &" ".repeat(*n)).collect();
            let t = text.as_bytes();
            let from = (0..=from.min(t.len())).rfind(|&p| text.is_char_boundary(p)).unwrap_or(0);
            for at in (from & !(BLOCK - 1)..=t.len()).step_by(BLOCK) {
                bridges.run = 0;
                let pairs = bridges.cuts(t, from, at, true);
                bridges.run = run;
                let cuts = bridges.cuts(t, from, at, true);
                prop_assert_eq!(cuts & pairs, pairs);
                for i in (0..BLOCK).filter(|i| at + i > from && at + i < t.len()) {
                    let p = at + i;
                    let n = t[from..p].iter().rev().take_while(|b| **b == b' ').count();
                    let bar = |p: usize| text.get(p..).is_some_and(|t| t.starts_with('▁'));
                    let alone = !bar(p) && (p - n == from || p < n + 3 || !bar(p - n - 3));
                    let ends = t[p] != b' ' && (2..=run as usize).contains(&n) && alone;
                    let only = cuts & !pairs & 1 << i != 0;
                    prop_assert!(!only || ends, "{p}");
                    prop_assert!(!(ends && text.is_ascii()) || cuts >> i & 1 != 0, "{p}");
                }
            }
        }
    }
}
