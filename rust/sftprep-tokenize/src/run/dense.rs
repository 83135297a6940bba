//! Encoding pre-tokens of scripts without spaces: cut between characters that no token holds side
//! by side, and most of what is left is one lookup away (`dense.rs`).

use super::State;
use crate::cache::{SHORT, hash, key_of};
use crate::classes::code_point;
use crate::dense::{CUT, SLOW, TWO};
use crate::encoder::{Encoding, append};
use crate::plan::Plan;

/// Characters looked at in one go: the bits of a word, less one for the end.
const MOST: usize = 63;

/// Characters of a pre-token: all that is looked up first, without a branch on what is found, so
/// that the lookups overlap.
struct Chars {
    starts: [u32; MOST + 1],
    /// What each makes with the one before, and by itself.
    pairs: [u32; MOST + 1],
    singles: [u32; MOST + 1],
    /// Characters before which the text may be cut, and the end of the piece as one more.
    cuts: u64,
    len: usize,
}

impl Chars {
    fn new() -> Self {
        Self {
            starts: [0; MOST + 1],
            pairs: [CUT; MOST + 1],
            singles: [SLOW; MOST + 1],
            cuts: 0,
            len: 0,
        }
    }

    /// Looks at up to 63 characters of `t` (which ends where the piece does) from `p`, where it
    /// may be cut.
    #[inline]
    fn look(&mut self, plan: &Plan, t: &[u8], p: usize) {
        let (mut at, mut n, mut cuts) = (p, 0, 1u64);
        let (mut a, mut a_len, mut a_at) = (0, 0, p);
        while at < t.len() && n < MOST {
            let (b, len) = code_point(t, at);
            let i = n & MOST;
            self.starts[i] = at as u32;
            let mut pair = CUT;
            if len == 3 {
                self.singles[i] = plan.dense.single(b);
            } else {
                self.singles[i] = SLOW;
            }
            if a_len == 3 && len == 3 {
                pair = plan.dense.pair(a, b);
                if pair == CUT && plan.bridges.partly_crosses(t, a_at, at) {
                    pair = SLOW;
                }
            } else if a_len != 0 && plan.bridges.crosses(t, a_at, at, false) {
                pair = SLOW;
            }
            self.pairs[i] = pair;
            cuts |= u64::from(pair == CUT) << i;
            (a, a_len, a_at) = (b, len, at);
            at = (at + len).min(t.len());
            n += 1;
        }
        self.starts[n & MOST] = at as u32;
        self.cuts = cuts | u64::from(at == t.len()) << n;
        self.len = n;
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
    /// Appends the tokens of a pre-token, `t[p..]`.
    pub(super) fn dense(&mut self, plan: &Plan, t: &[u8], p: usize, out: &mut Encoding) {
        let mut chars = Chars::new();
        let mut tokens = Tokens {
            ids: [0; 2 * MOST + 2],
            spans: [[0; 2]; 2 * MOST + 2],
            len: 0,
        };
        let mut at = p;
        while at < t.len() {
            chars.look(plan, t, at);
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
                // A pre-token that is a token of the vocabulary may be that one whatever merges.
                let whole = plan.units_differ && start as usize == p && end as usize == t.len();
                if j - i > 2 || value == SLOW || whole {
                    tokens.flush(out);
                    let whole = start as usize == p && end as usize == t.len();
                    self.unit(plan, t, start as usize..end as usize, whole, out);
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
                let end = plan.bridges.unit(t, at, false);
                self.unit(plan, t, at..end, at == p && end == t.len(), out);
                at = end;
            } else {
                at = chars.starts[i & MOST] as usize;
            }
        }
    }

    /// Appends the tokens of a unit by way of cache and merging.
    #[inline(never)]
    fn unit(
        &mut self,
        plan: &Plan,
        t: &[u8],
        at: std::ops::Range<usize>,
        whole: bool,
        out: &mut Encoding,
    ) {
        let mark = if whole { 0 } else { plan.unit_mark() };
        let (piece, start) = (&t[at.clone()], at.start);
        if piece.len() > SHORT {
            return self.long(plan, piece, start, mark != 0, out);
        }
        let key = key_of(piece) | mark;
        let h = hash(key);
        match self.learned.short.get(key, h) {
            Some(e) if e.count().is_some() => {
                let n = e.count().unwrap_or(0);
                append(&e.ids[..n], &[e.len(0), e.len(1), e.len(2)][..n], start, out);
            }
            _ => self.unknown(plan, t, key, h, start, out),
        }
    }
}
