//! Encoding pre-tokens of scripts without spaces: cut between characters that no token holds side
//! by side, and most of what is left is one lookup away (`dense.rs`).

use super::{State, short_key};
use crate::cache::{Entry, SHORT, Table, hash};
use crate::classes::classes;
use crate::cut::char_len;
use crate::dense::{CUT, Lookup, SLOW, TWO};
use crate::encoder::{Encoding, append};
use crate::plan::Plan;
use crate::split::Split;

/// Characters looked at in one go: the bits of a word, less one for the end.
const MOST: usize = 63;

/// Characters of a stretch of pre-tokens: all that is looked up first, without a branch on what is
/// found, so that the lookups overlap.
struct Chars {
    starts: [u32; MOST + 1],
    /// What each makes with the one before, and by itself.
    pairs: [u32; MOST + 1],
    singles: [u32; MOST + 1],
    /// Keys of units for the cache, by their first character.
    keys: [u128; MOST + 1],
    hashes: [u32; MOST + 1],
    /// Characters before which the text may be cut, and the end as one more.
    cuts: u64,
    /// Those at which pre-tokens begin or end.
    heads: u64,
}

/// A stretch of text that begins with a pre-token of dense script, and where its reading stands.
pub(super) struct Stretch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) split: &'a Split,
    pub(super) t: &'a [u8],
    /// The pre-token being read.
    pub(super) head: usize,
    pub(super) end: usize,
}

/// Whether a byte begins a character of the scripts that come here (not those of U+0800 to U+2FFF,
/// which stand between words of other scripts).
pub(super) const fn begins(b: u8) -> bool {
    matches!(b, 0xE3..=0xEF)
}

impl Stretch<'_> {
    /// Goes on to the pre-token at `at`, where the last one ends, if it is of dense script, too.
    #[inline]
    fn next(&mut self, at: usize) -> bool {
        let more = self.t.get(at).is_some_and(|&b| begins(b));
        if more {
            self.head = at;
            self.end = self.split.next(classes(), self.t, at);
        }
        more
    }
}

/// Scratch memory, kept from piece to piece: clearing it took longer than using it.
pub(super) struct Scratch {
    chars: Chars,
    tokens: Tokens,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            chars: Chars {
                starts: [0; MOST + 1],
                pairs: [CUT; MOST + 1],
                singles: [SLOW; MOST + 1],
                keys: [0; MOST + 1],
                hashes: [0; MOST + 1],
                cuts: 0,
                heads: 0,
            },
            tokens: Tokens {
                ids: [0; 2 * MOST + 2],
                spans: [[0; 2]; 2 * MOST + 2],
                len: 0,
            },
        }
    }
}

impl Chars {
    /// Looks at up to 63 characters from `p`, where the text may be cut.
    #[inline(never)] // of its own, it has the registers that it needs
    #[allow(clippy::needless_bitwise_bool)] // half of all pairs are cuts, in no order to learn
    fn look(&mut self, s: &mut Stretch<'_>, table: Lookup<'_>, p: usize) {
        let (mut at, mut n, mut cuts) = (p, 0, 0u64);
        let mut heads = u64::from(p == s.head);
        let bridges = &s.plan.bridges;
        loop {
            let t = &s.t[..s.end];
            // The character before, or 0 where the text may be cut in any case.
            let (mut a, mut last) = (0, 0);
            let mut apart = true;
            while n < MOST && at < t.len() {
                let i = n & MOST;
                self.starts[i] = at as u32;
                let mut pair = CUT;
                if let Some(&[x, y, z]) = t[at..].first_chunk()
                    && x & 0xF0 == 0xE0
                {
                    let code = three([x, y, z]);
                    self.singles[i] = table.single(code);
                    if a != 0 {
                        pair = table.pair(a, code);
                        let near = bridges.may_cross_three(last, [x, y]);
                        if near & (pair == CUT) && bridges.partly_crosses(t, at - 3, at) {
                            pair = SLOW;
                        }
                    } else if !apart {
                        pair = crossed(s.plan, t, at);
                    }
                    (a, last) = (code, z);
                    at += 3;
                } else {
                    if !apart {
                        pair = crossed(s.plan, t, at);
                    }
                    self.singles[i] = SLOW;
                    a = 0;
                    at = (at + char_len(t[at]).max(1)).min(t.len());
                }
                self.pairs[i] = pair;
                cuts |= u64::from(pair == CUT) << i;
                apart = false;
                n += 1;
            }
            if n == MOST || !s.next(at) {
                break;
            }
            heads |= 1 << n;
        }
        self.starts[n & MOST] = at as u32;
        let end = u64::from(at == s.end) << n;
        (self.cuts, self.heads) = (cuts | end, heads | end);
    }

