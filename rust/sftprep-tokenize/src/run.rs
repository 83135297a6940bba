//! Encoding with a plan: scan a piece of text into pre-tokens or units, look each up, and only
//! where it is not known cut and merge.
//!
//! Scanning runs ahead of looking up by a batch, so that the cache lines asked for while scanning
//! have arrived when they are needed.

#![allow(clippy::many_single_char_names)] // positions in one text

mod batch;
mod dense;
pub(crate) mod spm;
mod window;

use crate::blocks::{BLOCK, Features, Plain, Rules};
use crate::cache::{Entry, Learned, SHORT, added, added_key, bytes_of, hash, key_of, spaces};
use crate::classes::classes;
use crate::encoder::{Encoding, append};
use crate::merge::Merger;
use crate::plan::{Family, Plan};
use crate::split::Split;
use batch::{Batch, emit, fill, short_key};
#[cfg(target_arch = "x86_64")]
use batch::{emit_avx2, fill_avx2};

/// What one thread needs to encode, kept from text to text.
pub(crate) struct State {
    learned: Learned,
    merger: Merger,
    batch: Box<Batch>,
    features: Features,
    scratch: Option<Box<dense::Scratch>>,
    ids: Vec<u32>,
    lens: Vec<u32>,
    prefixed: Vec<u8>,
    /// The text goes on from another: no dummy prefix at its start.
    pub(crate) goes_on: bool,
}

