//! Text of sentencepiece vocabularies: nothing splits it, so it is cut where no token can cross.
//!
//! The units of a whole text go through one batch, added tokens between them: those are often
//! newlines, and a batch for each line would be too small to hide what a lookup waits for.

use super::batch::Batch;
use super::{Features, State};
use crate::cache::{Entry, KEEP, SHORT, Table, hash, key_of};
use crate::cut::{Bridges, char_len};
use crate::encoder::{Encoding, append};
use crate::masks::BLOCK;
use crate::plan::{Plan, Prefix};

/// An added token in a text: its id and the bytes that it covers.
pub(crate) type Added = (u32, usize, usize);

/// How far a text is cut.
struct Walk<'t> {
    t: &'t [u8],
    /// Where the piece begins: what is before it is not seen.
    from: usize,
    /// Where the unit begins that is not yet in the batch.
    start: usize,
    /// The block that is looked at, and its cuts after `start`.
    base: usize,
    cuts: u64,
}

/// Bits 0 to n - 1.
#[inline]
const fn below(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// The key of `t[a..b]`, which is short.
#[inline(always)]
#[allow(clippy::inline_always)]
fn short_key(t: &[u8], a: usize, b: usize) -> u128 {
    let [keep, size] = KEEP[(b - a) & 15];
    if let Some(bytes) = t[a..].first_chunk() {
        return u128::from_le_bytes(*bytes) & keep | size;
    }
    match t.last_chunk::<16>() {
        // (The end of a text is read from further back: copying a few bytes is a call.)
        Some(bytes) => {
            let beyond = a + 16 - t.len();
            u128::from_le_bytes(*bytes) >> (8 * (beyond & 15)) & keep | size
        }
        None => key_of(&t[a..b]),
    }
}

/// Puts `t[a..b]` into the batch.
#[inline(always)]
#[allow(clippy::inline_always)]
fn put(batch: &mut Batch, i: usize, table: &Table, t: &[u8], a: usize, b: usize) {
    let key = if b - a <= SHORT {
        short_key(t, a, b)
    } else {
        b as u128
    };
    batch.set(i, table, key, a);
}

impl Walk<'_> {
    /// Puts the units that end before `end` into the batch until it is more than half full;
    /// says whether it came to the end.
    #[inline(always)]
    #[allow(clippy::inline_always)] // it is compiled once for each set of instructions
    fn fill(&mut self, batch: &mut Batch, table: &Table, bridges: &Bridges, end: usize) -> bool {
        let mut i = batch.filled;
        let reached = loop {
            let ahead = end - self.base;
            let mut cuts = self.cuts & below(ahead);
            while cuts != 0 {
                let cut = self.base + cuts.trailing_zeros() as usize;
                cuts &= cuts - 1;
                put(batch, i, table, self.t, self.start, cut);
                self.start = cut;
                i += 1;
            }
            if ahead < BLOCK {
                self.cuts &= !below(ahead + 1);
                break true;
            }
            self.base += BLOCK;
            self.cuts = bridges.cuts(self.t, self.from, self.base, true);
            if i > BLOCK {
                break false;
            }
        };
        batch.filled = i;
        reached
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn fill_avx2(
        &mut self,
        batch: &mut Batch,
        table: &Table,
        bridges: &Bridges,
        end: usize,
    ) -> bool {
        self.fill(batch, table, bridges, end)
    }

    /// Begins a piece at `start`, which is not before where it is.
    #[inline]
    fn begin(&mut self, bridges: &Bridges, start: usize) {
        self.from = start;
        // (A run of spaces is shorter where an added token has taken some.)
        let known = self.t.get(start.wrapping_sub(1)) != Some(&b' ');
        self.skip_to(bridges, start, known);
    }

    /// Goes on at `start`; `known`: what is known of its block holds.
    #[inline]
    fn skip_to(&mut self, bridges: &Bridges, start: usize, known: bool) {
        self.start = start;
        let base = start & !(BLOCK - 1);
        if base != self.base || !known {
            self.base = base;
            self.cuts = bridges.cuts(self.t, self.from, base, true);
        }
        self.cuts &= !below(start - base + 1);
    }
}

impl State {
    /// Appends the tokens of `t[start..]`, in which added tokens were found.
    pub(crate) fn sentencepiece(
        &mut self,
        plan: &Plan,
        prefix: Prefix,
        t: &[u8],
        start: usize,
        found: &[Added],
        out: &mut Encoding,
    ) {
        let mut walk = Walk {
            t,
            from: start,
            start,
            base: usize::MAX,
            cuts: 0,
        };
        walk.begin(&plan.bridges, start);
        for &(id, left, right) in found {
            if walk.start < left {
                self.between(plan, prefix, &mut walk, left, out);
            }
            // A token may begin in whitespace that the one before has taken.
            let from = left.max(walk.start);
            let to = right.max(from);
            self.push_added(plan, id, [from, to], t, out);
            if to > walk.start {
                walk.begin(&plan.bridges, to);
            }
        }
        if walk.start < t.len() {
            self.between(plan, prefix, &mut walk, t.len(), out);
        }
        self.drain(plan, t, out);
    }

    /// Puts the units up to `end`, where an added token or the end of the text is, into the batch.
    #[allow(unsafe_code)]
    fn between(
        &mut self,
        plan: &Plan,
        prefix: Prefix,
        walk: &mut Walk<'_>,
        end: usize,
        out: &mut Encoding,
    ) {
        if prefix != Prefix::Never {
            self.dummy_prefix(plan, prefix, walk, end, out);
        }
        loop {
            let (batch, table) = (&mut *self.batch, &self.learned.short);
            let reached = match self.features {
                Features::Plain => walk.fill(batch, table, &plan.bridges, end),
                // SAFETY: `detect` has found that the processor has these instructions.
                #[cfg(target_arch = "x86_64")]
                Features::Avx2 => unsafe { walk.fill_avx2(batch, table, &plan.bridges, end) },
            };
            if reached {
                break;
            }
            self.drain(plan, walk.t, out);
        }
        if walk.start < end {
            let i = self.batch.filled;
            put(
                &mut self.batch,
                i,
                &self.learned.short,
                walk.t,
                walk.start,
                end,
            );
            self.batch.filled = i + 1;
            walk.start = end;
        }
        if self.batch.filled > BLOCK {
            self.drain(plan, walk.t, out);
        }
    }

    /// Where a piece of text gets a space in front that is not in it, encodes its first unit so.
    fn dummy_prefix(
        &mut self,
        plan: &Plan,
        prefix: Prefix,
        walk: &mut Walk<'_>,
        end: usize,
        out: &mut Encoding,
    ) {
        let (start, t) = (walk.start, &walk.t[..end]);
        let spaced = t[start] == b' ' || t[start..].starts_with("▁".as_bytes());
        let dummy = match prefix {
            Prefix::Never => false,
            Prefix::Always => true,
            Prefix::Unspaced => !spaced,
            Prefix::First => !spaced && start == 0,
        };
        if !dummy || (self.goes_on && start == 0) {
            return;
        }
        self.drain(plan, walk.t, out);
        let mut buffer = std::mem::take(&mut self.prefixed);
        buffer.clear();
        buffer.push(b' ');
        let first = start + char_len(t[start]).max(1);
        buffer.extend_from_slice(&t[start..first.min(t.len())]);
        let joined = plan.bridges.crosses(&buffer, 0, 1, true);
        buffer.truncate(1);
        if joined {
            let end = plan.bridges.unit(t, start, true);
            buffer.extend_from_slice(&t[start..end]);
            walk.skip_to(&plan.bridges, end, true);
        }
        self.prefixed_unit(plan, &buffer, start, out);
        self.prefixed = buffer;
    }

    /// Appends the tokens of a unit of which the first byte, a space, is not in the text.
    fn prefixed_unit(&mut self, plan: &Plan, unit: &[u8], start: usize, out: &mut Encoding) {
        let first = out.offsets.len();
        if unit.len() <= SHORT {
            let key = key_of(unit);
            let h = hash(key);
            let known = self.learned.short.get(key, h);
            if let Some((ids, lens)) = known.and_then(Entry::tokens) {
                append(ids, &lens[..ids.len()], start, out);
            } else {
                self.unknown(plan, unit, key, h, start, out);
            }
        } else {
            self.compute(plan, unit, true);
            append(&self.ids, &self.lens, start, out);
        }
        // All but the first token's beginning move back over the space.
        for (i, span) in out.offsets[first..].iter_mut().enumerate() {
            span[0] -= u32::from(i > 0);
            span[1] -= 1;
        }
    }
}
