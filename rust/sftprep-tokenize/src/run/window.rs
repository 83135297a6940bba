//! Where tokens begin in 63 characters of text in scripts without spaces, ASCII between them
//! included, all at once.
//!
//! Every character is looked up with the one before it (`dense.rs`), which gives a byte of flags
//! for every boundary, and those become masks. Where pre-tokens begin is what the blocks of ASCII
//! tell (`blocks.rs`) of a text that has for every character an ASCII one that splits alike. Two
//! characters that become one token, and whose token can merge no further with what stands beside
//! it in its unit, do so whatever happens elsewhere: only units where that is open are merged step
//! by step.

#![allow(clippy::inline_always)] // all of it is compiled once for each set of instructions

use crate::blocks::{BLOCK, Bytes, Look, Rules, numbers, starts, turned};
use crate::classes::code_point;
use crate::dense::{CUT, Dense, ID, Lookup, NOBODY, SEVERAL, SLOW};
use crate::merge::NONE;
use crate::plan::Plan;
use crate::split::{Split, Word};

/// Characters looked at in one go: the bits of a word, less one for the end.
pub(super) const MOST: usize = 63;

/// A token that the way through cache and merging has to tell.
pub(super) const OTHER: u32 = 1 << 22;

/// Longer units are merged elsewhere.
const LONG_UNIT: usize = 32;
/// Nearly all are no longer than this.
const SHORT_UNIT: usize = 8;

/// A text that windows are opened on.
pub(super) struct Stretch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) split: &'a Split,
    pub(super) rules: Rules,
    pub(super) table: Lookup<'a>,
    pub(super) t: &'a [u8],
}

/// A pre-token that windows cannot tell the end of, or what is left of it.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) end: usize,
    /// Nothing of it has been encoded yet.
    pub(super) whole: bool,
}

/// Characters, and what is known of them.
pub(super) struct Window {
    /// Where each begins in the text, and the end.
    pub(super) starts: [u32; MOST + 1],
    /// What each is by itself; in the end, the token that begins there.
    pub(super) tokens: [u32; MOST + 1 + LONG_UNIT],
    /// What each makes with the one before.
    pairs: [u32; MOST + 2 + LONG_UNIT],
    /// The upper byte of that, with two bits more.
    flags: [u8; MOST + 1],
    /// The ASCII characters that stand for them.
    stand_ins: Bytes,
    /// Characters at which pre-tokens begin or end.
    pub(super) heads: u64,
    /// Characters at which tokens begin, and the end.
    pub(super) begins: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            starts: [0; MOST + 1],
            tokens: [0; MOST + 1 + LONG_UNIT],
            pairs: [CUT; MOST + 2 + LONG_UNIT],
            flags: [0; MOST + 1],
            stand_ins: [0; BLOCK + 16],
            heads: 0,
            begins: 0,
        }
    }
}

/// What is known of every boundary between characters, a bit for each.
struct Masks {
    /// The character after it is of three bytes.
    three: u64,
    /// Tokens that begin or end within a character may cross it.
    near: u64,
    alone: u64,
    right: u64,
    left: u64,
    one: u64,
    slow: u64,
    cut: u64,
}

/// Bits 0 to n - 1, n being at most 63.
#[inline(always)]
const fn below(n: usize) -> u64 {
    (1 << (n & 63)) - 1
}

#[inline(always)]
fn three([a, b, c]: [u8; 3]) -> u32 {
    u32::from(a & 0x0F) << 12 | u32::from(b & 0x3F) << 6 | u32::from(c & 0x3F)
}

/// Whether a token may cross the boundary at `at`.
#[inline(never)]
fn crossed(plan: &Plan, t: &[u8], at: usize) -> bool {
    let before = t[..at].iter().rposition(|b| b & 0xC0 != 0x80);
    plan.bridges.crosses(t, before.unwrap_or(0), at, false)
}

impl Window {
    /// Looks at the characters from `at` and finds the tokens of as many as can be told; returns
    /// their number. That may be 0: where the pre-token at `at` does not end within the window or
    /// holds a character of a kind that no ASCII one stands for, and where a unit of a piece does
    /// not end within the window.
    #[inline(always)]
    pub(super) fn look<L: Look>(
        &mut self,
        s: &Stretch<'_>,
        at: usize,
        piece: Option<Piece>,
    ) -> usize {
        let (n, masks) = match piece {
            None => self.read::<false>(s, s.t, at),
            Some(piece) => self.read::<true>(s, &s.t[..piece.end], at),
        };
        let end = self.starts[n] as usize;
        self.heads = match piece {
            None => self.pre_tokens::<L>(s, &masks, n, end == s.t.len()),
            Some(piece) => u64::from(piece.whole) | u64::from(end == piece.end) << n,
        };
        let (mut cut, mut slow) = (masks.cut | self.heads | 1, masks.slow);
        let mut near = masks.near & masks.cut & !self.heads & below(n) & !1;
        while near != 0 {
            let i = near.trailing_zeros() as usize & MOST;
            near &= near - 1;
            let (before, here) = (self.starts[i - 1] as usize, self.starts[i] as usize);
            if s.plan.bridges.partly_crosses(s.t, before, here) {
                cut &= !(1 << i);
                slow |= 1 << i;
            }
        }
        // As far as is certain: to the last pre-token that begins, or within a piece to a cut.
        let known = match piece {
            Some(_) if self.heads >> n & 1 == 0 => cut & below(n),
            _ => self.heads | 1,
        };
        let n = 63 - known.leading_zeros() as usize;
        self.tokenize(s.plan, &masks, cut & (below(n) | 1 << n), slow, n);
        n
    }