    /// Makes the keys of units of more than two characters, and asks for their places in the caches
    /// before they are needed.
    #[inline]
    fn ask(&mut self, s: &Stretch<'_>, learned: &Table) {
        let c = self.cuts;
        let mut asked = c & !(c >> 1) & !(c >> 2);
        while asked != 0 {
            let i = asked.trailing_zeros();
            asked &= asked - 1;
            let ends = c >> i & !1;
            let j = (ends.trailing_zeros() + i) as usize & MOST;
            let i = i as usize & MOST;
            let (start, end) = (self.starts[i] as usize, self.starts[j] as usize);
            if ends == 0 || end - start > SHORT {
                continue;
            }
            let whole = self.heads >> i & self.heads >> j & 1 != 0;
            let mark = if whole { 0 } else { s.plan.unit_mark() };
            let key = short_key(s.t, start, end) | mark;
            let h = hash(key);
            learned.prefetch(h);
            (self.keys[i], self.hashes[i]) = (key, h);
        }
    }
}

#[inline]
fn three([a, b, c]: [u8; 3]) -> u32 {
    u32::from(a & 0x0F) << 12 | u32::from(b & 0x3F) << 6 | u32::from(c & 0x3F)
}

/// What stands between two characters of which one is not of three bytes.
#[inline(never)]
fn crossed(plan: &Plan, t: &[u8], at: usize) -> u32 {
    let before = t[..at].iter().rposition(|b| b & 0xC0 != 0x80);
    if plan.bridges.crosses(t, before.unwrap_or(0), at, false) {
        SLOW
    } else {
        CUT
    }
}

/// Tokens on their way out.
struct Tokens {
    ids: [u32; 2 * MOST + 2],
    spans: [[u32; 2]; 2 * MOST + 2],
    len: usize,
}

impl Tokens {
    /// Adds a token, and the one that would follow it: where it does not, the next is written over
    /// it.
    #[inline]
    fn add(&mut self, ids: [u32; 2], [start, middle, end]: [u32; 3], two: bool) {
        let at = self.len.min(2 * MOST);
        [self.ids[at], self.ids[at + 1]] = ids;
        [self.spans[at], self.spans[at + 1]] = [[start, middle], [middle, end]];
        self.len = at + 1 + usize::from(two);
    }

    fn flush(&mut self, out: &mut Encoding) {
        out.ids.extend_from_slice(&self.ids[..self.len]);
        out.offsets.extend_from_slice(&self.spans[..self.len]);
        self.len = 0;
    }
}

impl State {
    /// Appends the tokens of a stretch of text; returns where it ends.
    pub(super) fn dense(&mut self, mut s: Stretch<'_>, out: &mut Encoding) -> usize {
        let (mut at, plan, t) = (s.head, s.plan, s.t);
        let Some(table) = plan.dense.lookup() else {
            return at;
        };
        let mut scratch = self.scratch.take().unwrap_or_default();
        let Scratch { chars, tokens } = &mut *scratch;
        while at < s.end || s.next(at) {
            chars.look(&mut s, table, at);
            chars.ask(&s, &self.learned.short);
            let mut rest = chars.cuts & !1;
            let mut i = 0;
            while rest != 0 {
                let j = rest.trailing_zeros() as usize & MOST;
                rest &= rest - 1;
                let (start, end) = (chars.starts[i & MOST], chars.starts[j]);
                let next = (i + 1) & MOST;
                let one = chars.singles[i & MOST];
                let value = if j == next { one } else { chars.pairs[next] };
                let two = value == TWO;
                let whole = chars.heads >> i & chars.heads >> j & 1 != 0;
                // (A pre-token that is a token of the vocabulary may be that one whatever merges.)
                if j - i > 2 || value == SLOW || (whole && plan.units_differ) {
                    tokens.flush(out);
                    let (start, end) = (start as usize, end as usize);
                    let mark = if whole { 0 } else { plan.unit_mark() };
                    if end - start > SHORT {
                        self.long(plan, &t[start..end], start, mark != 0, out);
                    } else if j - i > 2 {
                        self.unit(
                            plan,
                            t,
                            chars.keys[i & MOST],
                            chars.hashes[i & MOST],
                            start,
                            out,
                        );
                    } else {
                        let key = short_key(t, start, end);
                        self.unit(plan, t, key, hash(key), start, out);
                    }
                } else {
                    let ids = [if two { one } else { value }, chars.singles[next]];
                    let middle = if two { chars.starts[next] } else { end };
                    tokens.add(ids, [start, middle, end], two);
                }
                i = j;
            }
            tokens.flush(out);
            if i == 0 {
                // One unit of many characters.
                let end = plan.bridges.unit(&t[..s.end], at, false);
                let unit = plan.units_differ && !(at == s.head && end == s.end);
                self.long(plan, &t[at..end], at, unit, out);
                at = end;
            } else {
                at = chars.starts[i & MOST] as usize;
            }
        }
        self.scratch = Some(scratch);
        at
    }

    /// Appends the tokens of a short unit by way of cache and merging.
    #[inline]
    fn unit(&mut self, plan: &Plan, t: &[u8], key: u128, h: u32, start: usize, out: &mut Encoding) {
        match self.learned.short.get(key, h).and_then(Entry::tokens) {
            Some((ids, lens)) => append(ids, &lens[..ids.len()], start, out),
            None => self.unknown(plan, t, key, h, start, out),
        }
    }
}