impl State {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            learned: Learned::new(&plan.seeds),
            merger: Merger::default(),
            batch: Box::default(),
            features: Features::detect(),
            scratch: None,
            ids: Vec::new(),
            lens: Vec::new(),
            prefixed: Vec::new(),
            goes_on: false,
        }
    }

    /// Puts `text[start..end]`, a piece between added tokens, into the batch; the tokens of what was
    /// there before and did not fit are appended to `out`.
    pub(crate) fn piece(
        &mut self,
        plan: &Plan,
        text: &str,
        start: usize,
        end: usize,
        out: &mut Encoding,
    ) {
        let t = &text.as_bytes()[..end];
        if start >= end {
            return;
        }
        match plan.family {
            Family::ByteLevel(split) => self.byte_level(plan, &split, t, start, out),
            Family::SentencePiece(prefix) => {
                self.sentencepiece(plan, prefix, t, start, &[], out);
            }
        }
    }

    /// Puts an added token that covers `from..to` into the batch.
    pub(crate) fn push_added(
        &mut self,
        plan: &Plan,
        id: u32,
        [from, to]: [usize; 2],
        t: &[u8],
        out: &mut Encoding,
    ) {
        if to - from > usize::from(u8::MAX) {
            self.drain(plan, t, out);
            out.ids.push(id);
            out.offsets.push([from as u32, to as u32]);
        } else {
            self.push(plan, added_key(id, to - from), from, t, out);
        }
    }

    fn byte_level(&mut self, plan: &Plan, s: &Split, t: &[u8], start: usize, out: &mut Encoding) {
        let rules = Rules::new(s);
        let mut p = start;
        while p < t.len() {
            if t[p] >= 0x80 {
                p = self.beyond_ascii(plan, s, t, p, out);
                continue;
            }
            let from = p;
            p = self.fill(&rules, t, p);
            if self.batch.filled > BLOCK {
                self.drain(plan, t, out);
            } else if p == from {
                p = self.beyond_ascii(plan, s, t, p, out);
            }
        }
    }

    /// Puts pre-tokens from `p` on into the batch; returns where the rest begins.
    #[inline(always)]
    #[allow(unsafe_code, clippy::inline_always)] // in its loop, as `fill` itself
    fn fill(&mut self, rules: &Rules, t: &[u8], p: usize) -> usize {
        let (batch, table) = (&mut *self.batch, &self.learned.short);
        match self.features {
            Features::Plain => fill::<Plain>(batch, table, rules, t, p),
            // SAFETY: `detect` has found that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => unsafe { fill_avx2(batch, table, rules, t, p) },
        }
    }

    /// The same, for benches of this alone.
    pub(crate) fn scan(&mut self, split: &Split, t: &[u8], p: usize) -> usize {
        self.fill(&Rules::new(split), t, p)
    }

    /// Empties the batch; returns what it held.
    pub(crate) fn forget(&mut self) -> usize {
        std::mem::take(&mut self.batch.filled)
    }

    /// A pre-token that the blocks do not find: long, or with characters beyond ASCII.
    #[inline(never)]
    fn beyond_ascii(
        &mut self,
        plan: &Plan,
        s: &Split,
        t: &[u8],
        p: usize,
        out: &mut Encoding,
    ) -> usize {
        if !plan.dense.is_empty() && dense::ahead(t, p) {
            self.drain(plan, t, out);
            return self.dense(plan, s, t, p, out);
        }
        let end = s.next(classes(), t, p);
        self.push_range(plan, t, p, end, 0, out);
        end
    }

    /// Puts `t[a..b]` into the batch, with a mark on its key.
    #[inline]
    fn push_range(
        &mut self,
        plan: &Plan,
        t: &[u8],
        a: usize,
        b: usize,
        mark: u128,
        out: &mut Encoding,
    ) {
        let key = if b - a <= SHORT {
            short_key(t, a, b) | mark
        } else {
            b as u128 | mark >> 24
        };
        self.push(plan, key, a, t, out);
    }

    #[inline]
    fn push(&mut self, plan: &Plan, key: u128, start: usize, t: &[u8], out: &mut Encoding) {
        let i = self.batch.filled;
        self.batch.set(i, &self.learned.short, key, start);
        self.batch.filled = i + 1;
        if self.batch.filled > BLOCK {
            self.drain(plan, t, out);
        }
    }

    /// Looks up what is in the batch and appends its tokens. To be called at the end of a text.
    pub(crate) fn drain(&mut self, plan: &Plan, t: &[u8], out: &mut Encoding) {
        let n = std::mem::take(&mut self.batch.filled);
        let mut i = 0;
        while i < n {
            i = self.emit_known(i, n, out);
            if i < n {
                let (key, h) = (self.batch.keys[i], self.batch.hashes[i]);
                let start = self.batch.starts[i] as usize;
                self.unknown(plan, t, key, h, start, out);
                i += 1;
            }
        }
    }

    /// Appends the tokens of pieces `from..to` of the batch up to the first that is not known;
    /// returns which that is.
    #[inline(always)]
    #[allow(unsafe_code, clippy::inline_always)] // a few instructions around the loop
    fn emit_known(&self, from: usize, to: usize, out: &mut Encoding) -> usize {
        let (batch, table) = (&*self.batch, &self.learned.short);
        match self.features {
            Features::Plain => emit(batch, table, from, to, out),
            // SAFETY: `detect` has found that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => unsafe { emit_avx2(batch, table, from, to, out) },
        }
    }

    /// A piece that the encoder has not met, or one of more tokens than fit beside its key.
    #[inline(never)]
    fn unknown(
        &mut self,
        plan: &Plan,
        t: &[u8],
        key: u128,
        h: u32,
        start: usize,
        out: &mut Encoding,
    ) {
        let short = key >> 120 != 0;
        if !short {
            let end = key as u32 as usize;
            let unit = key >> 96 != 0;
            self.long(plan, &t[start..end], start, unit, out);
            return;
        }
        if let Some(e) = self.learned.short.get(key, h) {
            let (ids, lens) = self.learned.spilled(e);
            return append(ids, lens, start, out);
        }
        let unit = key >> 127 != 0;
        if let Some((id, len)) = added(key) {
            self.learned.keep(&plan.seeds, key, &[id], &[len]);
            return append(&[id], &[len], start, out);
        }
        if let Some(n) = spaces(key) {
            self.compute_long(plan, &t[start..start + n], unit);
        } else {
            let (bytes, n) = bytes_of(key);
            self.compute(plan, &bytes[..n], unit);
        }
        self.learned.keep(&plan.seeds, key, &self.ids, &self.lens);
        append(&self.ids, &self.lens, start, out);
    }

    fn long(&mut self, plan: &Plan, piece: &[u8], start: usize, unit: bool, out: &mut Encoding) {
        if !unit && let Some((ids, lens)) = self.learned.long.get(piece) {
            return append(ids, lens, start, out);
        }
        self.compute_long(plan, piece, unit);
        if !unit {
            self.learned.keep_long(piece, &self.ids, &self.lens);
        }
        append(&self.ids, &self.lens, start, out);
    }

    /// Puts the tokens of a long piece into `ids` and `lens`.
    fn compute_long(&mut self, plan: &Plan, piece: &[u8], unit: bool) {
        let seed = if unit {
            None
        } else {
            plan.long_seeds.get(piece)
        };
        if let Some((ids, lens)) = seed {
            self.ids.clear();
            self.lens.clear();
            self.ids.extend_from_slice(ids);
            self.lens.extend_from_slice(lens);
        } else {
            self.compute(plan, piece, unit);
        }
    }

    /// Cuts a piece into units and merges them into `ids` and `lens`.
    fn compute(&mut self, plan: &Plan, piece: &[u8], is_unit: bool) {
        self.ids.clear();
        self.lens.clear();
        let (spm, mark) = (plan.spm(), plan.unit_mark());
        let mut p = 0;
        while p < piece.len() {
            // What is short merges as quickly as it is cut.
            let end = if is_unit || piece.len() <= SHORT {
                piece.len()
            } else {
                plan.bridges.unit(piece, p, spm)
            };
            let unit = &piece[p..end];
            let whole = unit.len() == piece.len();
            if unit.len() <= SHORT && !whole {
                let key = key_of(unit) | mark;
                let h = hash(key);
                let known = self.learned.short.get(key, h);
                if let Some((ids, lens)) = known.and_then(Entry::tokens) {
                    self.ids.extend_from_slice(ids);
                    self.lens.extend_from_slice(&lens[..ids.len()]);
                    p = end;
                    continue;
                }
            }
            plan.merge(&mut self.merger, unit);
            self.ids.extend_from_slice(&self.merger.ids);
            self.lens.extend_from_slice(&self.merger.lens);
            if unit.len() <= SHORT && !whole {
                let key = key_of(unit) | mark;
                let (ids, lens) = (&self.merger.ids, &self.merger.lens);
                self.learned.keep(&plan.seeds, key, ids, lens);
            }
            p = end;
        }
    }
}