    /// Reads up to 63 characters of `t` from `p`; returns their number and what is known of them.
    #[inline(always)]
    fn read<const PIECE: bool>(
        &mut self,
        s: &Stretch<'_>,
        t: &[u8],
        mut p: usize,
    ) -> (usize, Masks) {
        let bridges = &s.plan.bridges;
        let (mut left, mut owner, mut last, mut n) = (0, NOBODY, 0u8, 0);
        while n < MOST && p < t.len() {
            let x = t[p];
            self.starts[n] = p as u32;
            let (code, near, len);
            if x & 0xF0 == 0xE0
                && let Some(&[_, y, z]) = t[p..].first_chunk()
            {
                code = three([x, y, z]);
                near = bridges.may_cross_three(last, [x, y]);
                (last, len) = (z, 3);
            } else if x < 0x80 {
                code = u32::from(x);
                let bits = bridges.gate[usize::from(x) << 2 | usize::from(last >> 6)];
                near = bits >> (last & 63) & 1 != 0;
                len = 1;
            } else if PIECE {
                let (code, len) = code_point(t, p);
                let end = (p + len).min(t.len());
                let open = n > 0 && crossed(s.plan, t, p);
                let pair = if open { SLOW } else { CUT };
                self.pairs[n] = pair;
                self.flags[n] = (pair >> 24) as u8;
                self.tokens[n] = match code {
                    0..0x1_0000 => s.table.char(code) as u32 & (SEVERAL | ID),
                    _ => OTHER,
                };
                (left, owner, last) = (0, NOBODY, t[end - 1]);
                p = end;
                n += 1;
                continue;
            } else {
                break;
            }
            let c = s.table.char(code);
            let stand_in = (c >> 24) as u8;
            let mut pair = s.table.pair(left, owner, c);
            if PIECE {
                if owner == NOBODY && n > 0 && crossed(s.plan, t, p) {
                    pair = SLOW;
                }
            } else if stand_in == 0 {
                break;
            }
            if x < 0x80 {
                if owner < 0x80 {
                    pair = SLOW;
                }
                let upper = x.is_ascii_uppercase() && s.split.word == Word::Cased;
                // (What that means depends on what follows.)
                if !PIECE && upper && owner >= 0x80 && owner != NOBODY {
                    break;
                }
                last = x;
            }
            self.stand_ins[n] = stand_in;
            self.tokens[n] = c as u32 & (SEVERAL | ID);
            self.pairs[n] = pair;
            self.flags[n] = (pair >> 24) as u8 | u8::from(near) << 1 | u8::from(len == 3);
            (left, owner) = (c, u64::from(code));
            p += len;
            n += 1;
        }
        self.starts[n] = p as u32;
        self.stand_ins[n] = 0;
        (n, self.masks())
    }

    #[inline(always)]
    fn masks(&self) -> Masks {
        let mut masks = [0u64; 8];
        for (group, chunk) in self.flags.as_chunks::<8>().0.iter().enumerate() {
            let rows = turned(u64::from_le_bytes(*chunk));
            for (mask, row) in masks.iter_mut().zip(rows.to_le_bytes()) {
                *mask |= u64::from(row) << (8 * group);
            }
        }
        let [three, near, alone, right, left, one, slow, cut] = masks;
        Masks {
            three,
            near,
            alone: alone & !cut,
            right,
            left,
            one: one & !cut,
            slow: slow & !cut,
            cut,
        }
    }

    /// Characters at which pre-tokens begin, as far as that is certain, and the end if it is that
    /// of the text.
    #[inline(always)]
    fn pre_tokens<L: Look>(&self, s: &Stretch<'_>, m: &Masks, n: usize, ended: bool) -> u64 {
        let kinds = L::kinds(&self.stand_ins);
        let rest = if ended { n } else { usize::MAX };
        let mut begin = starts(&kinds, &self.stand_ins, rest, &s.rules);
        if s.split.word == Word::DeepSeek {
            // Digits stand for Han and kana, which are apart as digits are, but not in threes.
            // Punctuation joins letters only where both are ASCII.
            let valid = below(n);
            let dense = kinds.digit & m.three & valid;
            let digit = kinds.digit & !m.three & valid;
            let letter = (kinds.upper | kinds.lower) & valid;
            begin &= !(dense | digit);
            begin |= dense & !(dense << 1);
            begin |= numbers(0, digit, 0, s.split.digits);
            begin |= letter & (m.three & !dense) << 1;
        }
        begin
    }

    /// Finds the tokens of `n` characters from masks of cuts (its end is one) and of boundaries
    /// that only the slow way tells.
    #[inline(always)]
    fn tokenize(&mut self, plan: &Plan, m: &Masks, cut: u64, slow: u64, n: usize) {
        let open = below(n) & !cut;
        let (slow, one) = (slow & open, m.one & open);
        let side = open << 1 | open >> 1;
        let slow = slow | m.alone & open & side;
        // Two that begin or end with the same character, and what may merge on.
        let contested = one & (one << 1 | one >> 1);
        let extended = one & (m.left & open >> 1 | m.right & open << 1);
        let mut ask = slow | contested | extended;
        if plan.units_differ {
            ask |= self.whole(cut);
        }
        let (mut within, mut simple) = (0, one);
        while ask != 0 {
            let i = ask.trailing_zeros() as usize;
            let start = 63 - (cut & (below(i) | 1 << i)).leading_zeros() as usize;
            let end = (cut >> i & !1).trailing_zeros() as usize + i;
            let inner = below(end) & !below(start + 1);
            ask &= !below(end);
            simple &= !inner;
            let whole = plan.units_differ && self.heads >> start & self.heads >> end & 1 != 0;
            let merged = if slow & inner != 0 || whole || !plan.dense.ordered {
                None
            } else if end - start <= SHORT_UNIT {
                self.merge::<SHORT_UNIT>(&plan.dense, one, start, end)
            } else {
                self.merge::<LONG_UNIT>(&plan.dense, one, start, end)
            };
            if let Some(left) = merged {
                within |= inner & !left;
            } else {
                within |= inner;
                self.tokens[start] = OTHER;
            }
        }
        within |= simple;
        while simple != 0 {
            let i = simple.trailing_zeros() as usize & MOST;
            simple &= simple - 1;
            self.tokens[i - 1] = self.pairs[i] & ID;
        }
        self.begins = (below(n) & !within) | 1 << n;
    }

    /// Units that are whole pre-tokens, by their first characters. (Such a one that is a token of
    /// the vocabulary may be that whatever merges.)
    #[inline(never)]
    fn whole(&self, cut: u64) -> u64 {
        let (mut rest, mut found) = (cut, 0);
        while rest & (rest - 1) != 0 {
            let i = rest.trailing_zeros();
            rest &= rest - 1;
            let pair = 1 << i | 1 << rest.trailing_zeros();
            if self.heads & pair == pair {
                found |= 1 << i;
            }
        }
        found
    }

    /// Merges a unit of characters that are one token each: the lowest id first (`ordered`), the
    /// leftmost of equals. Returns where the tokens begin, or nothing where the unit is too long.
    ///
    /// (What comes next is in no order to learn, so there are few branches: whatever can be is done
    /// for all of the places there are.)
    #[inline(always)]
    fn merge<const N: usize>(
        &mut self,
        dense: &Dense,
        one: u64,
        start: usize,
        end: usize,
    ) -> Option<u64> {
        const PLACE: u32 = 5;
        let n = end - start;
        if n > N {
            return None;
        }
        let (mut ids, mut keys) = ([0u32; N], [NONE; N]);
        let ones = one >> (start + 1) & below(n - 1);
        let tokens = self.tokens[start..].first_chunk::<N>()?;
        let pairs = self.pairs[start + 1..].first_chunk::<N>()?;
        for i in 0..N {
            ids[i] = tokens[i];
            let none = ((ones >> i & 1) as u32).wrapping_sub(1);
            keys[i] = (pairs[i] & ID) << PLACE | i as u32 | none;
        }
        let key = |made: u32, at: usize| {
            let none = (made as i32 >> 31) as u32;
            made << PLACE | at as u32 | none
        };
        let mut left = below(n);
        loop {
            let first = keys.iter().fold(NONE, |a, &b| a.min(b));
            if first == NONE {
                break;
            }
            let (made, at) = (first >> PLACE, first as usize & (N - 1));
            let after = left & !below(at + 1);
            let next = after.trailing_zeros() as usize & (N - 1);
            let beyond = (after & after.wrapping_sub(1)).trailing_zeros() as usize;
            left &= !(1 << next);
            ids[at] = made;
            keys[next] = NONE;
            // (Beyond the unit stands what merges with nothing.)
            let right = if beyond < n {
                ids[beyond & (N - 1)]
            } else {
                NONE
            };
            keys[at] = key(dense.join(made, right), at);
            let before = left & below(at);
            if before != 0 {
                let i = before.ilog2() as usize & (N - 1);
                keys[i] = key(dense.join(ids[i], made), i);
            }
        }
        self.tokens[start..start + n].copy_from_slice(&ids[..n]);
        Some(left << start)
    }
}
